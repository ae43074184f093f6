import type { IncomingMessage } from 'node:http';

import { PodgateError } from '../../core/errors.ts';
import type { OperationLimits } from './operation.ts';
import { parseStrictJson } from './strict-json.ts';

/** How much of a body that is too large is read and thrown away, so that its sender gets to read the answer. */
const DRAIN_MAX_BYTES = 8 * 1024 * 1024;
const DRAIN_TIMEOUT_MS = 2_000;

export type BodyLimits = Pick<OperationLimits, 'bodyBytes' | 'bodyTimeoutMs' | 'idleMs'>;

/** How many bytes the body may have, as far as the request says: at most `maxBytes`, since no more are kept. */
export function announcedBytes(request: IncomingMessage, maxBytes: number): number {
  return Math.min(maxBytes, Number(request.headers['content-length'] ?? maxBytes));
}

/**
 * The JSON body of a request, parsed in a turn of its own. Throws PodgateError 'api.unsupported-media-type', 'api.too-large', 'api.timeout',
 * 'request.malformed' (not JSON) or 'api.invalid' (JSON that says two things at once).
 */
export async function readJsonBody(
  request: IncomingMessage,
  limits: BodyLimits,
  turn: () => Promise<void>,
): Promise<unknown> {
  requireJson(request);
  const bytes = await readBody(request, limits);
  await turn();
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new PodgateError('request.malformed', { publicMessages: ['The body is not valid UTF-8.'], cause: error });
  }
  if (text.trim() === '') throw new PodgateError('request.malformed', { publicMessages: ['A JSON body is needed.'] });
  const parsed = parseStrictJson(text);
  switch (parsed.kind) {
    case 'value':
      return parsed.value;
    case 'malformed':
      throw new PodgateError('request.malformed', { publicMessages: ['The body is not valid JSON.'] });
    case 'refused':
      throw new PodgateError('api.invalid', { publicMessages: parsed.problems });
  }
}

function requireJson(request: IncomingMessage): void {
  const refuse = (sentence: string): never => {
    throw new PodgateError('api.unsupported-media-type', { publicMessages: [sentence] });
  };
  if ((request.headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity') {
    refuse('The body must not be compressed.');
  }
  const header = request.headers['content-type'];
  // Absent, JSON is assumed: there is nothing else it could be.
  if (header === undefined) return;
  const [type = '', ...parameters] = header.split(';').map((part) => part.trim().toLowerCase());
  if (type !== 'application/json' && !/^application\/[\w.-]+\+json$/.test(type)) {
    refuse('The body must be JSON, sent with the header Content-Type: application/json.');
  }
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice('charset='.length);
  // Many clients leave the hyphen out.
  if (charset !== undefined && !/^utf-?8$/.test(charset.replaceAll('"', ''))) refuse('The body must be in UTF-8.');
}

async function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  const { bodyBytes: maxBytes, bodyTimeoutMs: timeoutMs, idleMs } = limits;
  const declared = Number(request.headers['content-length'] ?? 0);
  const chunks: Buffer[] = [];
  let size = 0;
  if (declared <= maxBytes) {
    const outcome = await receive(request, { timeoutMs, idleMs }, (chunk) => {
      size += chunk.length;
      if (size > maxBytes) return false;
      chunks.push(chunk);
      return true;
    });
    if (outcome === 'timeout') throw new PodgateError('api.timeout');
    if (outcome === 'end') return Buffer.concat(chunks);
  }
  if (declared <= DRAIN_MAX_BYTES) await drain(request);
  throw new PodgateError('api.too-large', { publicMessages: [`The body is larger than ${maxBytes} bytes.`] });
}

/** Reads and throws away a little of a body, so that its sender gets to read the response. */
export async function drain(request: IncomingMessage): Promise<void> {
  let drained = 0;
  const within = { timeoutMs: DRAIN_TIMEOUT_MS, idleMs: DRAIN_TIMEOUT_MS };
  await receive(request, within, (chunk) => (drained += chunk.length) <= DRAIN_MAX_BYTES);
}

/** Reads until the end, the timeout, a pause that is too long, or until `take` returns that it has had enough. */
async function receive(
  request: IncomingMessage,
  { timeoutMs, idleMs }: { readonly timeoutMs: number; readonly idleMs: number },
  take: (chunk: Buffer) => boolean,
): Promise<'end' | 'timeout' | 'enough'> {
  return await new Promise((resolve, reject) => {
    const finish = (outcome: 'end' | 'timeout' | 'enough' | Error) => {
      clearTimeout(timer);
      clearTimeout(idle);
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onError);
      request.pause();
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    const onData = (chunk: Buffer) => {
      idle.refresh();
      if (!take(chunk)) finish('enough');
    };
    const onEnd = () => finish('end');
    const gone = (cause?: unknown) =>
      new PodgateError('request.malformed', { detail: 'the client left while it sent the body', cause });
    const onClose = () => finish(gone());
    const onError = (error: Error) => finish(gone(error));
    const timer = setTimeout(() => finish('timeout'), timeoutMs);
    const idle = setTimeout(() => finish('timeout'), idleMs);
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onError);
  });
}
