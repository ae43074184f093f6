import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';

/** A process as one look at the system showed it. Pid and start together name it for as long as the machine runs. */
export interface ProcessInfo {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat in clock ticks since boot, or what `ps` calls lstart. */
  readonly start: string;
  readonly ppid: number;
  readonly pgrp: number;
  /** Ended, only waiting to be reaped by its parent. */
  readonly isZombie: boolean;
  /** Real, effective and saved. */
  readonly uids: readonly number[];
}

export interface ProcessTable {
  /** Null when there is no such process. */
  readonly read: (pid: number) => Promise<ProcessInfo | null>;
  /** A look at all processes that starts after this call. */
  readonly all: () => Promise<readonly ProcessInfo[]>;
  /** The value of PODGATE_WORKLOAD in the environment the process was started with, or null. */
  readonly marker: (pid: number) => string | null;
  /** The same for what `all` has shown, read once a look: many workloads ask for all processes at once. */
  readonly markerOf: (process: ProcessInfo) => string | null;
}

export const MARKER_VARIABLE = 'PODGATE_WORKLOAD';

export function createProcessTable(platform: NodeJS.Platform): ProcessTable {
  return platform === 'linux' ? createProcTable() : createPsTable();
}

/** Parses /proc/<pid>/stat (proc(5)). The name in parentheses may itself hold spaces and parentheses. */
export function parseStat(text: string): Omit<ProcessInfo, 'uids'> | null {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return null;
  const pid = Number(text.slice(0, open).trim());
  const fields = text.slice(close + 2).split(' ');
  const [state, ppid, pgrp] = fields;
  const start = fields[19];
  if (!Number.isInteger(pid) || state === undefined || start === undefined || !/^\d+$/.test(start)) return null;
  return { pid, start, ppid: Number(ppid), pgrp: Number(pgrp), isZombie: state === 'Z' || state === 'X' };
}

function createProcTable(): ProcessTable {
  const look = (pid: number): ProcessInfo | null => {
    const stat = parseStat(readProc(`/proc/${pid}/stat`));
    if (stat === null) return null;
    // Not the owner of /proc/<pid>: that is root for whatever has changed its identity.
    const uids = /^Uid:\t(\d+)\t(\d+)\t(\d+)/m.exec(readProc(`/proc/${pid}/status`));
    return uids === null ? null : { ...stat, uids: uids.slice(1).map(Number) };
  };
  const all = shareLooks(async () => {
    const processes: ProcessInfo[] = [];
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const info = look(Number(name));
      if (info !== null) processes.push(info);
    }
    return processes;
  });
  const marker = (pid: number): string | null => {
    const entry = readProc(`/proc/${pid}/environ`)
      .split('\0')
      .find((each) => each.startsWith(`${MARKER_VARIABLE}=`));
    return entry === undefined ? null : entry.slice(MARKER_VARIABLE.length + 1);
  };
  const markers = new WeakMap<ProcessInfo, string | null>();
  return {
    read: (pid) => Promise.resolve(look(pid)),
    all,
    marker,
    markerOf: (process) => {
      let known = markers.get(process);
      if (known === undefined) {
        known = marker(process.pid);
        markers.set(process, known);
      }
      return known;
    },
  };
}

/** '' for a process that has gone meanwhile or may not be looked at. */
function readProc(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/**
 * Many pods may end at once: all who ask before a look begins share it, and looks are spaced so that they take at most
 * about a fifth of the time.
 */
function shareLooks(look: () => Promise<readonly ProcessInfo[]>): () => Promise<readonly ProcessInfo[]> {
  let next: Promise<readonly ProcessInfo[]> | null = null;
  let notBeforeMs = 0;
  return () => {
    next ??= new Promise((resolve, reject) => {
      setTimeout(
        () => {
          next = null;
          const beganMs = performance.now();
          look()
            .finally(() => {
              const tookMs = performance.now() - beganMs;
              notBeforeMs = performance.now() + 4 * tookMs;
            })
            .then(resolve, reject);
        },
        Math.max(0, notBeforeMs - performance.now()),
      );
    });
    return next;
  };
}

const execFileAsync = promisify(execFile);

/**
 * Systems without /proc: `ps` shows all but the environment, so a process that has left both its group and its parent
 * is found there only under a user id of its own.
 */
function createPsTable(): ProcessTable {
  const all = shareLooks(async () => {
    const { stdout } = await execFileAsync('ps', ['-A', '-o', 'pid=,ppid=,pgid=,uid=,ruid=,state=,lstart='], {
      timeout: 5_000,
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    });
    return stdout.split('\n').flatMap((line) => parsePsLine(line) ?? []);
  });
  return {
    read: async (pid) => (await all()).find((process) => process.pid === pid) ?? null,
    all,
    marker: () => null,
    markerOf: () => null,
  };
}

/** Parses a line of `ps -o pid=,ppid=,pgid=,uid=,ruid=,state=,lstart=`. */
export function parsePsLine(line: string): ProcessInfo | null {
  const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S.*?)\s*$/.exec(line);
  if (match === null) return null;
  const [pid, ppid, pgrp, uid, ruid] = match.slice(1, 6).map(Number) as [number, number, number, number, number];
  return { pid, ppid, pgrp, uids: [uid, ruid], isZombie: match[6]?.startsWith('Z') === true, start: match[7] ?? '' };
}
