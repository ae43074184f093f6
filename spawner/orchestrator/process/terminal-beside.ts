import { execFile } from 'node:child_process';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import type { TerminalInput, TerminalOptions, TerminalResult } from '../../../core/shell.ts';
import { handOver } from '../exec/hand-over.ts';
import { NOT_RUNNING, refuseSize } from '../exec/refuse-command.ts';
import { armStop } from '../exec/stop.ts';
import { isAlive } from './end-processes.ts';
import { beginBeside, DRAIN_MS, endAll, type ExecPlace, exitOf, written } from './exec-beside.ts';
import { SHIM_PATH } from './shim.ts';
import { TERMINAL_SCRIPT, terminalLine } from './terminal-script.ts';

const NO_SCRIPT =
  'The machine that runs this pod cannot make terminals: it needs script(1) of util-linux (on Debian, the package bsdutils).';
const TRIAL_TIMEOUT_MS = 5_000;

/** Runs a command on a terminal in the room of a program that runs: see `Shell`. */
export async function terminalBeside(
  place: ExecPlace,
  options: TerminalOptions,
  signal: AbortSignal,
): Promise<TerminalResult> {
  if (!(await hasScript())) return { kind: 'refused', reason: NO_SCRIPT };
  const environment = { ...place.environment, TERM: options.term };
  const begun = await beginBeside(
    { ...place, environment },
    {
      script: TERMINAL_SCRIPT,
      words: [terminalLine(options.command, options, place.environment['SHELL'])],
      control: 'pipe',
    },
    signal,
  );
  if (begun === null) return { kind: 'refused', reason: NOT_RUNNING };
  const { child, marker } = begun;
  const sizes = child.stdio[3] as Writable;
  // The pod does not wait for those who look at it.
  const stop = armStop(options.deadlineMs, AbortSignal.any([signal, place.ending]));
  const handed = handOver(child.stdout, options.output, (error) => stop.failed(error));
  child.stderr.resume();
  child.stdin.on('error', () => undefined);
  sizes.on('error', () => undefined);
  void typeIn(options.input, { keys: child.stdin, sizes }).catch((error: unknown) => stop.failed(error));
  try {
    const exit = await exitOf(child, stop.signal);
    if (stop.reason() === null) await handed.rest(DRAIN_MS, stop.signal);
    stop.disarm();
    const isPodGone = exit.kind === 'signal' && !(await isAlive(place.table, place.leader));
    sizes.destroy();
    await endAll(place, marker, child);
    const reason = stop.reason();
    if (reason === 'failed' || signal.aborted) throw stop.error();
    if (reason === 'deadline') return { kind: 'stopped', reason };
    if (reason === 'aborted' || isPodGone) return { kind: 'stopped', reason: 'pod' };
    return { kind: 'ended', exit };
  } finally {
    stop.disarm();
    for (const stream of [child.stdin, child.stdout, child.stderr, sizes]) stream.destroy();
  }
}

/** Rejects with what the input throws. */
async function typeIn(
  input: AsyncIterable<TerminalInput>,
  to: { readonly keys: Writable; readonly sizes: Writable },
): Promise<void> {
  for await (const typed of input) {
    if (to.keys.destroyed) return;
    if (typed.kind === 'bytes') await written(to.keys, typed.bytes).catch(() => undefined);
    else if (refuseSize(typed) === null) {
      await written(to.sizes, Buffer.from(`${typed.rows} ${typed.columns}\n`)).catch(() => undefined);
    }
  }
}

let trial: Promise<boolean> | null = null;

/** Other programs of that name, such as that of busybox, do not pass on how a command ended. Asked again after a failure. */
async function hasScript(): Promise<boolean> {
  trial ??= promisify(execFile)('script', ['--version'], { env: { PATH: SHIM_PATH }, timeout: TRIAL_TIMEOUT_MS }).then(
    ({ stdout }) => stdout.includes('util-linux'),
    () => false,
  );
  const has = await trial;
  if (!has) trial = null;
  return has;
}
