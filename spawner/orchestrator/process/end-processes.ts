import { setTimeout as sleep } from 'node:timers/promises';
import { type Belonging, membersOf, type ProcessName } from './belonging.ts';
import type { ProcessTable } from './process-table.ts';
import { runTool } from './run-tool.ts';

const POLL_MS = 15;
/** Processes that outlive SIGKILL for this long hang in the kernel. */
const KILL_DEADLINE_MS = 5_000;
const KILL_ALL_TIMEOUT_MS = 2_000;

export interface EndOptions {
  readonly table: ProcessTable;
  readonly belonging: Belonging;
  /** How to ask for an end. */
  readonly stopSignal: 'SIGTERM' | 'SIGINT';
  /** How long they may take before SIGKILL; 0 = at once. */
  readonly graceMs: number;
}

/**
 * Ends every process of a workload and returns when a complete look has found none. Throws when some outlive SIGKILL, or
 * when it cannot tell. Each is looked at right before it is signalled: a pid may have passed to somebody else.
 */
export async function endProcesses(options: EndOptions): Promise<void> {
  const { table, stopSignal, graceMs } = options;
  const known = new Map(options.belonging.known);
  const belonging: Belonging = { ...options.belonging, known };
  const look = async () => {
    const members = membersOf(await table.all(), belonging, table.markerOf, process.pid);
    for (const member of members) known.set(member.pid, member.start);
    return members;
  };
  const begunMs = performance.now();
  let members = await look();

  if (graceMs > 0 && members.length > 0) {
    // The group first: a database ends its own helpers, which take the same signal for something else.
    const leads = await signalGroup(table, belonging.leader, stopSignal);
    if (!leads) await signalEach(table, members, 'SIGTERM');
    let asked: 'group' | 'all' = leads ? 'group' : 'all';
    while (members.length > 0 && performance.now() - begunMs < graceMs) {
      await sleep(POLL_MS);
      if (asked === 'group' && !(await isAlive(table, belonging.leader))) {
        members = await look();
        await signalEach(table, members, 'SIGTERM');
        asked = 'all';
      } else if (asked === 'all' && !(await isAnyAlive(table, members))) {
        members = await look();
      }
    }
  }
  const { osUid } = belonging;
  if (members.length === 0 && osUid === null) return;
  const killedMs = performance.now();
  for (;;) {
    // A look does not see who forks and ends again faster than it reads.
    const isSwept = osUid === null || (await killAllOf(osUid));
    members = await look();
    if (members.length === 0 && isSwept) return;
    if (performance.now() - killedMs > KILL_DEADLINE_MS) {
      throw new Error(
        `processes ${members.map((each) => each.pid).join(', ') || 'that cannot be seen'} survive SIGKILL`,
      );
    }
    await signalEach(table, members, 'SIGKILL');
    await sleep(POLL_MS);
  }
}

/**
 * SIGKILL for all processes of that user at one moment, also for those that are just being forked (kill(2) with pid -1,
 * which only a process of that user itself may be let do). False when it was not carried out: they may kill who comes to
 * kill them.
 */
async function killAllOf(uid: number): Promise<boolean> {
  // For these it would be the end of us, or of the machine.
  if (uid === 0 || uid === process.getuid?.()) throw new Error(`user ${uid} does not belong to a pod`);
  const options = { cwd: '/', environment: {}, user: { uid, gid: uid }, timeoutMs: KILL_ALL_TIMEOUT_MS };
  return runTool('/bin/sh', ['-c', 'kill -s KILL -- -1'], options, new AbortController().signal).then(
    () => true,
    () => false,
  );
}

export async function isAlive(table: ProcessTable, name: ProcessName | null): Promise<boolean> {
  if (name === null) return false;
  const now = await table.read(name.pid);
  return now !== null && now.start === name.start && !now.isZombie;
}

async function isAnyAlive(table: ProcessTable, names: readonly ProcessName[]): Promise<boolean> {
  for (const name of names) if (await isAlive(table, name)) return true;
  return false;
}

async function signalGroup(table: ProcessTable, leader: ProcessName | null, signal: NodeJS.Signals): Promise<boolean> {
  if (leader === null || !(await isAlive(table, leader))) return false;
  send(-leader.pid, signal);
  // What was stopped hears of it only when it goes on.
  send(-leader.pid, 'SIGCONT');
  return true;
}

async function signalEach(table: ProcessTable, names: readonly ProcessName[], signal: NodeJS.Signals): Promise<void> {
  for (const name of names) {
    if (!(await isAlive(table, name))) continue;
    send(name.pid, signal);
    if (signal !== 'SIGKILL') send(name.pid, 'SIGCONT');
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone meanwhile, or not ours to signal: the next look tells.
  }
}
