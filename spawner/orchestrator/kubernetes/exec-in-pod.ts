import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { PodgateError } from '../../../core/errors.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import type { ExecExit, ExecOptions, ExecOutput, ExecResult } from '../../../core/shell.ts';
import { BoundedOutput } from '../exec/bounded-output.ts';
import { ExecDialogue } from '../exec/exec-dialogue.ts';
import { EXEC_SCRIPT } from '../exec/exec-script.ts';
import { handOver } from '../exec/hand-over.ts';
import { NOT_RUNNING } from '../exec/refuse-command.ts';
import { exitOfShellCode } from '../exec/shell-exit.ts';
import { armStop } from '../exec/stop.ts';
import { isRecord, listAt, parseJson, recordAt, textAt } from './api/json.ts';
import type { KubeApi } from './api/kube-api.ts';
import { CHANNEL, type OpenedChannels } from './api/kube-channels.ts';
import type { ClusterObjects } from './cluster-objects.ts';
import { CONTAINER } from './manifests/pod.ts';
import { collectionPath, type PodState } from './objects.ts';

/** Nothing more can come after the status. */
export const DRAIN_MS = 500;
/** The container runtime waits for whatever holds the command's outputs open: a daemon may do so until the pod stops. */
const STATUS_MS = 2_000;
const NO_SHELL = 'The image of this pod has no /bin/sh, which takes commands into it.';
export const FORBIDDEN =
  "Podgate's account in the cluster may not run commands in pods: an operator must allow it (pods/exec, docs/operations.md).";

export interface ExecParts {
  readonly api: KubeApi;
  readonly objects: Pick<ClusterObjects, 'readPod'>;
  readonly namespace: string;
}

export type Channels = Extract<OpenedChannels, { kind: 'open' }>;

/** Runs a command in the container of a pod: see `Shell`. Whatever ends the connection ends the command (exec-script.ts). */
export async function execInPod(
  { api, objects, namespace }: ExecParts,
  ref: WorkloadRef,
  options: ExecOptions,
  signal: AbortSignal,
): Promise<ExecResult> {
  const stop = armStop(options.deadlineMs, signal);
  const dialogue = new ExecDialogue();
  const output = new BoundedOutput(options.outputMaxBytes, () => stop.tooMuchOutput());
  const status = Promise.withResolvers<Buffer>();
  let channels: OpenedChannels | null = null;
  const taken = options.output === undefined ? null : new Readable({ read: () => resume(channels) });
  const print = (name: keyof ExecOutput, bytes: Buffer): void => {
    if (bytes.length === 0) return;
    if (name === 'stderr' || taken === null) output.add(name, bytes);
    else if (!taken.push(bytes)) pause(channels);
  };
  const received = (channel: number, bytes: Buffer): void => {
    if (channel === CHANNEL.stdout) print('stdout', dialogue.printed('stdout', bytes));
    else if (channel === CHANNEL.stderr) print('stderr', dialogue.printed('stderr', bytes));
    else if (channel === CHANNEL.status) status.resolve(bytes);
  };
  const handed =
    taken === null || options.output === undefined
      ? null
      : handOver(taken, options.output, (error) => stop.failed(error));
  try {
    const pod = await objects.readPod(ref, stop.signal);
    if (pod === null || !isRunning(pod)) return { kind: 'refused', reason: NOT_RUNNING };
    const path = `${collectionPath(namespace, 'pods')}/${pod.name}/exec`;
    channels = await api.openChannels(
      path,
      execQuery(['/bin/sh', '-c', EXEC_SCRIPT, 'podgate-exec', ...options.command]),
      received,
      stop.signal,
    );
    if (channels.kind === 'refused') return refusedBy(path, channels);
    // Nothing has run yet. By name, the connection may have come to a pod that has been made in the meantime.
    const now = await objects.readPod(ref, stop.signal);
    if (now?.objectUid !== pod.objectUid) return { kind: 'refused', reason: NOT_RUNNING };
    const open = channels;
    void dialogue.start(
      options.input,
      (bytes) => open.send(CHANNEL.stdin, bytes),
      (error) => stop.failed(error),
    );
    const result = await Promise.race([
      dialogue.ended.then((code) => ({ kind: 'ended', exit: exitOfShellCode(code) }) as const),
      statusOf(status.promise, channels, stop.signal).then(resultOf),
    ]);
    print('stdout', dialogue.rest('stdout'));
    print('stderr', dialogue.rest('stderr'));
    // Nothing more comes: the script's last lines come after what its command printed, and the status comes after both.
    taken?.push(null);
    await handed?.rest(DRAIN_MS, stop.signal);
    stop.signal.throwIfAborted();
    stop.disarm();
    dialogue.finish();
    await settled([status.promise, channels.closed], STATUS_MS);
    return result.kind === 'ended' ? { ...result, ...output.collected() } : result;
  } catch (error) {
    const reason = stop.reason();
    if (reason === 'aborted' || reason === 'failed') throw stop.error();
    if (reason !== null) return { kind: 'stopped', reason, ...output.collected() };
    throw error;
  } finally {
    stop.disarm();
    dialogue.finish();
    if (channels?.kind === 'open') channels.close();
    taken?.destroy();
  }
}

