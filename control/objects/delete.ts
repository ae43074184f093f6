import { compareAndSet } from '../../core/compare-and-set.ts';
import type { RecordKind } from '../../core/store.ts';
import { type AccessRequest, readObject } from './access.ts';
import { deletionLane } from './audit/audit-writes.ts';
import { auditObject } from './audit/object-writes.ts';
import { ATTEMPTS_MAX, type ChangeParts, tooManyConflicts } from './change.ts';
import type { ObjectKind, ObjectRecord } from './object-kind.ts';

/**
 * Deletes the record of an object with nothing behind it, checking the permission anew on every fresh read. `allow` throws
 * to refuse. Throws what `readObject` does, and 'api.conflict'.
 */
export async function deleteObject<R extends ObjectRecord>(
  kind: ObjectKind<R>,
  { store, clock, mutex }: Pick<ChangeParts, 'store' | 'clock' | 'mutex'>,
  recordKind: RecordKind,
  request: AccessRequest & { readonly allow?: (record: R) => void },
): Promise<R> {
  const attempt = async (): Promise<R | null> => {
    const { key, revision, value } = await readObject(kind, request);
    request.allow?.(value);
    const result = await mutex.run(deletionLane(value), async () => {
      const act = { caller: request.caller, atMs: clock.now(), before: value, after: null };
      const audit = await auditObject(kind, store, act);
      const deletes = [{ kind: recordKind, key, expected: revision, uid: value.uid }, ...audit.deletes];
      return await store.commit({ puts: audit.puts, deletes });
    });
    return result.kind === 'committed' ? value : null;
  };
  const deleted = await compareAndSet(attempt, ATTEMPTS_MAX);
  if (deleted === null) throw tooManyConflicts(kind, request.id);
  return deleted;
}
