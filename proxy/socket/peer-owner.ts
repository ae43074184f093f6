import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];
const LISTEN = '0A';
/** A line of proc(5) /proc/net/tcp: local address and port, remote address and port, state, user. */
const LINE = /^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ \S+ +(\d+) /gm;
/** 127.0.0.1, also mapped into IPv6, and ::1, in words of the machine's own byte order. */
const LOOPBACK = new Set(['0100007F', '0000000000000000FFFF00000100007F', '00000000000000000000000001000000']);

/**
 * Does this user own the socket at the other end of a connection within this machine? Between two checks of a pod's port
 * another program may have begun to listen there. False also when the system does not say.
 */
export async function isPeerOwnedBy(socket: Socket, uid: number): Promise<boolean> {
  const { localPort, remotePort } = socket;
  if (localPort === undefined || remotePort === undefined) return false;
  const texts = await Promise.all(TABLES.map((path) => readFile(path, 'latin1').catch(() => '')));
  return socket.localPort === localPort && isOwnedIn(texts, { localPort, remotePort, uid });
}

/** `texts`: the tables of IPv4 and of IPv6. */
function isOwnedIn(
  texts: readonly string[],
  connection: { readonly localPort: number; readonly remotePort: number; readonly uid: number },
): boolean {
  const ours = hexPort(connection.localPort);
  const theirs = hexPort(connection.remotePort);
  const listeners: number[] = [];
  let accepted: number | null = null;
  for (const text of texts) {
    for (const [, address = '', port, remote = '', remotePort, state, uid] of text.matchAll(LINE)) {
      if (port !== theirs) continue;
      if (state === LISTEN) listeners.push(Number(uid));
      else if (remotePort === ours && LOOPBACK.has(address) && LOOPBACK.has(remote)) accepted = Number(uid);
    }
    // The listener on IPv4 gets the connection, whatever listens on IPv6 next to it.
    if (accepted !== null || listeners.length > 0) break;
  }
  if (accepted === connection.uid) return true;
  // Until the program accepts the connection, some kernels report 0: then it is queued at the listener.
  return accepted === 0 && listeners.length > 0 && listeners.every((owner) => owner === connection.uid);
}

function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0');
}
