import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Everything until the other side ends, or closes in any way. Ends nothing itself. */
export function readAll(socket: Duplex): Promise<Buffer> {
  if (socket.readableEnded || socket.closed) return Promise.resolve(Buffer.alloc(0));
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const done = (): void => resolve(Buffer.concat(chunks));
    socket
      .once('end', done)
      .once('close', done)
      .on('error', () => undefined);
  });
}

export function closed(socket: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve()).on('error', () => undefined);
  });
}

export function openPlain(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}

export interface Backend {
  readonly port: number;
  readonly server: Server;
  close(): Promise<void>;
}

/** Everything until the other side ends; then this side ends, too. */
export async function readAndEnd(socket: Duplex): Promise<Buffer> {
  const bytes = await readAll(socket);
  socket.end();
  await closed(socket);
  return bytes;
}

/** A pod's side: a TCP server on loopback that does as told with each connection. */
export async function startBackend(onConnection: (socket: Socket) => void, port = 0): Promise<Backend> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    server,
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
