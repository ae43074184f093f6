import { setImmediate as nextLoop } from 'node:timers/promises';

import type { PodConnectionsReport } from '../../../core/pod-connections-reader.ts';
import { HIDDEN_VALUE, hideEnvironment, openEnvironment } from '../../../core/environment.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { LogsOptions } from '../../../core/workload-logs.ts';
import { advance, positionOf } from './run-output.ts';
import type { Credentials, PodRecord, PodStatus } from '../../../core/pod.ts';
import { podKey } from '../../../core/ids.ts';
import { filledEnvironment, openSecrets } from '../../../core/resolve-secrets.ts';
import type { Caller } from '../../auth/authenticator.ts';
import type { KeyedMutex } from '../../objects/keyed-mutex.ts';
import { hasLevel, levelOf, requireLevel } from '../../objects/access.ts';
import { listShared } from '../../objects/list-shared.ts';
import { readPod } from './pod-objects.ts';
import { listPages } from '../../../core/list-all.ts';
import type { PodParts } from './pod-parts.ts';

/** Pods read and decoded at a time: a record usually has 2 kB, and up to some 350 kB. */
const PAGE = { pageSize: 20, pageBytes: 128 * 1024 } as const;
const LOGS_DEADLINE_MS = 10_000;
/** Bytes of memory for a byte of text, at most: JavaScript keeps texts with two bytes a character. */
const AS_TEXT = 2;
/** Of a run (LogStore). */
const KEPT_MAX_BYTES = 10 * 1024 * 1024;
/** Of one file of a kubelet, with the times of its lines. */
const KEPT_READ_BYTES = 16 * 1024 * 1024;
/** What was kept then is of the run before. */
const NEW_RUN: ReadonlySet<PodStatus> = new Set(['REQUESTED', 'SPAWNER_SETUP', 'CREATING_CONTAINER', 'RUNNING']);

export async function getPod(parts: PodParts, caller: Caller, podId: string): Promise<PodRecord> {
  return (await readPod(parts, caller, podId, 'READ', 'Reading')).value;
}

export interface ListOptions {
  /** Every pod of the tenant: for administrators who ask for it. Default: false. */
  readonly all?: boolean;
  /** Pods whose ids come behind this one. Default: from the first on. */
  readonly afterId?: string;
}

/**
 * Every pod on which the caller has a permission, in the order of their ids, a page at a time; administrators see no more
 * unless they ask, as in Tapis. No more than two pages are in memory.
 */
export async function* listPods(
  parts: PodParts,
  caller: Caller,
  { all = false, afterId }: ListOptions = {},
): AsyncGenerator<readonly PodRecord[]> {
  const { tenant, username } = caller;
  const range = { ...PAGE, ...(afterId === undefined ? {} : { after: podKey(tenant, afterId) }) };
  const pages = all
    ? listPages(parts.store, 'pod', { tenant, ...range })
    : listShared(parts.store, 'pod', caller, range);
  for await (const page of pages) {
    // The embedded store answers at once: without this, a reader of all pages would hold the event loop until the last.
    await nextLoop();
    yield page
      .map(({ value }) => value)
      .filter((record) => record.deleting === null && (all || levelOf(record, username) !== null));
  }
}

/** The last lines of action_logs of a pod, none when the log store does not answer: they never hide the pod. */
export async function lastActions(parts: PodParts, record: PodRecord, last: number): Promise<readonly string[]> {
  try {
    return await parts.logs.actions(record.uid, last);
  } catch (error) {
    parts.log.warn({ podId: record.podId, error: errorText(error) }, 'failed to read action_logs');
    return [];
  }
}

/**
 * The environment variables of a pod: with their values for USER and above, otherwise their names alone. Those that no
 * key opens any more hide nothing but themselves: the rest of the pod is shown.
 */
export function readEnvironment(parts: PodParts, caller: Caller, record: PodRecord): Readonly<Record<string, string>> {
  const { environmentVariables } = record.spec;
  if (!hasLevel(caller, record, 'USER')) return hideEnvironment(environmentVariables);
  try {
    return openEnvironment(parts.vault, record.uid, environmentVariables);
  } catch (error) {
    parts.log.warn({ podId: record.podId, error: errorText(error) }, 'failed to decrypt environment variables');
    return hideEnvironment(environmentVariables);
  }
}

/**
 * The environment variables as the pod gets them at its next start, with the values of secrets. ADMIN; those of secrets
 * that are not readable are masked. Throws 'api.conflict' with the reason when one cannot be resolved.
 */
export async function readResolvedEnvironment(
  parts: PodParts,
  caller: Caller,
  record: PodRecord,
  hosts: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  requireLevel(caller, record, 'ADMIN', { act: 'Resolving secrets', what: `pod ${record.podId}` });
  const opened = await openSecrets(parts, record, record.spec);
  if (opened.kind === 'failed') throw unresolved(opened.reason);
  const secrets = Object.fromEntries(
    Object.entries(opened.values).map(([key, { value, isReadable }]) => [key, isReadable ? value : HIDDEN_VALUE]),
  );
  const filled = filledEnvironment(readEnvironment(parts, caller, record), record.spec, { hosts }, secrets);
  if (filled.kind === 'failed') throw unresolved(filled.reason);
  return filled.values;
}