/** Resolves with the first of them, or when the time is over. */
async function settled(promises: readonly Promise<unknown>[], withinMs: number): Promise<void> {
  const over = new AbortController();
  const late = sleep(withinMs, undefined, { signal: over.signal }).catch(() => undefined);
  await Promise.race([...promises, late]);
  over.abort();
}

export function pause(channels: OpenedChannels | null): void {
  if (channels?.kind === 'open') channels.pause();
}

export function resume(channels: OpenedChannels | null): void {
  if (channels?.kind === 'open') channels.resume();
}

export function isRunning(pod: PodState): boolean {
  return pod.phase === 'Running' && !pod.isDeleting && pod.container?.state.kind === 'running';
}

/** Of exec without a terminal. */
export function execQuery(words: readonly string[], container = CONTAINER): readonly (readonly [string, string])[] {
  return [
    ['container', container],
    ['stdin', 'true'],
    ['stdout', 'true'],
    ['stderr', 'true'],
    ...words.map((word) => ['command', word] as const),
  ];
}

export function refusedBy(
  path: string,
  { status, text }: Extract<OpenedChannels, { kind: 'refused' }>,
): Extract<ExecResult, { kind: 'refused' }> {
  if (status === 404) return { kind: 'refused', reason: NOT_RUNNING };
  if (status === 403) return { kind: 'refused', reason: FORBIDDEN };
  throw new PodgateError('orchestrator.unavailable', { detail: `${path}: the API server answers ${status}: ${text}` });
}

/** Rejects when the connection ends, or the signal aborts, before the kubelet has told how the command ended. */
export function statusOf(status: Promise<Buffer>, { closed }: Channels, signal: AbortSignal): Promise<Buffer> {
  const lost = closed.then((why): never => {
    throw new PodgateError('orchestrator.unavailable', { detail: `the connection to a command was lost: ${why}` });
  });
  const stopped = new Promise<never>((_, reject) => {
    const onAbort = (): void => reject(new Error('the command is stopped'));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  return Promise.race([status, lost, stopped]);
}

/** Of the Status object that a kubelet sends at the end. */
export function resultOf(
  status: Buffer,
): { readonly kind: 'ended'; readonly exit: ExecExit } | Extract<ExecResult, { kind: 'refused' }> {
  const parsed = parseJson(status.toString('utf8'));
  const body = isRecord(parsed) ? parsed : {};
  if (textAt(body, 'status') === 'Success') return { kind: 'ended', exit: { kind: 'code', code: 0 } };
  const causes = listAt(recordAt(body, 'details'), 'causes');
  const code = causes.find((cause) => textAt(cause, 'reason') === 'ExitCode');
  if (code !== undefined) return { kind: 'ended', exit: exitOfShellCode(Number(textAt(code, 'message'))) };
  const message = textAt(body, 'message');
  // The container runtime's words; the script itself is among them.
  if (/\/bin\/sh.*(no such file|not found)/is.test(message)) return { kind: 'refused', reason: NO_SHELL };
  // Up to the words of the command, which may follow: they are not for the log.
  const reason = message.split(/podgate-exec|\/bin\/sh/, 1)[0]?.slice(0, 300);
  throw new PodgateError('orchestrator.unavailable', { detail: `a command could not be run: ${reason}` });
}
