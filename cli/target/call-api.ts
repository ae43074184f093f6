import { readFileSync } from 'node:fs';
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import { errorCode, kindOfError } from '../../core/error-code.ts';
import { CliError, EXIT_FAILED, EXIT_NOT_RUNNING } from '../cli-error.ts';
import { addressOf, type Target } from './target.ts';

/** Longer than `?wait=routable` takes. */
const DEADLINE_MS = 90_000;
const RESPONSE_MAX_BYTES = 256 * 1024 * 1024;

export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the origin, with `/v3`. */
  readonly path: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** Default: 90 s. */
  readonly deadlineMs?: number;
}

/** The envelope of a response, whatever its status. */
export interface ApiReply {
  readonly status: number;
  readonly message: string;
  readonly result: unknown;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** What the envelope says, which may be an error in a response that began as a success. */
  readonly outcome: 'success' | 'error';
}

/** Throws CliError when there is no response, or one that is not of this API. */
export async function callApi(target: Target, call: ApiCall): Promise<ApiReply> {
  const { status, text } = await send(target, call);
  return parseReply(target, status, text);
}

/** Throws CliError for what is no envelope. */
export function parseReply(target: Target, status: number, text: string): ApiReply {
  let body: { message?: unknown; result?: unknown; metadata?: unknown; status?: unknown };
  try {
    body = JSON.parse(text) as typeof body;
  } catch {
    throw new CliError(EXIT_FAILED, `what answers at ${target.origin} is not Podgate: status ${status}, and no JSON`);
  }
  const { metadata } = body;
  return {
    status,
    message: Array.isArray(body.message) ? body.message.join(' ') : String(body.message),
    result: body.result ?? null,
    metadata: typeof metadata === 'object' && metadata !== null ? { ...metadata } : {},
    outcome: body.status === 'error' ? 'error' : 'success',
  };
}

/** `result` of a call that succeeds (2xx). Throws CliError with the API's message otherwise. */
export async function callForResult(target: Target, call: ApiCall): Promise<unknown> {
  const reply = await callApi(target, call);
  if (reply.status >= 200 && reply.status < 300) return reply.result;
  throw refusalOf(target, reply);
}

export function refusalOf(target: Target, { status, message }: Pick<ApiReply, 'status' | 'message'>): CliError {
  if (status !== 401) return new CliError(EXIT_FAILED, message);
  const remedy = target.profile === 'local' ? '' : ` Log in again: podgate login ${target.origin}`;
  return new CliError(EXIT_FAILED, `${target.origin} refuses the token: ${message}${remedy}`);
}

/** How the API is dialed, with the headers that every request has. */
export function wayTo(target: Target) {
  const { origin, token, caPath } = target;
  const { protocol, hostname, port, host } = new URL(origin);
  const isTls = protocol === 'https:';
  return {
    isTls,
    host: addressOf(target, hostname) ?? hostname,
    port: port === '' ? (isTls ? 443 : 80) : Number(port),
    headers: { host, 'x-tapis-token': token },
    ...(isTls ? { servername: hostname } : {}),
    ...(isTls && caPath !== null ? { ca: readFileSync(caPath, 'utf8') } : {}),
  };
}

/** A request that is still to be sent: its `response` and `error` are the caller's, as is its end. */
export async function openRequest(
  target: Target,
  call: Pick<ApiCall, 'method' | 'path'> & {
    readonly headers: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal;
  },
): Promise<ClientRequest> {
  const { isTls, headers, ...way } = wayTo(target);
  const { request } = isTls ? await import('node:https') : await import('node:http');
  const options: RequestOptions = {
    ...way,
    method: call.method,
    path: call.path,
    agent: false,
    ...(call.signal === undefined ? {} : { signal: call.signal }),
    headers: { ...headers, ...call.headers },
  };
  return request(options);
}

async function send(target: Target, call: ApiCall): Promise<{ status: number; text: string }> {
  const text = call.body === undefined ? null : JSON.stringify(call.body);
  const deadline = AbortSignal.timeout(call.deadlineMs ?? DEADLINE_MS);
  const outgoing = await openRequest(target, {
    method: call.method,
    path: call.path,
    signal: call.signal === undefined ? deadline : AbortSignal.any([call.signal, deadline]),
    headers:
      text === null ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) },
  });
  return await new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(noResponse(target, error, call.signal?.aborted === true));
    outgoing.on('response', (response: IncomingMessage) => {
      let received = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        received += chunk;
        if (received.length > RESPONSE_MAX_BYTES) outgoing.destroy(new Error('the response is too large'));
      });
      response.on('error', fail);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: received }));
    });
    outgoing.on('error', fail);
    outgoing.end(text ?? undefined);
  });
}

/** What certificates are refused with when nobody here knows their issuer. */
const UNKNOWN_ISSUER: ReadonlySet<string> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_GET_ISSUER_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
]);

/** Why there is no response. */
export function noResponse({ profile, origin }: Target, error: Error, isAborted: boolean): CliError {
  if (isAborted) return new CliError(EXIT_FAILED, 'interrupted');
  const code = errorCode(error) ?? '';
  if (UNKNOWN_ISSUER.has(code)) {
    return new CliError(
      EXIT_FAILED,
      `the certificate of ${origin} is signed by a CA this machine does not trust; get its CA certificate (ca.pem of its data directory) from its operator and run: podgate login ${origin} --ca FILE`,
    );
  }
  const remedy = profile === 'local' ? '; start it with npm start' : '';
  const reason =
    kindOfError(error) === 'refused'
      ? ''
      : ` (${error.name === 'TimeoutError' ? 'no response in time' : error.message})`;
  return new CliError(EXIT_NOT_RUNNING, `Podgate does not answer at ${origin}${reason}${remedy}`);
}
