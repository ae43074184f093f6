import { readdirSync, readlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** A listening socket that a connection to 127.0.0.1:<port> may reach. */
export interface ListeningSocket {
  readonly uid: number;
  readonly inode: string;
}

const LISTEN = '0A';
/** A line of a listening socket: its address, port and user. Most lines are of connections, and only skipped. */
const LISTENING = /^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ 0A \S+ \S+ \S+ +(\d+) /gm;
/** 127.0.0.1, 0.0.0.0, ::, ::ffff:127.0.0.1 as /proc/net/tcp and tcp6 write them (little-endian words). */
const REACHED_FROM_LOOPBACK = new Set([
  '0100007F',
  '00000000',
  '00000000000000000000000000000000',
  '0000000000000000FFFF00000100007F',
]);

/** Parses /proc/net/tcp or tcp6 (proc(5)). */
export function parseListeningSockets(text: string, port: number): readonly ListeningSocket[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const sockets: ListeningSocket[] = [];
  for (const line of text.split('\n')) {
    const [, local, , state, , , , uid, , inode] = line.trim().split(/\s+/);
    if (state !== LISTEN || local === undefined || uid === undefined || inode === undefined) continue;
    const [address, hexPort] = local.split(':');
    if (hexPort !== wanted || address === undefined || !REACHED_FROM_LOOPBACK.has(address)) continue;
    sockets.push({ uid: Number(uid), inode });
  }
  return sockets;
}

/** The users of the sockets that a connection to 127.0.0.1 may reach, by port; null where the system does not tell. */
export async function listeningUsers(): Promise<ReadonlyMap<number, readonly number[]> | null> {
  const texts = await readSocketTables();
  if (texts.length === 0) return null;
  const users = new Map<number, number[]>();
  for (const text of texts) {
    for (const [, address = '', port = '', uid] of text.matchAll(LISTENING)) {
      if (!REACHED_FROM_LOOPBACK.has(address)) continue;
      const number = parseInt(port, 16);
      users.set(number, [...(users.get(number) ?? []), Number(uid)]);
    }
  }
  return users;
}

async function readSocketTables(): Promise<readonly string[]> {
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'latin1').catch(() => null));
  return (await Promise.all(tables)).filter((text) => text !== null);
}

/**
 * Does the workload own every socket that listens on this port? A stranger's program may have taken the port between
 * its allocation and the pod's start, and must never get the pod's traffic. `members` are asked for only when pods have
 * no user of their own. Null where the system does not tell (not Linux).
 */
export async function ownsPort(
  port: number,
  osUid: number | null,
  members: () => Promise<readonly { readonly pid: number }[]>,
): Promise<boolean | null> {
  const texts = await readSocketTables();
  if (texts.length === 0) return null;
  const sockets = texts.flatMap((text) => parseListeningSockets(text, port));
  if (sockets.length === 0) return false;
  if (osUid !== null) return sockets.every((socket) => socket.uid === osUid);
  const owned = new Set<string>();
  for (const { pid } of await members()) for (const inode of socketInodes(pid)) owned.add(inode);
  return sockets.every((socket) => owned.has(socket.inode));
}

function socketInodes(pid: number): readonly string[] {
  const directory = `/proc/${pid}/fd`;
  const inodes: string[] = [];
  try {
    for (const name of readdirSync(directory)) {
      const match = /^socket:\[(\d+)\]$/.exec(linkOf(`${directory}/${name}`));
      if (match?.[1] !== undefined) inodes.push(match[1]);
    }
  } catch {
    // It has ended meanwhile.
  }
  return inodes;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
