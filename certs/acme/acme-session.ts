import acme from 'acme-client';
import type { Clock } from '../../core/clock.ts';
import { errorCode } from '../../core/error-code.ts';
import { errorText } from '../../core/errors.ts';
import { type AcmeAnswer, AcmeError, errorOfAnswer } from './acme-error.ts';
import { type AcmeCall, type HttpAnswer, sendRequest, withinCall } from './acme-transport.ts';

const STEP_DEADLINE_MS = 30_000;

export interface AcmeServer {
  /** URL of its directory. */
  readonly directoryUrl: string;
  /** PEM of the CA that signed its own certificate; null = the system's. */
  readonly ca: string | null;
  /** For servers that know their customers by other means (RFC 8555 7.3.4). The key is a secret. */
  readonly externalAccount: { readonly keyId: string; readonly hmacKey: string } | null;
  /** Of one request with its retries of nonces; default 30 s. */
  readonly stepDeadlineMs?: number;
}

/** One account at one server. Every step has a deadline, and fails with an AcmeError or with the signal's reason. */
export interface AcmeSession {
  step<T>(name: string, work: (client: acme.Client) => Promise<T>, signal: AbortSignal): Promise<T>;
  /** An unsigned GET; null for a resource that the server's directory does not have. */
  fetchResource(name: string, resource: string, path: string, signal: AbortSignal): Promise<HttpAnswer | null>;
}

export function createAcmeSession(options: {
  readonly server: AcmeServer;
  /** PKCS #8 in PEM. */
  readonly accountKey: string;
  readonly accountUrl: string | null;
  readonly clock: Clock;
}): AcmeSession {
  const { server, clock } = options;
  const client = new acme.Client({
    directoryUrl: server.directoryUrl,
    accountKey: options.accountKey,
    ...(options.accountUrl === null ? {} : { accountUrl: options.accountUrl }),
    ...(server.externalAccount === null
      ? {}
      : {
          externalAccountBinding: { kid: server.externalAccount.keyId, hmacKey: server.externalAccount.hmacKey },
        }),
  });

  async function run<T>(name: string, work: (call: AcmeCall) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const deadlineMs = server.stepDeadlineMs ?? STEP_DEADLINE_MS;
    const deadline = AbortSignal.timeout(deadlineMs);
    let last: AcmeAnswer | null = null;
    const call: AcmeCall = {
      signal: AbortSignal.any([signal, deadline]),
      ca: server.ca,
      answered: (answer) => (last = answer),
    };
    try {
      return await work(call);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof AcmeError) throw error;
      if (deadline.aborted) {
        throw new AcmeError('server', `${name}: the ACME server did not answer within ${deadlineMs} ms`);
      }
      throw errorOfStep(name, last, error, clock.now());
    }
  }

  return {
    step: (name, work, signal) => run(name, (call) => withinCall(call, () => work(client)), signal),

    async fetchResource(name, resource, path, signal) {
      return await run(
        name,
        async (call) => {
          const directory = await sendRequest(call, { url: server.directoryUrl, method: 'GET', body: null });
          if (directory.status !== 200) throw errorOfAnswer(name, directory, clock.now());
          const url = (JSON.parse(directory.body) as Record<string, unknown>)[resource];
          if (typeof url !== 'string') return null;
          const answer = await sendRequest(call, { url: `${url}/${path}`, method: 'GET', body: null });
          if (answer.status >= 400) throw errorOfAnswer(name, answer, clock.now());
          return answer;
        },
        signal,
      );
    },
  };
}

function errorOfStep(name: string, last: AcmeAnswer | null, error: unknown, nowMs: number): AcmeError {
  if (last !== null && last.status >= 400) return errorOfAnswer(name, last, nowMs);
  // Not with the library's own text: of an answer that is none it quotes whatever there was.
  const reason = last === null ? (errorCode(error) ?? errorText(error)) : 'its response violates RFC 8555';
  return new AcmeError('server', `${name}: the ACME server cannot be used: ${reason}`, { cause: error });
}
