import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, closeSync, constants, mkdirSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NetworkNamespace } from '../../../core/pod-network.ts';
import type { ProcessName } from './belonging.ts';
import { isAlive } from './end-processes.ts';
import type { OsUser } from './os-users.ts';
import type { OpenedMounts } from './volumes/open-mounts.ts';
import { MARKER_VARIABLE, type ProcessInfo, type ProcessTable } from './process-table.ts';
import { environmentScript, type HiddenFiles, roomFor, type Walls } from './room.ts';
import { type Exit, parseShimStatus, type ShimStatus, spawnShim } from './shim.ts';
import { readSmallFile } from './small-file.ts';

/** How often the life of a program is looked at that is not our child (a control child before us started it). */
const ADOPTED_POLL_MS = 200;
const STATUS_MAX_BYTES = 4_096;
const NAMESPACE_POLL_MS = 1;
/** On a machine that is very busy. */
const NAMESPACE_DEADLINE_MS = 10_000;
const { O_CREAT, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY } = constants;

/** Where a workload's program leaves its traces, and whose it is. */
export interface ProgramPlace {
  readonly table: ProcessTable;
  readonly walls: Walls;
  readonly hide: HiddenFiles;
  /** For the two files of what it prints. */
  readonly logDirectory: string;
  readonly logFileMaxBytes: number;
  readonly statusPath: string;
  /** Exists for a moment only. */
  readonly environmentPath: string;
  readonly osUser: OsUser | null;
  /** See ShimOptions; without a network of its own there is none. */
  readonly doorPort: number | null;
  readonly marker: string;
}

/** A start of the program. */
export interface Running {
  /** The shim, leader of its process group. */
  readonly leader: ProcessName;
  /** Its own, or null when it shares ours. */
  readonly namespace: NetworkNamespace | null;
  /** How the program ended; null when nobody can tell. Rejects only when the signal it was adopted under aborts. */
  readonly exit: Promise<Exit | null>;
}

export async function startProgram(
  place: ProgramPlace,
  program: {
    readonly command: readonly string[];
    readonly readOnly: readonly string[];
    readonly memLimitMiB: number;
    /** Named volumes; null: none. */
    readonly mounts: OpenedMounts | null;
    readonly cwd: string;
    readonly environment: Readonly<Record<string, string>>;
    /** Of its control groups. */
    readonly groups: readonly string[];
  },
): Promise<Running> {
  const { osUser, walls } = place;
  const marker = { [MARKER_VARIABLE]: place.marker };
  const groups = program.mounts?.groups ?? [];
  const room = roomFor(walls, osUser, place.hide, { ...program, groups });
  mkdirSync(place.logDirectory, { recursive: true, mode: 0o700 });
  if (room.shimUser !== null) chownSync(place.logDirectory, room.shimUser.uid, room.shimUser.gid);
  const statusFd = openSync(place.statusPath, O_WRONLY | O_TRUNC | O_CREAT | O_NOFOLLOW, 0o600);
  // Last: nothing may hide the marker.
  const environmentFd = openEnvironment(place, { ...program.environment, ...marker });
  let child: ChildProcess;
  try {
    child = spawnShim({
      ...room,
      cwd: program.cwd,
      groups: program.groups,
      environment: marker,
      user: room.shimUser,
      logDirectory: place.logDirectory,
      logFileMaxBytes: place.logFileMaxBytes,
      hasOwnNetwork: walls.hasNamespaces,
      doorPort: walls.hasNamespaces ? place.doorPort : null,
      pipeOwner: room.shimUser === null ? (osUser?.uid ?? null) : null,
      statusFd,
      environmentFd,
      mountFds: program.mounts?.fds ?? [],
    });
  } finally {
    closeSync(statusFd);
    closeSync(environmentFd);
  }
  const exit = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => void exitOf(place, code, signal).then(resolve));
  });
  await once(child, 'spawn');
  // It keeps no process of ours alive; its end is still heard of.
  child.unref();
  const pid = child.pid ?? 0;
  const start = (await place.table.read(pid))?.start ?? '';
  return { leader: { pid, start }, namespace: walls.hasNamespaces ? await untilOwnNamespace(pid, exit) : null, exit };
}

