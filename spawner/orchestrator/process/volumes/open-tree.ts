import type { FileHandle } from 'node:fs/promises';
import type { OpenedDirectory, WalkedEntry } from '../../../../core/volume.ts';
import { entriesOf, invalid, openDirectory, openFile, readPieces } from './walk-safely.ts';

/** Uploads make no deeper ones. */
const DEPTH_MAX = 64;

/** `handle` is closed with what is returned. */
export function openedTree(handle: FileHandle, name: string, ownerUid: number): OpenedDirectory {
  return {
    kind: 'directory',
    name,
    walk: (most) => walk(handle, '', { most, ownerUid }),
    close: () => handle.close(),
  };
}

/** Depth first; as many directories are open at a time as the walk is deep. */
async function* walk(
  directory: FileHandle,
  prefix: string,
  bound: { most: number; readonly ownerUid: number },
  depth = 0,
): AsyncGenerator<WalkedEntry> {
  if (depth > DEPTH_MAX) throw invalid(`path: there are more than ${DEPTH_MAX} directories in each other`);
  for await (const { name, stats } of entriesOf(directory)) {
    if (!stats.isFile() && !stats.isDirectory()) continue;
    bound.most -= 1;
    if (bound.most < 0) throw invalid('path: there are too many files below it; ask for fewer at a time');
    const entry = {
      path: `${prefix}${name}`,
      modifiedMs: stats.mtimeMs,
      mode: stats.mode & 0o777,
    };
    if (stats.isFile()) {
      const bytes = fileBytes(directory, name, bound.ownerUid);
      try {
        yield { ...entry, bytes };
      } finally {
        // A consumer that gave up in the middle of the file does not end it; a file that is left open ends the process.
        await bytes.return(undefined);
      }
      continue;
    }
    yield { ...entry, bytes: null };
    const inner = await openDirectory(directory, [name]);
    try {
      yield* walk(inner, `${prefix}${name}/`, bound, depth + 1);
    } finally {
      await inner.close();
    }
  }
}

async function* fileBytes(
  directory: FileHandle,
  name: string,
  ownerUid: number,
): AsyncGenerator<Uint8Array, undefined> {
  const { file, stats } = await openFile(directory, name, ownerUid);
  try {
    yield* readPieces(file, 0, stats.size);
  } finally {
    await file.close();
  }
}
