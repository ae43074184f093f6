import { once } from 'node:events';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { createServer, type Socket } from 'node:net';

/** A client that says nothing for so long gets the line of a TCP server, unless another time is given. */
const SILENCE_MS = 100;
const HTTP_REQUEST = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|CONNECT|PRI) /;

export interface ServeOptions {
  readonly address: string;
  readonly ports: readonly number[];
  /** Who answers: said in every HTTP answer and at the start of every TCP session. */
  readonly identity: Readonly<Record<string, unknown>>;
  /** SPEAK_AFTER_MS: on a slow machine an HTTP client may be silent longer. `never`: the client has the first word. */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Listens on every port. HTTP is answered with the identity as JSON (and the request's method, path and body length);
 * anything else is TCP: a line with the identity, then every byte back. Whoever gets bytes from here can tell whose they
 * are, so that a test notices when they come from another pod than the one that was meant.
 */
export async function serve({ address, ports, identity, environment }: ServeOptions): Promise<{ close(): void }> {
  const speakAfter = environment['SPEAK_AFTER_MS'] ?? String(SILENCE_MS);
  const sockets = new Set<Socket>();
  const line = `${JSON.stringify(identity)}\n`;
  const http = createHttpServer((incoming, response) => {
    let bodyBytes = 0;
    incoming.on('data', (chunk: Buffer) => (bodyBytes += chunk.length));
    incoming.on('end', () => answer(response, { ...identity, method: incoming.method, path: incoming.url, bodyBytes }));
  });
  http.on('upgrade', (_request, socket) => socket.destroy());
  const servers = ports.map((port) => ({
    port,
    server: createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
      sniff(socket);
    }),
  }));

  function sniff(socket: Socket): void {
    const silence = speakAfter === 'never' ? undefined : setTimeout(() => begin(null), Number(speakAfter));
    const begin = (first: Buffer | null): void => {
      clearTimeout(silence);
      socket.off('data', begin).off('close', forget).off('end', ended);
      if (first !== null && HTTP_REQUEST.test(first.subarray(0, 8).toString('latin1'))) {
        socket.pause();
        socket.unshift(first);
        http.emit('connection', socket);
        // Paused by us, it would not begin again by itself.
        socket.resume();
        return;
      }
      socket.write(line);
      if (first !== null) socket.write(first);
      socket.pipe(socket);
    };
    const forget = (): void => clearTimeout(silence);
    // Who only looks whether the port is open says nothing and goes.
    const ended = (): void => begin(null);
    socket.on('data', begin).on('close', forget).on('end', ended);
  }

  const close = (): void => {
    for (const { server } of servers) server.close();
    for (const socket of sockets) socket.destroy();
  };
  try {
    for (const { server, port } of servers) {
      server.listen({ host: address, port, exclusive: true });
      await once(server, 'listening');
    }
  } catch (error) {
    close();
    throw error;
  }
  return { close };
}

function answer(response: ServerResponse, body: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(`${JSON.stringify(body)}\n`);
}
