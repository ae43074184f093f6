import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { listen } from './http-gateway.ts';

/** What a reader has seen for one host: method, path, digest of the body. */
export type Seen = readonly (readonly string[])[];

export interface TwoReaders {
  readonly nodePort: number;
  readonly pythonPort: number;
  readonly nodeSeen: ReadonlyMap<string, Seen>;
  pythonSeen(): Promise<Readonly<Record<string, Seen>>>;
  close(): void;
}

/** Two HTTP/1.1 servers by different hands, each as lenient as it can be made. Their answers are `pod`. */
export async function startTwoReaders(): Promise<TwoReaders> {
  const nodeSeen = new Map<string, string[][]>();
  // What this parser would split differently must not reach it.
  const node = http.createServer({ insecureHTTPParser: true }, (request, response) => {
    const hash = createHash('sha256');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      // With a port it is the same pod.
      const host = (headers.host ?? '').replace(/:\d*$/, '');
      const seen = nodeSeen.get(host) ?? [];
      nodeSeen.set(host, [...seen, [method, asPython(url), hash.digest('hex').slice(0, 12)]]);
      response.end('pod');
    });
  });
  const nodePort = await listen(node);
  const python: ChildProcess = spawn('python3', [join(import.meta.dirname, 'lenient-server.py')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (python.stdout === null) throw new Error('no output');
  const [line] = (await once(createInterface(python.stdout), 'line')) as [string];
  const pythonPort = Number(line);
  return {
    nodePort,
    pythonPort,
    nodeSeen,
    async pythonSeen() {
      return (await (await fetch(`http://127.0.0.1:${pythonPort}/seen`)).json()) as Record<string, Seen>;
    },
    close() {
      python.kill();
      node.close();
      node.closeAllConnections();
    },
  };
}

/** Python takes the second slash off a path that begins with two: that is its own affair. */
function asPython(url: string): string {
  return url.replace(/^\/+/, '/');
}
