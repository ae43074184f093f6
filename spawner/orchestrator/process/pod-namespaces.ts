import { closeSync, openSync, statSync } from 'node:fs';
import type { ProcessName } from './belonging.ts';
import { isAlive } from './end-processes.ts';
import type { ProcessTable } from './process-table.ts';
import type { NamespaceKind, Walls } from './room.ts';

const FILES: Readonly<Record<NamespaceKind, string>> = {
  user: 'user',
  net: 'net',
  ipc: 'ipc',
  pid: 'pid_for_children',
  mount: 'mnt',
};

/** The namespaces that a pod has behind these walls. */
export function namespacesOf({ hasNamespaces, hasUserNamespaces }: Walls): readonly NamespaceKind[] {
  if (!hasNamespaces && !hasUserNamespaces) return [];
  return [
    ...(hasUserNamespaces ? ['user' as const] : []),
    ...(hasNamespaces ? ['net' as const] : []),
    'ipc',
    'pid',
    'mount',
  ];
}

export interface OpenedNamespaces {
  /** In the order of `namespacesOf`. */
  readonly fds: readonly number[];
  close(): void;
}

/**
 * Opens the namespaces of a pod whose program runs, or returns null.
 *
 * They are taken from the `unshare` that has made them, the one process below the leader that is in our pid namespace
 * while its children are in another. It is none of the pod's own processes, which are all in the other: one of those may
 * have moved into namespaces that its user controls, where we would then start programs of the user's choice with our own
 * rights. Its identity is checked once more when all are open: a pid alone may have become another process's.
 */
export async function openNamespaces(
  table: ProcessTable,
  leader: ProcessName,
  kinds: readonly NamespaceKind[],
): Promise<OpenedNamespaces | null> {
  if (!(await isAlive(table, leader))) return null;
  const maker = await findMaker(table, leader);
  if (maker === null) return null;
  const fds: number[] = [];
  const close = (): void => fds.forEach((fd) => closeSync(fd));
  try {
    for (const kind of kinds) fds.push(openSync(`/proc/${maker.pid}/ns/${FILES[kind]}`, 'r'));
    if (isMaker(maker.pid) && (await isAlive(table, maker)) && (await isAlive(table, leader))) return { fds, close };
  } catch {
    // It has ended meanwhile.
  }
  close();
  return null;
}

async function findMaker(table: ProcessTable, leader: ProcessName): Promise<ProcessName | null> {
  const childrenOf = Map.groupBy(await table.all(), ({ ppid }) => ppid);
  const below = [...(childrenOf.get(leader.pid) ?? [])];
  for (const each of below) {
    if (isMaker(each.pid)) return { pid: each.pid, start: each.start };
    below.push(...(childrenOf.get(each.pid) ?? []));
  }
  return null;
}

function isMaker(pid: number): boolean {
  const [own, itsOwn, ofChildren] = ['self/ns/pid', `${pid}/ns/pid`, `${pid}/ns/pid_for_children`].map(inodeAt);
  return own !== null && itsOwn === own && ofChildren !== null && ofChildren !== own;
}

function inodeAt(path: string): number | null {
  try {
    return statSync(`/proc/${path}`).ino;
  } catch {
    return null;
  }
}
