import { compareAndSet } from '../../core/compare-and-set.ts';
import { PodgateError } from '../../core/errors.ts';
import { NO_USAGE } from '../../core/quota.ts';
import { admissionLane, ATTEMPTS_MAX, type ChangeParts, tooManyConflicts } from './change.ts';
import type { Caller } from '../auth/authenticator.ts';
import { auditObject } from './audit/object-writes.ts';
import type { ObjectKind, ObjectRecord } from './object-kind.ts';

/**
 * Creates an object whose id must be free in its tenant, within the quotas of its owner, in one commit. Throws
 * 'api.conflict' when the id is taken (also by one on its way out), 'api.forbidden' beyond a quota.
 */
export async function createWithinQuota<R extends ObjectRecord>(
  kind: ObjectKind<R>,
  { store, admission, mutex }: Pick<ChangeParts, 'store' | 'admission' | 'mutex'>,
  caller: Caller,
  record: R,
): Promise<void> {
  const id = kind.idOf(record);
  const attempt = async (): Promise<true | null> => {
    const existing = await kind.get(kind.keyOf(record.tenant, id));
    if (existing !== null) {
      // A commit may be done and its answer lost on the way: then what is there is ours.
      if (existing.value.uid === record.uid) return true;
      throw taken(kind.noun, id, existing.value.deleting !== null);
    }
    const usage = await admission.admit(record, NO_USAGE, kind.usageOf(record));
    const audit = await auditObject(kind, store, { caller, atMs: record.createdAtMs, before: null, after: record });
    const result = await store.commit({ puts: [kind.put(record, 'absent'), ...usage, ...audit.puts] });
    return result.kind === 'committed' ? true : null;
  };
  const isCreated = await mutex.run(admissionLane(record), () => compareAndSet(attempt, ATTEMPTS_MAX));
  if (isCreated === null) throw tooManyConflicts(kind, id);
}

function taken(noun: string, id: string, isDeleting: boolean): PodgateError {
  const sentence = isDeleting
    ? `${noun.charAt(0).toUpperCase()}${noun.slice(1)} ${id} is still being deleted; try again in a moment.`
    : `There is already a ${noun} ${id}.`;
  return new PodgateError('api.conflict', { publicMessages: [sentence] });
}
