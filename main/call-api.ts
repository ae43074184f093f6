import { request } from 'node:http';

const DEADLINE_MS = 3_000;

/** Calls `/healthz` through `api.sock`, as a worker of the gateway does. Throws when there is no proper response. */
export function callApiSocket(path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        socketPath: path,
        path: '/healthz',
        agent: false,
        headers: { host: 'localhost', connection: 'close' },
        signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
      },
      (response) => {
        response.resume();
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`api.sock: status ${String(response.statusCode)}`));
        });
      },
    );
    call.on('error', reject);
    call.end();
  });
}
