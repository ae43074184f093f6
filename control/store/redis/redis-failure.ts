import { errorCode } from '../../../core/error-code.ts';
import { PodgateError, errorText } from '../../../core/errors.ts';

/** First words of error replies (https://redis.io/docs/latest/develop/reference/protocol-spec/) that say "not now". */
const UNAVAILABLE = new Set(
  (
    'OOM LOADING BUSY MISCONF READONLY MASTERDOWN NOREPLICAS CLUSTERDOWN TRYAGAIN MOVED ASK NOAUTH NOPERM WRONGPASS ' +
    'UNKILLABLE'
  ).split(' '),
);
/** Error replies that waiting does not cure: the operator has to change something. */
const REFUSED = new Set(['NOAUTH', 'NOPERM', 'WRONGPASS']);

/** The first word of an error reply, such as OOM; null for other errors. */
export function replyCode(error: unknown): string | null {
  return error instanceof Error ? (/^[A-Z][A-Z0-9_]+(?= )/.exec(error.message)?.[0] ?? null) : null;
}

export function isRefusal(error: unknown): boolean {
  const code = replyCode(error);
  return code !== null && REFUSED.has(code);
}

/** The reply to a script whose user may not do what the script does has no word of its own. */
export function isForbidden(error: unknown): boolean {
  return replyCode(error) === 'NOPERM' || errorText(error).includes("executing the script can't");
}

/** Text for the log. An error reply to an unknown command quotes its arguments, a password among them: cut off. */
export function safeText(error: unknown): string {
  const code = errorCode(error);
  // Of several addresses tried, Node's error has no message, only the code.
  return `${errorText(error).split(', with args')[0] ?? ''}${code === null ? '' : ` (${code})`}`.trim();
}

/**
 * What callers get for whatever the client or the server answered: 'store.unavailable' when Redis or the way to it is at
 * fault, 'api.internal' when we are (a script with a mistake). The cause is left out: it may hold what safeText cuts.
 */
export function storeFailure(what: string, error: unknown): PodgateError {
  if (error instanceof PodgateError) return error;
  const code = replyCode(error);
  const ours = code !== null && !UNAVAILABLE.has(code) && !isForbidden(error);
  return new PodgateError(ours ? 'api.internal' : 'store.unavailable', { detail: `${what}: ${safeText(error)}` });
}

export function unavailable(what: string, reason: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `${what}: ${reason}` });
}

export function refused(sentence: string): PodgateError {
  return new PodgateError('config.invalid', { publicMessages: [sentence] });
}

/** The server is at its `maxmemory` and has refused to run a script that may write more. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof PodgateError && error.code === 'store.unavailable' && error.message.includes(': OOM ');
}
