import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import type { StoreIdentity } from '../core/store.ts';

/**
 * Remembers, outside the store, what was last seen of it: a database that was replaced or restored is noticed. Its
 * shape is that of the health loop's LastSeenStore.
 */
export function openLastSeenFile(path: string): {
  read(): StoreIdentity | null;
  save(identity: StoreIdentity): Promise<void>;
} {
  let last = readIdentity(path);
  return {
    read: () => last,
    async save(identity) {
      if (last?.storeId === identity.storeId && last.commits === identity.commits) return;
      await writeFile(`${path}.new`, JSON.stringify(identity), { mode: 0o600, flush: true });
      await rename(`${path}.new`, path);
      last = identity;
    },
  };
}

function readIdentity(path: string): StoreIdentity | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
  try {
    const { storeId, commits } = JSON.parse(text) as Partial<StoreIdentity>;
    if (typeof storeId === 'string' && typeof commits === 'number') return { storeId, commits };
  } catch {
    // Cut off by a full disk, say: it knows nothing any more.
  }
  return null;
}
