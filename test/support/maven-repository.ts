import { createReadStream, statSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface MavenRequest {
  /** In the repository, without a slash before. */
  readonly path: string;
  readonly range: string | null;
  readonly authorization: string | null;
}

/** A response other than the file itself. */
export type Fault = (response: ServerResponse, file: string) => void;

export interface TestRepository {
  readonly url: string;
  readonly requests: readonly MavenRequest[];
  close(): Promise<void>;
}

/**
 * A Maven repository on loopback. `fileOf`: where the file of a path is, or null for 404. `faultOf` is asked before each
 * response; `count` is how many requests for that path there have been, this one included.
 */
export async function serveRepository(
  fileOf: (path: string) => string | null,
  faultOf: (request: MavenRequest, count: number) => Fault | null = () => null,
): Promise<TestRepository> {
  const requests: MavenRequest[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const { range = null, authorization = null } = request.headers;
    const asked = { path: decodeURI(request.url ?? '').replace(/^\/maven2\//, ''), range, authorization };
    requests.push(asked);
    const file = fileOf(asked.path);
    if (file === null) {
      response.writeHead(404).end();
      return;
    }
    const fault = faultOf(asked, requests.filter(({ path }) => path === asked.path).length);
    if (fault === null) sendFile(response, file, range);
    else fault(response, file);
  };
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/maven2`,
    requests,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export function sendFile(response: ServerResponse, file: string, range: string | null): void {
  const { size } = statSync(file);
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  response.writeHead(start === 0 ? 200 : 206, {
    'content-length': size - start,
    ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${size - 1}/${size}` }),
  });
  createReadStream(file, { start }).pipe(response);
}

/** Announces the whole file, sends a part of it and cuts the connection. */
export function cutAfter(bytes: number): Fault {
  return (response, file) => {
    response.writeHead(200, { 'content-length': statSync(file).size });
    createReadStream(file, { end: bytes - 1 })
      .on('end', () => setImmediate(() => response.destroy()))
      .pipe(response, { end: false });
  };
}
