import { AsyncLocalStorage } from 'node:async_hooks';
import { request } from 'node:https';
import acme from 'acme-client';
import type { AcmeAnswer } from './acme-error.ts';

const BODY_MAX_BYTES = 1024 * 1024;
const USER_AGENT = 'podgate (ACME)';

/** What one step's requests go by. */
export interface AcmeCall {
  readonly signal: AbortSignal;
  /** PEM of the CA that signed the server's own certificate; null = the system's. */
  readonly ca: string | null;
  /** Told of every answer. */
  readonly answered: (answer: AcmeAnswer) => void;
}

const calls = new AsyncLocalStorage<AcmeCall>();

/**
 * Runs a step of acme-client under this call. The library knows neither deadlines, nor signals, nor another CA, and
 * waits and tries again by itself: its requests are made by an adapter of ours instead, which it offers for that, and
 * which finds the call it belongs to by the asynchronous context.
 */
export function withinCall<T>(call: AcmeCall, work: () => Promise<T>): Promise<T> {
  acme.axios.defaults.adapter = sendForLibrary;
  return calls.run(call, work);
}

type LibraryAdapter = Extract<typeof acme.axios.defaults.adapter, (...parts: never[]) => unknown>;

const sendForLibrary: LibraryAdapter = async (config) => {
  const call = calls.getStore();
  if (call === undefined) throw new Error('an ACME request outside of any call');
  const answer = await sendRequest(call, {
    url: config.url ?? '',
    method: (config.method ?? 'get').toUpperCase(),
    body: typeof config.data === 'string' ? config.data : null,
  });
  // Resolves whatever the status: rejecting would start the library's own retries.
  return { data: answer.body, status: answer.status, statusText: '', headers: answer.headers, config, request: null };
};

export interface HttpAnswer extends AcmeAnswer {
  readonly headers: Record<string, string>;
}

/** One HTTPS request. Rejects when there is no whole answer in time. */
export function sendRequest(
  call: AcmeCall,
  { url, method, body }: { readonly url: string; readonly method: string; readonly body: string | null },
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    if (!url.startsWith('https://')) {
      reject(new Error('the ACME server returned a URL that is not https'));
      return;
    }
    const outgoing = request(url, {
      method,
      agent: false,
      signal: call.signal,
      ...(call.ca === null ? {} : { ca: call.ca }),
      headers: {
        'user-agent': USER_AGENT,
        accept: '*/*',
        ...(body === null
          ? {}
          : { 'content-type': 'application/jose+json', 'content-length': Buffer.byteLength(body) }),
      },
    });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const pieces: Buffer[] = [];
      let length = 0;
      incoming.on('data', (piece: Buffer) => {
        pieces.push(piece);
        length += piece.length;
        if (length > BODY_MAX_BYTES) incoming.destroy(new Error('the response of the ACME server is too large'));
      });
      incoming.on('error', reject);
      incoming.on('end', () => {
        const headers = Object.fromEntries(
          Object.entries(incoming.headers).map(([name, value]) => [
            name,
            Array.isArray(value) ? value.join(', ') : (value ?? ''),
          ]),
        );
        const answer = {
          status: incoming.statusCode ?? 0,
          headers,
          retryAfter: headers['retry-after'] ?? null,
          body: Buffer.concat(pieces).toString('utf8'),
        };
        call.answered(answer);
        resolve(answer);
      });
    });
    outgoing.end(body ?? undefined);
  });
}
