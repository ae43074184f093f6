import { type FileHandle, open } from 'node:fs/promises';
import type { OpenedDirectory, OpenedFile } from '../../../../core/volume.ts';
import type { OsUser } from '../os-users.ts';
import { FILE_MODE, invalid, openDirectory, within } from './walk-safely.ts';

/** As process.files of a pod. */
export const FILES_MAX = 1_000_000;

interface WriteOptions {
  readonly owner: OsUser | null;
  /** Called before so many bytes are written; rejects to refuse. */
  readonly take: (bytes: number) => Promise<void>;
}

/** Each file is there as a whole or not at all, which is enough in a directory that nobody sees before it is complete. */
export async function copyInto(
  top: FileHandle,
  names: readonly string[],
  source: OpenedFile | OpenedDirectory,
  options: WriteOptions,
): Promise<void> {
  const copyFile = async (path: readonly string[], bytes: AsyncIterable<Uint8Array>, mode: number): Promise<void> => {
    const parent = await openDirectory(top, path.slice(0, -1), options);
    try {
      await writeFile(within(parent, path.at(-1) ?? ''), bytes, { ...options, isExecutable: (mode & 0o111) !== 0 });
    } finally {
      await parent.close();
    }
  };
  if (source.kind === 'file') {
    if (names.length === 0) throw invalid('destination_path: a snapshot of a single file needs one');
    await copyFile(names, source.read(0, source.sizeBytes), 0);
    return;
  }
  for await (const { path, bytes, mode } of source.walk(FILES_MAX)) {
    const all = [...names, ...path.split('/')];
    if (bytes === null) await (await openDirectory(top, all, options)).close();
    else await copyFile(all, bytes, mode);
  }
}

/** A new file with these bytes, on the disk when it returns. */
export async function writeFile(
  path: string,
  source: AsyncIterable<Uint8Array>,
  { owner, take, isExecutable = false }: WriteOptions & { readonly isExecutable?: boolean },
): Promise<void> {
  const mode = isExecutable ? FILE_MODE | 0o110 : FILE_MODE;
  const file = await open(path, 'wx', mode);
  try {
    for await (const piece of source) {
      await take(piece.length);
      for (let at = 0; at < piece.length;) at += (await file.write(piece, at)).bytesWritten;
    }
    if (owner !== null) {
      await file.chown(owner.uid, owner.gid);
      await file.chmod(mode);
    }
    await file.datasync();
  } finally {
    await file.close();
  }
}
