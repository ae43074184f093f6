import type { ProcessInfo } from './process-table.ts';

/** How the processes of one workload are told from all others. */
export interface Belonging {
  /** `<installation>/<uid>/`: the beginning of the marker in the environment of whatever it started. */
  readonly markerPrefix: string;
  /** The system user that nothing but this workload runs as; null when pods run as ourselves. */
  readonly osUid: number | null;
  /** The shim, leader of the workload's process group. */
  readonly leader: ProcessName | null;
  /** Processes that were seen to belong before. */
  readonly known: ReadonlyMap<number, string>;
  /** Knows a process of a program that overwrites its environment, as Postgres does. */
  readonly recognises: ((pid: number) => boolean) | null;
}

export interface ProcessName {
  readonly pid: number;
  readonly start: string;
}

/**
 * The living processes of a workload: those that carry its marker, run as its user, are in its group, were known before,
 * or descend from one of these. `selfPid` is never among them. A pid alone is no evidence: it may have been given to
 * another process.
 */
export function membersOf(
  processes: readonly ProcessInfo[],
  belonging: Belonging,
  markerOf: (process: ProcessInfo) => string | null,
  selfPid: number,
): readonly ProcessInfo[] {
  const { leader, osUid, known, markerPrefix } = belonging;
  const leaderLives =
    leader !== null && processes.some((each) => each.pid === leader.pid && each.start === leader.start);
  const members = new Map<number, ProcessInfo>();
  const candidates = processes.filter((each) => each.pid > 1 && each.pid !== selfPid);
  for (const each of candidates) {
    const belongs =
      known.get(each.pid) === each.start ||
      (leader?.pid === each.pid && leader.start === each.start) ||
      // A group outlives its leader, but then its number may be given away again.
      (leaderLives && each.pgrp === leader.pid) ||
      (osUid !== null && each.uids.includes(osUid)) ||
      markerOf(each)?.startsWith(markerPrefix) === true ||
      belonging.recognises?.(each.pid) === true;
    if (belongs) members.set(each.pid, each);
  }
  for (let grew = members.size > 0; grew;) {
    grew = false;
    for (const each of candidates) {
      if (members.has(each.pid) || !members.has(each.ppid)) continue;
      members.set(each.pid, each);
      grew = true;
    }
  }
  return [...members.values()].filter((each) => !each.isZombie);
}
