import type { PodgateError } from '../../core/errors.ts';
import type { Reply } from './operation.ts';

/** What every answer of the API is wrapped in. `message` is a list of sentences for validation errors alone. */
export interface Envelope {
  readonly message: string | readonly string[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly result: unknown;
  readonly status: 'success' | 'error';
  readonly version: string;
}

export function replyEnvelope(reply: Reply, version: string): Envelope {
  return {
    message: reply.message,
    metadata: reply.metadata ?? {},
    result: reply.result,
    status: reply.outcome ?? 'success',
    version,
  };
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
