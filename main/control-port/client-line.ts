import type { Server } from 'node:http';
import { isIP, type Socket } from 'node:net';

/** The first line on each connection to `control.sock`: which client the bytes that follow are from. */
const LINE_MAX_BYTES = 256;
/** The probe process writes it with the first bytes. */
const LINE_MS = 5_000;

export const CONTROL_SOCKET = 'control.sock';

export interface ClientAddress {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Of ours, as the client has dialled it. */
  readonly localAddress: string;
}

export function clientLine({ remoteAddress, remotePort, localAddress }: ClientAddress): string {
  return `${JSON.stringify([remoteAddress, remotePort, localAddress])}\n`;
}

/** Null for anything else. */
export function parseClientLine(line: string): ClientAddress | null {
  try {
    const [remoteAddress, remotePort, localAddress, ...rest] = JSON.parse(line) as readonly unknown[];
    if (typeof remoteAddress !== 'string' || isIP(remoteAddress) === 0 || rest.length > 0) return null;
    if (typeof localAddress !== 'string' || isIP(localAddress) === 0) return null;
    return typeof remotePort === 'number' ? { remoteAddress, remotePort, localAddress } : null;
  } catch {
    return null;
  }
}

/**
 * Has a server that listens on `control.sock` read the client's line first. To its handlers each connection then looks as
 * if the client itself had made it.
 */
export function expectClientLine(server: Server): void {
  const [serve] = server.listeners('connection');
  if (serve === undefined) throw new Error('this server serves no connections');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    readClientLine(socket, (client) => {
      Object.defineProperties(socket, {
        remoteAddress: { value: client.remoteAddress },
        remotePort: { value: client.remotePort },
        remoteFamily: { value: isIP(client.remoteAddress) === 6 ? 'IPv6' : 'IPv4' },
        localAddress: { value: client.localAddress },
      });
      serve.call(server, socket);
    });
  });
}

/** Calls back with what is behind the line left in the socket; never when there is no such line. */
function readClientLine(socket: Socket, done: (client: ClientAddress) => void): void {
  let head = Buffer.alloc(0);
  const late = setTimeout(() => socket.destroy(), LINE_MS);
  const onError = (): void => void socket.destroy();
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\n');
    if (end < 0 && head.length <= LINE_MAX_BYTES) return;
    clearTimeout(late);
    socket.off('readable', onReadable).off('error', onError);
    const client = end < 0 ? null : parseClientLine(head.toString('latin1', 0, end));
    if (client === null) {
      socket.destroy();
      return;
    }
    if (head.length > end + 1) socket.unshift(head.subarray(end + 1));
    done(client);
  };
  socket.on('readable', onReadable).on('error', onError);
  socket.once('close', () => clearTimeout(late));
}
