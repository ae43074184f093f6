import { constants, open } from 'node:fs/promises';

/**
 * The beginning of a file that a pod can write to or exchange. It may have put a pipe, a device or a link there, and
 * written without end: a pipe would hold one of the few threads for files for ever, a device's bytes never end. Throws
 * for anything but a plain file.
 */
export async function readSmallFile(path: string, maxBytes: number): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw new Error(`${path} is not a regular file`);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
