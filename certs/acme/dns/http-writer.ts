import { request as requestPlain } from 'node:http';
import { request as requestTls } from 'node:https';
import { pause } from '../../../core/abort.ts';
import { backoffMs } from '../../../core/backoff.ts';
import { errorCode } from '../../../core/error-code.ts';
import { AcmeError } from '../acme-error.ts';
import type { TextWriter } from './dns-settings.ts';

const TRIES = 4;
const RETRY_BACKOFF = { firstMs: 500, maxMs: 2_000 };

/**
 * Writes texts by a service of the operator's: POST of `{"action": "add"|"remove", "name", "text"}` in JSON with the token
 * as Bearer; any 2xx is success. 429, 5xx and no answer at all are tried again.
 */
export function createHttpWriter(options: {
  readonly url: string;
  readonly token: string;
  readonly ca: string | null;
  readonly timeoutMs: number;
}): TextWriter {
  const { url, timeoutMs } = options;
  const call = async (action: 'add' | 'remove', name: string, text: string, signal: AbortSignal): Promise<void> => {
    const body = JSON.stringify({ action, name, text });
    let problem = '';
    for (let tried = 0; tried < TRIES; tried++) {
      if (tried > 0) await pause(backoffMs(tried, RETRY_BACKOFF), signal);
      signal.throwIfAborted();
      const answer = await post(options, body, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
      signal.throwIfAborted();
      if (typeof answer === 'number' && answer >= 200 && answer < 300) return;
      problem = typeof answer === 'number' ? `HTTP ${answer}` : answer;
      if (typeof answer === 'number' && answer < 500 && answer !== 429) break;
    }
    // Without what may be a secret: of some services the path is.
    const { origin } = new URL(url);
    throw new AcmeError('refused', `the service at ${origin} failed to ${action} the record of ${name}: ${problem}`);
  };
  return {
    add: (name, text, signal) => call('add', name, text, signal),
    remove: (name, text, signal) => call('remove', name, text, signal),
  };
}

/** The status, or why there was no response. */
function post(
  { url, token, ca }: { readonly url: string; readonly token: string; readonly ca: string | null },
  body: string,
  signal: AbortSignal,
): Promise<number | string> {
  return new Promise((resolve) => {
    const request = url.startsWith('https:') ? requestTls : requestPlain;
    const outgoing = request(url, {
      method: 'POST',
      signal,
      agent: false,
      ...(ca === null ? {} : { ca }),
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      },
    });
    outgoing.on('response', (answer) => {
      answer.resume();
      answer.on('error', () => undefined);
      resolve(answer.statusCode ?? 0);
      answer.once('data', () => answer.destroy());
    });
    outgoing.on('error', (error) => {
      resolve(error.name === 'AbortError' ? 'timed out' : (errorCode(error) ?? error.message));
    });
    outgoing.end(body);
  });
}