/** Opens a file that has no name any more, for the last shell before a program to read. */
export function openEnvironment(
  place: Pick<ProgramPlace, 'environmentPath' | 'osUser'>,
  environment: Readonly<Record<string, string>>,
): number {
  const { environmentPath, osUser } = place;
  rmSync(environmentPath, { force: true });
  writeFileSync(environmentPath, environmentScript(environment), { mode: 0o400, flag: 'wx' });
  // Read by the last process before the program, which runs as its user.
  if (osUser !== null) chownSync(environmentPath, osUser.uid, osUser.gid);
  const fd = openSync(environmentPath, O_RDONLY | O_NOFOLLOW);
  rmSync(environmentPath);
  return fd;
}

/** It enters its namespace a moment after it was started. Null when it ends before. */
async function untilOwnNamespace(pid: number, exit: Promise<unknown>): Promise<NetworkNamespace | null> {
  let hasEnded = false;
  void exit.then(() => {
    hasEnded = true;
  });
  const deadlineMs = performance.now() + NAMESPACE_DEADLINE_MS;
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the listener
  while (!hasEnded && performance.now() < deadlineMs) {
    const namespace = ownNamespaceOf(pid);
    if (namespace !== null) return namespace;
    await sleep(NAMESPACE_POLL_MS);
  }
  return null;
}

/** The network namespace of a process; null when it is ours, or the process has ended. */
function ownNamespaceOf(pid: number): NetworkNamespace | null {
  const path = `/proc/${pid}/ns/net`;
  const inode = statSync(path, { throwIfNoEntry: false })?.ino;
  return inode === undefined || inode === statSync('/proc/self/ns/net').ino ? null : { path, inode };
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
    return { leader, namespace: place.walls.hasNamespaces ? ownNamespaceOf(leader.pid) : null, exit };
  }
  const { started, exit } = await readStatus(place);
  if (started === null || exit === null) return null;
  const name = { pid: started.pid, start: started.start ?? '' };
  return { leader: name, namespace: null, exit: Promise.resolve(exit) };
}

async function watchExit(place: ProgramPlace, leader: ProcessName, signal: AbortSignal): Promise<Exit | null> {
  while (await isAlive(place.table, leader)) await sleep(ADOPTED_POLL_MS, undefined, { signal });
  return (await readStatus(place)).exit;
}

/** The living shim by what it wrote, verified by start time and marker: that pid may be another program's by now. */
export async function findLeader(place: ProgramPlace): Promise<ProcessName | null> {
  const { table, marker } = place;
  const { started } = await readStatus(place);
  if (started === null) return null;
  const process = await table.read(started.pid);
  if (process === null || process.isZombie || process.pgrp !== process.pid) return null;
  const isSame = started.start === null || started.start === process.start;
  const marked = table.marker(process.pid);
  const isOurs = marked === null ? isOfUser(place, started.start, process) : marked === marker;
  return isSame && isOurs ? { pid: process.pid, start: process.start } : null;
}

/**
 * For a process whose environment the system does not show: it runs as the pod's user; or as ours, in the user namespace
 * of an earlier Podgate. Then the start time that the shim wrote counts, in a file that no pod sees.
 */
function isOfUser({ osUser, walls }: ProgramPlace, start: string | null, { uids }: ProcessInfo): boolean {
  if (osUser !== null) return uids.includes(osUser.uid);
  return walls.hasUserNamespaces && start !== null && uids.includes(process.getuid?.() ?? -1);
}

async function readStatus(place: ProgramPlace): Promise<ShimStatus> {
  // Two lines; but a pod that traces its shim, or loads something into it, writes there what it likes.
  return parseShimStatus(await readSmallFile(place.statusPath, STATUS_MAX_BYTES).catch(() => ''));
}
