import { request } from 'node:https';

export interface ApiReply {
  readonly status: number;
  readonly message: unknown;
  readonly result: unknown;
}

export interface ApiClient {
  /** Throws when there is no answer within `timeoutMs` (default: 15 s), or none that is the API's. */
  call(method: string, path: string, body?: unknown, timeoutMs?: number): Promise<ApiReply>;
}

export interface ApiClientOptions {
  /** Of the balancer, or of one gateway. */
  readonly port: number;
  readonly ca: string;
  readonly baseHost: string;
  readonly token: string;
}

const ANSWER_MS = 15_000;

/** The API as users call it: over TLS through the gateway, each call on a connection of its own, so at any replica. */
export function createApiClient({ port, ca, baseHost, token }: ApiClientOptions): ApiClient {
  return {
    call: (method, path, body, timeoutMs = ANSWER_MS) =>
      new Promise((resolve, reject) => {
        const text = body === undefined ? null : JSON.stringify(body);
        const outgoing = request({
          host: '127.0.0.1',
          port,
          servername: baseHost,
          ca,
          agent: false,
          method,
          path,
          signal: AbortSignal.timeout(timeoutMs),
          headers: {
            host: `${baseHost}:${port}`,
            'x-tapis-token': token,
            ...(text === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          },
        });
        outgoing.on('response', (answer) => {
          let received = '';
          answer.setEncoding('utf8').on('data', (chunk: string) => (received += chunk));
          answer.on('error', reject);
          answer.on('end', () => {
            try {
              const { message, result } = JSON.parse(received) as { message: unknown; result: unknown };
              resolve({ status: answer.statusCode ?? 0, message, result });
            } catch (error) {
              reject(new Error(`not an answer of the API: ${received.slice(0, 200)}`, { cause: error }));
            }
          });
        });
        outgoing.on('error', reject);
        outgoing.end(text ?? undefined);
      }),
  };
}
