import http2, { type Http2Server, type ServerHttp2Session, type ServerHttp2Stream, type Settings } from 'node:http2';
import type { IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';

export interface H2cPod {
  readonly port: number;
  readonly sessions: Set<ServerHttp2Session>;
  /** Of all sessions there were. */
  readonly opened: number;
  handle: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;
  close(): Promise<void>;
}

/** A pod that speaks HTTP/2 without TLS. */
export async function startH2cPod(settings: Settings = {}): Promise<H2cPod> {
  const server: Http2Server = http2.createServer({ settings });
  const sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  let opened = 0;
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('session', (session) => {
    opened++;
    sessions.add(session);
    session.on('error', () => undefined).once('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    // Unread, a request ends its answer as soon as that is written, in the middle of what waits for a slow reader.
    stream.on('error', () => undefined).resume();
    pod.handle(stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const pod: H2cPod = {
    port: (server.address() as AddressInfo).port,
    sessions,
    get opened() {
      return opened;
    },
    handle: (stream) => {
      stream.respond({ ':status': 200 });
      stream.end('pod');
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
  return pod;
}
