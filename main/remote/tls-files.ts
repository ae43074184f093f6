import { readFile } from 'node:fs/promises';

export interface TlsFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Who signed the peer's certificate. */
  readonly caFile: string;
}

export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Rejects when a file cannot be read. They are small, and read again for each use: a rotated certificate counts at once. */
export async function readTlsFiles({ certificateFile, keyFile, caFile }: TlsFiles): Promise<TlsMaterial> {
  const [cert, key, ca] = await Promise.all([certificateFile, keyFile, caFile].map((file) => readFile(file, 'utf8')));
  return { cert: cert ?? '', key: key ?? '', ca: ca ?? '' };
}
