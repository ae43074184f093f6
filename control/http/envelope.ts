import type { PodgateError } from '../../core/errors.ts';
import type { JsonPiecesReply, JsonReply } from './operation.ts';

/** What every answer of the API is wrapped in. `message` is a list of sentences for validation errors alone. */
export interface Envelope {
  readonly message: string | readonly string[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly result: unknown;
  readonly status: 'success' | 'error';
  readonly version: string;
}

export function replyEnvelope(reply: Omit<JsonReply, 'kind'>, version: string): Envelope {
  return {
    message: reply.message,
    metadata: reply.metadata ?? {},
    result: reply.result,
    status: reply.outcome ?? 'success',
    version,
  };
}

/** The same, as pieces of JSON text around those of the result. */
export async function* envelopePieces(
  { message, metadata = {}, outcome = 'success', pieces }: JsonPiecesReply,
  version: string,
): AsyncGenerator<string> {
  yield `{"message":${JSON.stringify(message)},"metadata":${JSON.stringify(metadata)},"result":`;
  yield* pieces;
  yield `,"status":${JSON.stringify(outcome)},"version":${JSON.stringify(version)}}`;
}

export function errorEnvelope(error: PodgateError, version: string): Envelope {
  return {
    message: error.code === 'api.invalid' ? error.publicMessages : error.publicMessages.join(' '),
    metadata: {},
    result: null,
    status: 'error',
    version,
  };
}
