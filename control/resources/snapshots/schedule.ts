import { randomUUID } from 'node:crypto';

import type { Clock } from '../../../core/clock.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Term } from '../../../core/leadership.ts';
import { listAll } from '../../../core/list-all.ts';
import type { Logger } from '../../../core/logger.ts';
import { NO_USAGE, usageOfFiles } from '../../../core/quota.ts';
import type { Put, Store, Stored } from '../../../core/store.ts';
import type { SnapshotRecord, VolumeFiles } from '../../../core/volume.ts';
import { CREATING_INDEX, SCHEDULE_INDEX, scheduledByIndex, snapshotPut, volumeKey } from '../../../core/volume-put.ts';
import { levelOf } from '../../objects/access.ts';
import { purgeFilesRecord } from '../../objects/files/files-record.ts';
import type { Admission } from '../../objects/quota/admission.ts';
import { podProblem, type SnapshotCopies } from './copies.ts';
import { lastTimeBetween } from './cron.ts';
import { expiredOf, parseRetention } from './retention.ts';

export interface ScheduleParts {
  /** Of the leader's term: another replica's commits are refused once this one leads. */
  readonly store: Store;
  readonly files: VolumeFiles;
  readonly copies: SnapshotCopies;
  readonly admission: Pick<Admission, 'admit'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

/**
 * One turn of the schedules: begins copies that were interrupted again, makes what is due, and removes what is kept no
 * longer. Of times that nobody has served, such as while Podgate was down, the last one is served.
 */
export async function turnSchedules(parts: ScheduleParts, term: Pick<Term, 'isOver'>): Promise<void> {
  const { store, copies, log } = parts;
  for await (const { key } of listAll(store, 'snapshot', { index: CREATING_INDEX })) {
    if (term.isOver()) return;
    void copies.retry(key);
  }
  for await (const stored of listAll(store, 'snapshot', { index: SCHEDULE_INDEX })) {
    if (term.isOver()) return;
    await turnSchedule(parts, stored).catch((error: unknown) => {
      log.warn({ key: stored.key, error: errorText(error) }, 'failed to process a snapshot schedule; retrying');
    });
  }
}

async function turnSchedule(parts: ScheduleParts, stored: Stored<'snapshot'>): Promise<void> {
  const { store, clock } = parts;
  const schedule = stored.value;
  const made: Stored<'snapshot'>[] = [];
  const query = { tenant: schedule.tenant, index: scheduledByIndex(schedule.snapshotId) };
  for await (const each of listAll(store, 'snapshot', query)) made.push(each);
  const dueMs = lastTimeBetween(schedule.cron, schedule.servedUntilMs, clock.now());
  // One at a time: a time that comes while the former copy is under way is served after it.
  const isBusy = schedule.status === 'CREATING' || made.some(({ value }) => value.status === 'CREATING');
  if (dueMs !== null && !isBusy) await serve(parts, stored, dueMs);
  await expire(parts, schedule, made);
}

async function serve(
  { store, copies, admission, clock }: ScheduleParts,
  { value: schedule, revision }: Stored<'snapshot'>,
  dueMs: number,
): Promise<void> {
  const served = (message: string): Put => snapshotPut({ ...schedule, servedUntilMs: dueMs, message }, revision);
  const { sourcePod } = schedule;
  const problem = await (sourcePod === undefined
    ? volumeProblem(store, schedule)
    : podProblem(store, schedule, sourcePod));
  if (problem !== null) {
    await store.commit({ puts: [served(`No snapshot was made at ${isoMinute(dueMs)}: ${problem}`)] });
    return;
  }
  const nowMs = clock.now();
  const record: SnapshotRecord = {
    ...schedule,
    snapshotId: scheduledId(schedule.snapshotId, dueMs),
    uid: randomUUID(),
    generation: 1,
    cron: '',
    retentionPolicy: '',
    scheduledBy: schedule.snapshotId,
    servedUntilMs: 0,
    status: 'CREATING',
    message: '',
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
  let usage: readonly Put[];
  try {
    usage = await admission.admit(record, NO_USAGE, usageOfFiles(record));
  } catch (error) {
    if (!(error instanceof PodgateError) || error.code !== 'api.forbidden') throw error;
    await store.commit({
      puts: [served(`No snapshot was made at ${isoMinute(dueMs)}: ${error.publicMessages.join(' ')}`)],
    });
    return;
  }
  // Both or none: no time is served twice, and none is lost.
  const result = await store.commit({ puts: [served(''), snapshotPut(record, 'absent'), ...usage] });
  if (result.kind === 'committed') void copies.run(volumeKey(record.tenant, record.snapshotId));
}

/** A sentence on why its creator may not have the volume copied any more, or null. */
async function volumeProblem(
  store: Store,
  { tenant, createdBy, sourceVolumeId, sourceVolumeUid }: SnapshotRecord,
): Promise<string | null> {
  const volume = (await store.get('volume', volumeKey(tenant, sourceVolumeId)))?.value ?? null;
  const isThere = volume !== null && volume.deleting === null && volume.uid === sourceVolumeUid;
  const level = isThere ? levelOf(volume, createdBy) : null;
  if (level === 'USER' || level === 'ADMIN') return null;
  return `There is no volume ${sourceVolumeId} any more on which ${createdBy} has USER.`;
}

async function expire(
  { store, files, clock }: ScheduleParts,
  schedule: SnapshotRecord,
  made: readonly Stored<'snapshot'>[],
): Promise<void> {
  const retention = parseRetention(schedule.retentionPolicy);
  if (retention === null) return;
  const settled = made.filter(({ value }) => value.status !== 'CREATING');
  const expired = new Set(
    expiredOf(
      settled.map(({ value }) => value),
      retention,
      clock.now(),
    ),
  );
  for (const { key, revision, value } of settled) {
    if (!expired.has(value)) continue;
    const marked = await store.commit({ puts: [snapshotPut({ ...value, deleting: {} }, revision)] });
    if (marked.kind !== 'committed') continue;
    // What a pod mounts stays until it does not.
    await purgeFilesRecord({ store, files }, 'snapshot', key).catch((error: unknown) => {
      if (!(error instanceof PodgateError) || error.code !== 'api.conflict') throw error;
    });
  }
}

/** Ends in the time that is served, in UTC. */
function scheduledId(snapshotId: string, dueMs: number): string {
  return `${snapshotId}t${new Date(dueMs).toISOString().slice(0, 16).replaceAll(/\D/g, '')}`;
}

/** What the id of a scheduled snapshot has more than that of its schedule. */
export const SCHEDULED_ID_LENGTH = 't202611290330'.length;

function isoMinute(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16)}Z`;
}
