import { compareAndSet } from '../../core/compare-and-set.ts';
import type { RecordKind, Store } from '../../core/store.ts';
import { type AccessRequest, readObject } from './access.ts';
import { ATTEMPTS_MAX, tooManyConflicts } from './change.ts';
import type { ObjectKind, ObjectRecord } from './object-kind.ts';

/**
 * Deletes the record of an object with nothing behind it, checking the permission anew on every fresh read. `allow` throws
 * to refuse. Throws what `readObject` does, and 'api.conflict'.
 */
export async function deleteObject<R extends ObjectRecord & { readonly uid: string }>(
  kind: ObjectKind<R>,
  store: Pick<Store, 'commit'>,
  recordKind: RecordKind,
  request: AccessRequest & { readonly allow?: (record: R) => void },
): Promise<R> {
  const attempt = async (): Promise<R | null> => {
    const { key, revision, value } = await readObject(kind, request);
    request.allow?.(value);
    const result = await store.commit({ deletes: [{ kind: recordKind, key, expected: revision, uid: value.uid }] });
    return result.kind === 'committed' ? value : null;
  };
  const deleted = await compareAndSet(attempt, ATTEMPTS_MAX);
  if (deleted === null) throw tooManyConflicts(kind, request.id);
  return deleted;
}
