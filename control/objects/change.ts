import type { Clock } from '../../core/clock.ts';
import { compareAndSet } from '../../core/compare-and-set.ts';
import { PodgateError } from '../../core/errors.ts';
import { isGrowing, usageDifference } from '../../core/quota.ts';
import type { CommitResult, Store } from '../../core/store.ts';
import { type AccessRequest, readObject } from './access.ts';
import { deletionLane } from './audit/audit-writes.ts';
import { auditObject } from './audit/object-writes.ts';
import type { KeyedMutex } from './keyed-mutex.ts';
import type { ObjectKind, ObjectRecord } from './object-kind.ts';
import type { Admission } from './quota/admission.ts';

/** Compare-and-sets before a call gives up with 409. Health and spawner write a pod a few times a second at most. */
export const ATTEMPTS_MAX = 30;

export interface ObjectChange<R> {
  /** Null: the record is as wished already. */
  readonly change: Partial<R> | null;
  /** The key becomes due for the spawner in the same commit. */
  readonly enqueue?: boolean;
  /** A line for its log of actions. */
  readonly log?: string;
}

export interface ChangedObject<R> {
  readonly record: R;
  readonly isChanged: boolean;
}

export interface ChangeRequest<R> extends AccessRequest {
  /** Decides on a fresh record, maybe more than once; throws to refuse. Has no effect of its own. */
  readonly decide: (record: R) => ObjectChange<R>;
}

export interface ChangeParts {
  readonly store: Pick<Store, 'get' | 'commit'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly admission: Pick<Admission, 'admit'>;
  readonly mutex: KeyedMutex;
}

/**
 * Changes an object by compare-and-set, deciding - and checking the permission - anew on every fresh read, so that no wish,
 * permission or status written meanwhile is lost. What grows is let in by the quotas of the object's owner, in the same
 * commit. Throws 'api.forbidden' beyond a quota, 'api.conflict' when it does not come through.
 */
export async function changeObject<R extends ObjectRecord>(
  kind: ObjectKind<R>,
  { store, clock, admission, mutex }: ChangeParts,
  request: ChangeRequest<R>,
): Promise<ChangedObject<R>> {
  const attempt = async (): Promise<ChangedObject<R> | null> => {
    const stored = await readObject(kind, request);
    const { change, enqueue, log } = request.decide(stored.value);
    if (change === null) return { record: stored.value, isChanged: false };
    const record: R = { ...stored.value, ...change, updatedAtMs: clock.now() };
    const [before, after] = [kind.usageOf(stored.value), kind.usageOf(record)];
    const commit = async (): Promise<CommitResult> => {
      const audit = await auditObject(kind, store, {
        ...{ caller: request.caller, atMs: record.updatedAtMs, before: stored.value, after: record },
      });
      return await store.commit({
        puts: [kind.put(record, stored.revision), ...(await admission.admit(record, before, after)), ...audit.puts],
        deletes: audit.deletes,
        ...(enqueue === true && kind.enqueue !== undefined ? { enqueue: [kind.enqueue(record)] } : {}),
      });
    };
    const result = isGrowing(usageDifference(before, after))
      ? await mutex.run(admissionLane(record), commit)
      : record.deleting !== null
        ? await mutex.run(deletionLane(record), commit)
        : await commit();
    if (result.kind !== 'committed') return null;
    if (log !== undefined) await kind.note(record, log);
    return { record, isChanged: true };
  };
  const changed = await mutex.run(`${kind.noun} ${kind.keyOf(request.caller.tenant, request.id)}`, () =>
    compareAndSet(attempt, ATTEMPTS_MAX),
  );
  if (changed === null) throw tooManyConflicts(kind, request.id);
  return changed;
}

/**
 * Those who are let in by the quotas of one tenant come one after the other within this process: they all write its
 * usage record, and would make each other's commits fail.
 */
export function admissionLane({ tenant }: Pick<ObjectRecord, 'tenant'>): string {
  return `admission ${tenant}`;
}

export function tooManyConflicts({ noun }: { readonly noun: string }, id: string): PodgateError {
  return new PodgateError('api.conflict', {
    publicMessages: [
      `${noun.charAt(0).toUpperCase()}${noun.slice(1)} ${id} is being changed by too many others; try again.`,
    ],
  });
}
