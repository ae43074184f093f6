import { readdirSync, readlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';

/** A socket that listens. */
export interface Listener {
  /** As people write it: `127.0.0.1`, `::1`, `::`. */
  readonly address: string;
  readonly port: number;
  /** The user it belongs to. */
  readonly uid: number;
  readonly inode: string;
}

/** A line of a listening socket in /proc/net/tcp or tcp6 (proc(5)): most lines are of connections, and only skipped. */
const LISTENING = /^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ 0A \S+ \S+ \S+ +(\d+) +\S+ (\d+)/gm;

/** The listening sockets in the network namespace of that process; null where the system does not say. */
export async function readListeners(pid: number | 'self'): Promise<readonly Listener[] | null> {
  const tables = ['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'latin1').catch(() => null));
  const texts = (await Promise.all(tables)).filter((text) => text !== null);
  return texts.length === 0 ? null : texts.flatMap(parseListeners);
}

/** Parses /proc/net/tcp or tcp6. */
export function parseListeners(text: string): readonly Listener[] {
  return Array.from(text.matchAll(LISTENING), ([, address = '', port = '', uid, inode = '']) => ({
    address: readableAddress(address),
    port: parseInt(port, 16),
    uid: Number(uid),
    inode,
  }));
}

/** The kernel prints addresses as 32-bit words in the byte order of the machine; all that Node runs on are little-endian. */
function readableAddress(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  bytes.swap32();
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.subarray(0, 12).equals(MAPPED)) return bytes.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** ::ffff:0:0/96, IPv4 addresses in a socket of IPv6. */
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/**
 * Who gets a connection to this address and port: listeners on IPv4 decide about 127.0.0.1, whatever stands on [::]. A
 * socket there may leave IPv4 alone (IPV6_V6ONLY), which the system does not show.
 */
export function decidingListeners(
  listeners: readonly Listener[],
  place: { readonly address: string; readonly port: number },
): readonly Listener[] {
  const of = (address: string): readonly Listener[] =>
    listeners.filter((each) => each.port === place.port && each.address === address);
  const [exact, any] = isIPv6(place.address) ? ['::1', '::'] : ['127.0.0.1', '0.0.0.0'];
  const candidates = [of(exact), of(any), of('::')];
  return candidates.find((found) => found.length > 0) ?? [];
}

/** The inodes of the sockets that a process has open. */
export function socketInodes(pid: number): readonly string[] {
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