function unresolved(reason: string): PodgateError {
  return new PodgateError('api.conflict', {
    publicMessages: [`The secrets of this pod cannot be resolved: ${reason}`],
  });
}

export interface PodLogs {
  /** UTF-8. */
  readonly output: Uint8Array;
  readonly actions: readonly string[];
  /** A sentence when what is shown may not be the newest. */
  readonly note: string | null;
}

export interface LogsRequest {
  readonly podId: string;
  readonly tailBytes: number;
  /** What was printed before the last restart of the program, else in the run before. */
  readonly isPrevious: boolean;
  /** Called before so many bytes are read into memory; throws to refuse. */
  readonly reserve: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** What the pod printed, at most the last `tailBytes`: of the running workload, else what was kept of its last run. */
export async function readLogs(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  { podId, tailBytes, isPrevious, reserve, signal }: LogsRequest,
): Promise<PodLogs> {
  const record = (await readPod(parts, caller, podId, 'READ', 'Reading logs')).value;
  const actions = await parts.logs.actions(record.uid);
  let note: string | null = null;
  if (record.status !== 'STOPPED') {
    reserve(AS_TEXT * tailBytes);
    try {
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(LOGS_DEADLINE_MS)]);
      const live = await readLive(parts, record, { tailBytes, isPrevious }, reserve, deadline);
      // 10 MB take some 10 ms to read and to encode: the event loop goes round in between.
      await nextLoop();
      if (live !== '') return { output: lastBytes(live, tailBytes), actions, note };
    } catch (error) {
      parts.log.warn({ podId, tenant: record.tenant, error: errorText(error) }, 'failed to read logs');
      note = 'The orchestrator does not respond; these are the stored logs of an earlier run.';
    }
  }
  // It is read as a whole, however little of it is wanted: one at a time for each user.
  const output = await mutex.run(`logs of ${podKey(caller.tenant, caller.username)}`, async () => {
    signal.throwIfAborted();
    reserve(AS_TEXT * KEPT_MAX_BYTES);
    const kept = await parts.logs.output(record.uid, ...(isPrevious ? [record.run - 1] : []));
    await nextLoop();
    return lastBytes(kept, tailBytes);
  });
  if (output.length > 0 && !isPrevious && NEW_RUN.has(record.status))
    note ??= 'Nothing was printed yet; these are the stored logs of an earlier run.';
  return { output, actions, note };
}

/**
 * Of the workload that runs. Where the orchestrator has less than is asked for, it may have dropped what came before: that
 * was kept meanwhile, and goes in front.
 */
async function readLive(
  { orchestrator, logs }: PodParts,
  record: PodRecord,
  how: LogsOptions,
  reserve: LogsRequest['reserve'],
  signal: AbortSignal,
): Promise<string> {
  const live = await orchestrator.logs(record, how, signal);
  const { printedSince } = orchestrator;
  const isEnough = Buffer.byteLength(live) >= how.tailBytes;
  if (isEnough || printedSince === undefined || record.applied === null) return live;
  const kept = await logs.outputOfRun(record.uid, record.applied.run);
  if (kept === null || kept.mark === '') return live;
  reserve(AS_TEXT * (Buffer.byteLength(kept.text) + KEPT_READ_BYTES));
  const from = positionOf(kept);
  const part = await printedSince(record, { mark: from.mark, mostBytes: KEPT_READ_BYTES }, signal);
  const text = kept.text + part.text;
  if (how.isPrevious !== true) return text;
  const { previousLength, currentLength } = advance(from, part);
  const end = Math.max(0, text.length - currentLength);
  const previous = text.slice(Math.max(0, end - previousLength), end);
  return previous.length > live.length ? previous : live;
}

function lastBytes(text: string, most: number): Uint8Array {
  const bytes = Buffer.from(text);
  if (bytes.length <= most) return bytes;
  let start = bytes.length - most;
  // Not in the middle of a character.
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  // A copy: the rest of it is not kept in memory.
  return Buffer.from(bytes.subarray(start));
}

/** Throws 'api.not-found' for a pod whose template has no credentials. */
export async function readCredentials(parts: PodParts, caller: Caller, podId: string): Promise<Credentials> {
  const { key, value: record } = await readPod(parts, caller, podId, 'USER', 'Reading credentials');
  const credential = await parts.store.get('credential', key);
  if (credential === null || credential.value.uid !== record.uid) {
    throw new PodgateError('api.not-found', {
      publicMessages: [`Pod ${podId} has no credentials: ${record.spec.writtenTemplate} uses none.`],
    });
  }
  return JSON.parse(parts.vault.open(credential.value.sealed, record.uid)) as Credentials;
}

/** Of this pod alone, by its uid: what another pod of its name has seen is none of its owner's business. */
export async function readConnections(parts: PodParts, caller: Caller, podId: string): Promise<PodConnectionsReport> {
  const { value } = await readPod(parts, caller, podId, 'USER', 'Reading connections');
  return await parts.connections.read(value.uid);
}
