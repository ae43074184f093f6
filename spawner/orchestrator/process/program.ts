import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, closeSync, constants, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProcessName } from './belonging.ts';
import { isAlive } from './end-processes.ts';
import type { OsUser } from './os-users.ts';
import { MARKER_VARIABLE, type ProcessTable } from './process-table.ts';
import { type Exit, parseShimStatus, type ShimStatus, spawnShim } from './shim.ts';
import { readSmallFile } from './small-file.ts';

/** How often the life of a program is looked at that is not our child (a control child before us started it). */
const ADOPTED_POLL_MS = 200;
const STATUS_MAX_BYTES = 4_096;

/** Where a workload's program leaves its traces, and whose it is. */
export interface ProgramPlace {
  readonly table: ProcessTable;
  readonly outputPath: string;
  readonly statusPath: string;
  readonly osUser: OsUser | null;
  readonly marker: string;
}

/** A start of the program. */
export interface Running {
  /** The shim, leader of its process group. */
  readonly leader: ProcessName;
  /** How the program ended; null when nobody can tell. Rejects only when the signal it was adopted under aborts. */
  readonly exit: Promise<Exit | null>;
}

export async function startProgram(
  place: ProgramPlace,
  program: {
    readonly command: readonly string[];
    readonly cwd: string;
    readonly environment: Readonly<Record<string, string>>;
  },
): Promise<Running> {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } = constants;
  const logFd = openSync(place.outputPath, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
  const statusFd = openSync(place.statusPath, O_WRONLY | O_TRUNC | O_CREAT | O_NOFOLLOW, 0o600);
  let child: ChildProcess;
  try {
    // A program may open its own output by name (/dev/stdout).
    if (place.osUser !== null) chownSync(place.outputPath, place.osUser.uid, place.osUser.gid);
    child = spawnShim({
      ...program,
      // Last: nothing may hide it.
      environment: { ...program.environment, [MARKER_VARIABLE]: place.marker },
      user: place.osUser,
      logFd,
      statusFd,
    });
  } finally {
    closeSync(logFd);
    closeSync(statusFd);
  }
  const exit = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => void exitOf(place, code, signal).then(resolve));
  });
  await once(child, 'spawn');
  // It keeps no process of ours alive; its end is still heard of.
  child.unref();
  const pid = child.pid ?? 0;
  return { leader: { pid, start: (await place.table.read(pid))?.start ?? '' }, exit };
}

/** The shim's word counts; without it (it was killed) its own end. */
async function exitOf(place: ProgramPlace, code: number | null, signal: NodeJS.Signals | null): Promise<Exit> {
  const { exit } = await readStatus(place);
  if (exit !== null) return exit;
  return signal === null ? { kind: 'code', code: code ?? 0 } : { kind: 'signal', signal };
}

/** The program that an earlier control child has started, running or ended meanwhile; null when there is none. */
export async function findProgram(place: ProgramPlace, signal: AbortSignal): Promise<Running | null> {
  const leader = await findLeader(place);
  if (leader !== null) {
    const exit = watchExit(place, leader, signal);
    // Nobody may have asked for it yet when the signal aborts.
    exit.catch(() => undefined);
    return { leader, exit };
  }
  const { started, exit } = await readStatus(place);
  if (started === null || exit === null) return null;
  return { leader: { pid: started.pid, start: started.start ?? '' }, exit: Promise.resolve(exit) };
}

async function watchExit(place: ProgramPlace, leader: ProcessName, signal: AbortSignal): Promise<Exit | null> {
  while (await isAlive(place.table, leader)) await sleep(ADOPTED_POLL_MS, undefined, { signal });
  return (await readStatus(place)).exit;
}

/** The living shim by what it wrote, verified by start time and marker: that pid may be another program's by now. */
export async function findLeader(place: ProgramPlace): Promise<ProcessName | null> {
  const { table, osUser, marker } = place;
  const { started } = await readStatus(place);
  if (started === null) return null;
  const process = await table.read(started.pid);
  if (process === null || process.isZombie || process.pgrp !== process.pid) return null;
  const isSame = started.start === null || started.start === process.start;
  const marked = table.marker(process.pid);
  const isOurs = marked === null ? osUser !== null && process.uids.includes(osUser.uid) : marked === marker;
  return isSame && isOurs ? { pid: process.pid, start: process.start } : null;
}

async function readStatus(place: ProgramPlace): Promise<ShimStatus> {
  // Two lines; but a pod that traces its shim, or loads something into it, writes there what it likes.
  return parseShimStatus(await readSmallFile(place.statusPath, STATUS_MAX_BYTES).catch(() => ''));
}
