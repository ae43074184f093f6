import { readdirSync, readFileSync } from 'node:fs';

/** What processes have used, as /proc tells (proc(5)). */
export interface Usage {
  readonly memoryBytes: number;
  /** Since they started, with that of their children that have ended. */
  readonly cpuMs: number;
}

/** USER_HZ: the same on every architecture that Node runs on. */
const TICK_MS = 10;
const KIB = 1024;

/** One line of the table of processes: enough to find who belongs to whom. */
export interface ProcLine {
  readonly pid: number;
  readonly ppid: number;
  readonly pgrp: number;
}

/** Fields of /proc/<pid>/stat. Null for what is none. The name in parentheses may itself hold spaces and parentheses. */
export function parseProcStat(text: string): (ProcLine & { readonly cpuMs: number }) | null {
  const pid = Number.parseInt(text, 10);
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [ppid, pgrp] = [Number(fields[1]), Number(fields[2])];
  // utime, stime, cutime, cstime: a process that ends leaves its time to the parent that waits for it.
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  if (fields.length < 15 || ![pid, ppid, pgrp, ticks].every(Number.isFinite)) return null;
  return { pid, ppid, pgrp, cpuMs: ticks * TICK_MS };
}

/**
 * From /proc/<pid>/status: pages of its own, and pages that it may share with others of its pod, in bytes. Program files are
 * left out: all pods of a program share them. 0 for what has ended.
 */
export function parseProcMemory(text: string): { readonly ownBytes: number; readonly sharedBytes: number } {
  const of = (name: string): number => KIB * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
  return { ownBytes: of('RssAnon'), sharedBytes: of('RssShmem') };
}

/**
 * What these processes use together; null when none of them is there any more. Shared memory, such as the buffers of a
 * Postgres, counts once: as much as the process has in use that uses most of it.
 */
export function usageOf(pids: Iterable<number>): Usage | null {
  let found = 0;
  let [ownBytes, sharedBytes, cpuMs] = [0, 0, 0];
  for (const pid of pids) {
    const stat = parseProcStat(readProc(`/proc/${pid}/stat`));
    if (stat === null) continue;
    const memory = parseProcMemory(readProc(`/proc/${pid}/status`));
    found += 1;
    ownBytes += memory.ownBytes;
    sharedBytes = Math.max(sharedBytes, memory.sharedBytes);
    cpuMs += stat.cpuMs;
  }
  return found === 0 ? null : { memoryBytes: ownBytes + sharedBytes, cpuMs };
}

/** All processes of this machine, as one look shows them. */
export function readProcLines(): readonly ProcLine[] {
  return readdirSync('/proc').flatMap((name) =>
    /^\d+$/.test(name) ? (parseProcStat(readProc(`/proc/${name}/stat`)) ?? []) : [],
  );
}

/**
 * The leaders of process groups, each with all that is in its group or descends from one of these. What has left both its
 * group and its parent is missed, where no pid namespace keeps it below the leader.
 */
export function groupsOf(lines: readonly ProcLine[], leaders: ReadonlySet<number>): ReadonlyMap<number, Set<number>> {
  const children = new Map<number, number[]>();
  const groups = new Map<number, Set<number>>();
  for (const { pid, ppid, pgrp } of lines) {
    const siblings = children.get(ppid);
    if (siblings === undefined) children.set(ppid, [pid]);
    else siblings.push(pid);
    if (!leaders.has(pgrp)) continue;
    const group = groups.get(pgrp);
    if (group === undefined) groups.set(pgrp, new Set([pid]));
    else group.add(pid);
  }
  // A set that grows while it is walked is walked to its new end.
  for (const group of groups.values()) {
    for (const pid of group) for (const child of children.get(pid) ?? []) group.add(child);
  }
  return groups;
}

/** '' for a process that has gone meanwhile or may not be looked at. */
function readProc(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
