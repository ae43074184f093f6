import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/**
 * What a pod does when the first bytes of a client are there: says its last words and closes, whatever is still on its way.
 * 'greeting': as soon as it has accepted.
 */
export interface HastyPod {
  readonly says: string;
  readonly when: 'greeting' | 'first-bytes';
  /** Leaves what it was sent unread, so that closing sends a reset. */
  readonly isDeaf?: boolean;
  /** Accepts an upgrade first. */
  readonly isWebSocket?: boolean;
  /** Listens on this Unix socket instead of a port. */
  readonly path?: string;
}

/** In a thread of its own: it closes while the gateway is in the middle of a turn of its event loop. */
const SOURCE = `
const { parentPort, workerData: { says, when, isDeaf, isWebSocket, path } } = require('node:worker_threads');
const farewell = Buffer.from(says, 'latin1');
const server = require('node:net').createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on('error', () => {});
  const leave = () => socket.write(farewell, () => socket.destroy());
  if (when === 'greeting') leave();
  else if (isWebSocket) {
    socket.once('data', (head) => {
      const key = /sec-websocket-key: (.*)\\r/i.exec(String(head))[1] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
      const accept = require('node:crypto').createHash('sha1').update(key).digest('base64');
      socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
      socket.once('data', leave);
    });
    socket.resume();
  }
  else if (isDeaf) setTimeout(leave, 2);
  else { socket.once('data', leave); socket.resume(); }
});
const where = path === undefined ? { host: '127.0.0.1', port: 0 } : { path };
server.listen(where, () => parentPort.postMessage(server.address().port ?? 0));
`;

export async function startHastyPod(pod: HastyPod): Promise<{ readonly port: number; close(): Promise<void> }> {
  const worker = new Worker(SOURCE, { eval: true, workerData: pod });
  const [port] = (await once(worker, 'message')) as [number];
  return {
    port,
    async close() {
      await worker.terminate();
    },
  };
}

/** Clients that say their last words and close, one after the other, without having read what the pod sends. */
const CLIENT_SOURCE = `
const { parentPort, workerData: { port, ca, servername, words, times } } = require('node:worker_threads');
const next = (left) => {
  if (left === 0) return parentPort.postMessage('done');
  const socket = require('node:tls').connect({ host: '127.0.0.1', port, ca, servername }, () => {
    socket.once('readable', () => {
      for (let piece = 0; piece < 5; piece++) socket.write(words + piece);
      socket.end(() => { socket.destroy(); next(left - 1); });
    });
  });
  socket.on('error', () => {});
};
next(times);
`;

export interface HastyClients {
  readonly port: number;
  readonly ca: string;
  readonly servername: string;
  readonly words: string;
  readonly times: number;
}

export async function runHastyClients(clients: HastyClients): Promise<void> {
  const worker = new Worker(CLIENT_SOURCE, { eval: true, workerData: clients });
  await once(worker, 'message');
  await worker.terminate();
}
