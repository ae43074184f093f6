import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { TerminalInput, TerminalOptions, TerminalResult } from '../../../core/shell.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { handOver } from '../exec/hand-over.ts';
import { NOT_RUNNING, refuseSize } from '../exec/refuse-command.ts';
import { armStop } from '../exec/stop.ts';
import { CHANNEL, type OpenedChannels } from './api/kube-channels.ts';
import {
  type Channels,
  DRAIN_MS,
  type ExecParts,
  isRunning,
  pause,
  refusedBy,
  resultOf,
  resume,
  statusOf,
} from './exec-in-pod.ts';
import { CONTAINER } from './manifests/pod.ts';
import { collectionPath } from './objects.ts';
import { openGuard } from './terminal-guard.ts';

/** What the terminal shows before the command begins: the echo of the go-ahead. */
const PRELUDE_MAX_BYTES = 4 * 1024;

/**
 * Runs the command that follows $4 on the terminal that the container runtime has made. Nothing runs before a line has come:
 * it is the caller's go-ahead. $1: the guard's mark, which also ends what is no output of the command. $2: TERM. $3 and $4:
 * its size, which an image without stty(1) gets a moment later.
 */
const TERMINAL_SCRIPT = `
read -r _podgate_go || exit 125
printf %s "$1"
PODGATE_TERMINAL=$1 TERM=$2
export PODGATE_TERMINAL TERM
unset _podgate_go
stty rows "$3" cols "$4" 2>/dev/null
shift 4
exec "$@"
`;

/**
 * Runs a command on a terminal in the container of a pod: see `Shell`. A container runtime does nothing to a terminal whose
 * client has gone: a guard ends it (terminal-guard.ts).
 */
export async function terminalInPod(
  parts: ExecParts,
  ref: WorkloadRef,
  options: TerminalOptions,
  signal: AbortSignal,
): Promise<TerminalResult> {
  const { api, objects, namespace } = parts;
  const stop = armStop(options.deadlineMs, signal);
  const status = Promise.withResolvers<Buffer>();
  const mark = randomUUID();
  const shown = new Readable({ read: () => resume(channels) });
  const behindPrelude = skipTo(mark);
  let channels: OpenedChannels | null = null;
  const received = (channel: number, bytes: Buffer): void => {
    if (channel === CHANNEL.status) status.resolve(bytes);
    const part = channel === CHANNEL.stdout ? behindPrelude(bytes) : bytes.subarray(0, 0);
    if (part.length > 0 && !shown.push(part)) pause(channels);
  };
  const handed = handOver(shown, options.output, (error) => stop.failed(error));
  let guard: Awaited<ReturnType<typeof openGuard>> | null = null;
  try {
    const pod = await objects.readPod(ref, stop.signal);
    if (pod === null || !isRunning(pod)) return { kind: 'refused', reason: NOT_RUNNING };
    const path = `${collectionPath(namespace, 'pods')}/${pod.name}/exec`;
    guard = await openGuard(api, path, mark, stop.signal);
    if (guard.kind === 'refused') return guard;
    channels = await api.openChannels(path, terminalQuery(mark, options), received, stop.signal);
    if (channels.kind === 'refused') return refusedBy(path, channels);
    // Nothing has run yet. By name, the connection may have come to a pod that has been made in the meantime.
    const now = await objects.readPod(ref, stop.signal);
    if (now?.objectUid !== pod.objectUid) return { kind: 'refused', reason: NOT_RUNNING };
    await sendSize(channels, options);
    await channels.send(CHANNEL.stdin, Buffer.from('\n'));
    void typeIn(options.input, channels).catch((error: unknown) => stop.failed(error));
    const result = resultOf(await statusOf(status.promise, channels, stop.signal));
    // The status comes after the last piece.
    shown.push(null);
    await handed.rest(DRAIN_MS, stop.signal);
    stop.signal.throwIfAborted();
    if (result.kind === 'ended' && result.exit.kind === 'signal' && !(await stillRuns(parts, ref))) {
      return { kind: 'stopped', reason: 'pod' };
    }
    return result;
  } catch (error) {
    const reason = stop.reason();
    if (reason === 'deadline') return { kind: 'stopped', reason };
    if (reason !== null) throw stop.error();
    // The connection is lost: with its pod, or by itself.
    if (!(await stillRuns(parts, ref))) return { kind: 'stopped', reason: 'pod' };
    throw error;
  } finally {
    stop.disarm();
    if (guard?.kind === 'open') await guard.end();
    if (channels?.kind === 'open') channels.close();
    shown.destroy();
  }
}

/** Also when it cannot be known. */
async function stillRuns({ objects }: ExecParts, ref: WorkloadRef): Promise<boolean> {
  try {
    const pod = await objects.readPod(ref, new AbortController().signal);
    return pod !== null && isRunning(pod);
  } catch {
    return true;
  }
}

function terminalQuery(
  mark: string,
  { command, term, rows, columns }: TerminalOptions,
): readonly (readonly [string, string])[] {
  const words = [
    '/bin/sh',
    '-c',
    TERMINAL_SCRIPT,
    'podgate-exec',
    mark,
    term,
    String(rows),
    String(columns),
    ...command,
  ];
  return [
    ['container', CONTAINER],
    ['stdin', 'true'],
    ['stdout', 'true'],
    ['tty', 'true'],
    ...words.map((word) => ['command', word] as const),
  ];
}

/** Rejects with what the input throws. */
async function typeIn(input: AsyncIterable<TerminalInput>, channels: Channels): Promise<void> {
  for await (const typed of input) {
    try {
      if (typed.kind === 'bytes') await channels.send(CHANNEL.stdin, typed.bytes);
      else if (refuseSize(typed) === null) await sendSize(channels, typed);
    } catch {
      // The connection has ended.
      return;
    }
  }
}

function sendSize(channels: Channels, { columns, rows }: { readonly columns: number; readonly rows: number }) {
  return channels.send(CHANNEL.resize, Buffer.from(JSON.stringify({ Width: columns, Height: rows })));
}

/** Drops bytes up to the end of `text`, and passes on those behind it. */
function skipTo(text: string): (bytes: Buffer) => Buffer {
  let before: Buffer | null = Buffer.alloc(0);
  return (bytes) => {
    if (before === null) return bytes;
    before = Buffer.concat([before, bytes]);
    const at = before.indexOf(text);
    if (at < 0) {
      before = before.subarray(-PRELUDE_MAX_BYTES);
      return Buffer.alloc(0);
    }
    const behind = before.subarray(at + text.length);
    before = null;
    return behind;
  };
}
