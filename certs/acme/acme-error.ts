/**
 * Whose fault it was that a step failed, and so who waits: `server` and `account` hold up every name, `limited` the name
 * and, for a moment, the account, `refused` the name alone.
 */
export type AcmeFault = 'server' | 'account' | 'limited' | 'refused';

/** A step with an ACME server that failed. The message is for operators and users: it quotes no key. */
export class AcmeError extends Error {
  override readonly name = 'AcmeError';
  readonly fault: AcmeFault;
  /** What the server said about when to come back; null = nothing. */
  readonly retryAfterMs: number | null;
  /** The last part of its problem type (RFC 8555 6.7), such as `rateLimited`; null = it named none. */
  readonly problem: string | null;

  constructor(
    fault: AcmeFault,
    message: string,
    options: { retryAfterMs?: number | null; problem?: string | null; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.fault = fault;
    this.retryAfterMs = options.retryAfterMs ?? null;
    this.problem = options.problem ?? null;
  }
}

export interface AcmeAnswer {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly body: string;
}

const PROBLEM = 'urn:ietf:params:acme:error:';
/** Problems of the account rather than of the order (RFC 8555 6.7). */
const OF_ACCOUNT: ReadonlySet<string> = new Set([
  'accountDoesNotExist',
  'externalAccountRequired',
  'userActionRequired',
  'badPublicKey',
  'badSignatureAlgorithm',
  'invalidContact',
  'unsupportedContact',
]);
const DETAIL_MAX = 500;

/** What a response with status 400 or above means. `step` comes first in the message, such as "ordering". */
export function errorOfAnswer(step: string, answer: AcmeAnswer, nowMs: number): AcmeError {
  const { problem, detail } = parseProblem(answer.body);
  const retryAfterMs = parseRetryAfter(answer.retryAfter, nowMs);
  const message = `${step}: ${detail ?? 'the ACME server gave no reason'} (${problem ?? `HTTP ${answer.status}`})`;
  return new AcmeError(faultOf(answer.status, problem), message, { retryAfterMs, problem });
}

function faultOf(status: number, problem: string | null): AcmeFault {
  if (status === 429 || problem === 'rateLimited') return 'limited';
  if (status >= 500 || problem === 'serverInternal' || problem === 'badNonce') return 'server';
  if (problem !== null && OF_ACCOUNT.has(problem)) return 'account';
  // Something that is no ACME server, or a proxy before it.
  return problem === null && status !== 404 ? 'server' : 'refused';
}

/** A problem document (RFC 7807) with its subproblems in one sentence. */
function parseProblem(text: string): { readonly problem: string | null; readonly detail: string | null } {
  try {
    return readProblem(JSON.parse(text) as unknown);
  } catch {
    return { problem: null, detail: null };
  }
}

export function readProblem(value: unknown): { readonly problem: string | null; readonly detail: string | null } {
  if (typeof value !== 'object' || value === null) return { problem: null, detail: null };
  const { type, detail, subproblems } = value as { type?: unknown; detail?: unknown; subproblems?: unknown };
  const details = [
    ...(typeof detail === 'string' ? [detail] : []),
    ...(Array.isArray(subproblems) ? subproblems.flatMap((one: unknown) => readProblem(one).detail ?? []) : []),
  ];
  const joined = details.join('; ').replaceAll(/[\s\p{Cc}]+/gu, ' ');
  return {
    problem: typeof type === 'string' && type.startsWith(PROBLEM) ? type.slice(PROBLEM.length) : null,
    detail: joined === '' ? null : joined.slice(0, DETAIL_MAX),
  };
}

/** Seconds or an HTTP date (RFC 9110 10.2.3). */
export function parseRetryAfter(text: string | null, nowMs: number): number | null {
  if (text === null) return null;
  if (/^\d{1,9}$/.test(text.trim())) return Number(text) * 1_000;
  const dateMs = Date.parse(text);
  return Number.isNaN(dateMs) ? null : Math.max(0, dateMs - nowMs);
}
