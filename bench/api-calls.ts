import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

/** Calls of one kind, `writers` at a time. */
export interface ApiCalls {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly method: string;
  readonly paths: readonly string[];
  /** One for each path, if any. */
  readonly bodies?: readonly string[];
  readonly writers: number;
}

export interface ApiCallsDone {
  readonly bytes: number;
}

/** Makes calls from a thread of its own, so that what the calling thread uses is the API's alone. */
export class ApiCaller {
  readonly #thread = new Worker(new URL(import.meta.url));

  async make(calls: ApiCalls): Promise<ApiCallsDone> {
    this.#thread.postMessage(calls);
    const [done] = (await once(this.#thread, 'message')) as [ApiCallsDone];
    return done;
  }

  async close(): Promise<void> {
    await this.#thread.terminate();
  }
}

async function make({ url, headers, method, paths, bodies, writers }: ApiCalls): Promise<ApiCallsDone> {
  const agent = new Agent({ keepAlive: true, maxSockets: writers });
  let bytes = 0;
  let next = 0;
  const call = async (at: number): Promise<void> => {
    const sent = request(`${url}${paths[at] ?? ''}`, { method, headers, agent }).end(bodies?.[at]);
    const [response] = (await once(sent, 'response')) as [AsyncIterable<Buffer> & { readonly statusCode: number }];
    const pieces: Buffer[] = [];
    for await (const piece of response) pieces.push(piece);
    if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${Buffer.concat(pieces).toString()}`);
    bytes += pieces.reduce((sum, { length }) => sum + length, 0);
  };
  const write = async (): Promise<void> => {
    while (next < paths.length) await call(next++);
  };
  await Promise.all(Array.from({ length: writers }, write));
  agent.destroy();
  return { bytes };
}

if (!isMainThread) {
  parentPort?.on('message', (calls: ApiCalls) => {
    // A rejection is the worker's 'error' event, which `ApiCaller.make` throws.
    void make(calls).then((done) => parentPort?.postMessage(done));
  });
}
