import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { ExecExit, ExecOptions, ExecOutput, ExecResult } from '../../../core/shell.ts';
import { BoundedOutput } from '../exec/bounded-output.ts';
import { ExecDialogue } from '../exec/exec-dialogue.ts';
import { EXEC_SCRIPT } from '../exec/exec-script.ts';
import { handOver } from '../exec/hand-over.ts';
import { NOT_RUNNING } from '../exec/refuse-command.ts';
import { exitOfShellCode } from '../exec/shell-exit.ts';
import { armStop } from '../exec/stop.ts';
import type { ProcessName } from './belonging.ts';
import { endProcesses } from './end-processes.ts';
import { namespacesOf, openNamespaces } from './pod-namespaces.ts';
import { MARKER_VARIABLE } from './process-table.ts';
import { openEnvironment, type ProgramPlace } from './program.ts';
import { type NamespaceKind, roomBeside } from './room.ts';
import { SHIM_PATH } from './shim.ts';

/** What has been printed is read this long after the end of the command: something it has left may keep its output open. */
export const DRAIN_MS = 500;
/** $1: files to which a process writes 0 to join a control group. The rest is run. */
const JOIN = 'for group in $1; do echo 0 >"$group" || exit 125; done; shift; exec "$@"';

/** Where a command runs: beside the program of a workload. */
export interface ExecPlace extends Pick<ProgramPlace, 'table' | 'walls' | 'osUser' | 'marker' | 'environmentPath'> {
  readonly leader: ProcessName;
  readonly groups: readonly string[];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Of the named volumes that the pod mounts; null: it mounts none. */
  readonly volumeGroups: readonly number[] | null;
  /** Aborts when the workload is about to end. */
  readonly ending: AbortSignal;
}

export type ExecChild = ChildProcessByStdio<Writable, Readable, Readable>;

interface Beside {
  /** For sh; gets `words`. */
  readonly script: string;
  readonly words: readonly string[];
  /** Descriptor 3. */
  readonly control: 'pipe' | 'ignore';
}

/** Runs a command in the room of a program that runs: see `Shell`. */
export async function execBeside(place: ExecPlace, options: ExecOptions, signal: AbortSignal): Promise<ExecResult> {
  const begun = await beginBeside(place, { script: EXEC_SCRIPT, words: options.command, control: 'ignore' }, signal);
  if (begun === null) return { kind: 'refused', reason: NOT_RUNNING };
  const { child, marker } = begun;
  const stop = armStop(options.deadlineMs, signal);
  const output = new BoundedOutput(options.outputMaxBytes, () => stop.tooMuchOutput());
  const dialogue = new ExecDialogue();
  const print = (name: keyof ExecOutput) => (received: Buffer) => output.add(name, dialogue.printed(name, received));
  const taken = options.output === undefined ? null : dialogue.printedStream('stdout');
  if (taken === null) child.stdout.on('data', print('stdout'));
  else child.stdout.pipe(taken);
  child.stderr.on('data', print('stderr'));
  const handed =
    taken === null || options.output === undefined
      ? null
      : handOver(taken, options.output, (error) => stop.failed(error));
  try {
    // It may be killed before it has read all of its input.
    child.stdin.on('error', () => undefined);
    void dialogue.start(
      options.input,
      (bytes) => written(child.stdin, bytes),
      (error) => stop.failed(error),
    );
    const closed = once(child, 'close').catch(() => undefined);
    const exit = await Promise.race([dialogue.ended.then(exitOfShellCode), exitOf(child, stop.signal)]);
    await handed?.rest(DRAIN_MS, stop.signal);
    stop.disarm();
    await endAll(place, marker, child);
    await Promise.race([closed, sleep(DRAIN_MS)]);
    output.add('stdout', dialogue.rest('stdout'));
    output.add('stderr', dialogue.rest('stderr'));
    const reason = stop.reason();
    if (reason === 'aborted' || reason === 'failed') throw stop.error();
    if (reason !== null) return { kind: 'stopped', reason, ...output.collected() };
    return { kind: 'ended', exit, ...output.collected() };
  } finally {
    stop.disarm();
    dialogue.finish();
    child.stdin.destroy();
    child.stdout.destroy();
    child.stderr.destroy();
    taken?.destroy();
  }
}

/** Null: the program does not run any more. `marker` is carried by the child and by all that it starts. */
export async function beginBeside(
  place: ExecPlace,
  beside: Beside,
  signal: AbortSignal,
): Promise<{ readonly child: ExecChild; readonly marker: string } | null> {
  const kinds = namespacesOf(place.walls);
  const namespaces =
    kinds.length === 0 ? { fds: [], close: () => undefined } : await openNamespaces(place.table, place.leader, kinds);
  if (namespaces === null) return null;
  // Below the workload's own: what ends the workload ends the command.
  const marker = `${place.marker}/exec-${randomUUID()}`;
  try {
    signal.throwIfAborted();
    return { child: start(place, { ...beside, kinds, fds: namespaces.fds, marker }), marker };
  } finally {
    namespaces.close();
  }
}

/** Resolves when there is room for more; rejects once it has been closed. */
export async function written(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (stream.destroyed) throw new Error('closed');
  if (stream.write(bytes)) return;
  const over = new AbortController();
  try {
    const closed = once(stream, 'close', { signal: over.signal }).then(() => Promise.reject(new Error('closed')));
    await Promise.race([once(stream, 'drain', { signal: over.signal }), closed]);
  } finally {
    over.abort();
  }
}

/** When the signal aborts before: as it ends then. */
export async function exitOf(child: ExecChild, signal: AbortSignal): Promise<ExecExit> {
  try {
    const [code, killedBy] = (await once(child, 'exit', { signal })) as [number | null, NodeJS.Signals | null];
    return killedBy === null ? exitOfShellCode(code ?? 0) : { kind: 'signal', signal: killedBy };
  } catch (cause) {
    if (signal.aborted) return { kind: 'signal', signal: 'SIGKILL' };
    throw new PodgateError('orchestrator.unavailable', { detail: 'a command could not be started', cause });
  }
}

function start(
  place: ExecPlace,
  exec: Beside & {
    readonly kinds: readonly NamespaceKind[];
    readonly fds: readonly number[];
    readonly marker: string;
  },
): ExecChild {
  const { walls, osUser, cwd, groups } = place;
  const marker = { [MARKER_VARIABLE]: exec.marker };
  const { command, shimUser } = roomBeside(walls, osUser, exec.kinds, {
    script: exec.script,
    words: exec.words,
    cwd,
    groups: place.volumeGroups,
  });
  // Last: nothing may hide the marker.
  const environmentFd = openEnvironment(place, { ...place.environment, ...marker });
  try {
    return spawn('/bin/sh', ['-c', JOIN, 'podgate-exec', groups.join(' '), ...command], {
      cwd: '/',
      env: { PATH: SHIM_PATH, ...marker },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', exec.control, environmentFd, ...exec.fds],
      ...(shimUser ?? {}),
    }) as ExecChild;
  } finally {
    closeSync(environmentFd);
  }
}

/** The command and all that it has started and that still carries its marker. */
export async function endAll({ table }: ExecPlace, markerPrefix: string, child: ExecChild): Promise<void> {
  const leader = child.pid === undefined ? null : await table.read(child.pid);
  child.stdin.destroy();
  const belonging = { markerPrefix, osUid: null, leader, known: new Map<number, string>(), recognises: null };
  try {
    await endProcesses({ table, belonging, stopSignal: 'SIGTERM', graceMs: 0 });
  } catch (cause) {
    throw new PodgateError('orchestrator.unavailable', { detail: errorText(cause), cause });
  }
}
