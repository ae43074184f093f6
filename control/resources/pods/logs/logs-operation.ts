import { z } from 'zod';

import { PodgateError } from '../../../../core/errors.ts';
import { flagOf } from '../../../http/flag.ts';
import { jsonList, jsonText } from '../../../http/json-pieces.ts';
import type { AuthenticatedCall, Operation, QueryParameter } from '../../../http/operation.ts';
import { podIdOf } from '../pod-query.ts';
import type { PodService } from '../pod-service.ts';

const TAIL_DEFAULT_BYTES = 1024 * 1024;
const TAIL_MAX_BYTES = 10 * 1024 * 1024;

const TAIL_BYTES: QueryParameter = {
  name: 'tail_bytes',
  description: `How much of the end of the logs, in bytes: at most ${TAIL_MAX_BYTES}, ${TAIL_DEFAULT_BYTES} unless told.`,
  schema: z.int().min(1).max(TAIL_MAX_BYTES),
};

const PREVIOUS: QueryParameter = {
  name: 'previous',
  description:
    'true: the output from before the last restart of the program, or of the previous run; false unless told.',
  schema: z.boolean(),
};

const FOLLOW: QueryParameter = {
  name: 'follow',
  description: 'true: events with the end of the logs (tail_bytes), and then with what is printed from now on.',
  schema: z.boolean(),
};

export function logsOperation(pods: Pick<PodService, 'logs' | 'followLogs'>): Operation {
  return {
    operationId: 'get_pod_logs',
    methods: ['get'],
    path: '/pods/{pod_id}/logs',
    tag: 'Logs',
    summary:
      'What the pod printed in its newest run, and all that was done to it. READ. With follow=true server-sent events, ' +
      'which go on with what it prints: docs/commands-and-files.md.',
    query: [TAIL_BYTES, PREVIOUS, FOLLOW],
    headers: ['Last-Event-ID'],
    result: z.object({ logs: z.string(), action_logs: z.array(z.string()) }),
    mayReplyEvents: z.object({ text: z.string() }).describe('Of the events output.'),
    access: 'token',
    handle: async (call) => {
      const request = { podId: podIdOf(call), tailBytes: tailBytesOf(call), signal: call.signal };
      if (flagOf(call, 'follow')) {
        if (isPreviousAsked(call))
          throw new PodgateError('api.invalid', { publicMessages: ['previous: cannot be combined with follow'] });
        const { caller, lastEventId } = call;
        return { kind: 'events', events: pods.followLogs(caller, { ...request, lastEventId }) };
      }
      const { output, actions, note } = await pods.logs(call.caller, {
        ...request,
        isPrevious: isPreviousAsked(call),
        reserve: (bytes) => call.reserve(bytes),
      });
      call.reserve(output.length + actions.reduce((sum, line) => sum + line.length, 0));
      return {
        kind: 'json-pieces',
        message: 'Pod logs retrieved successfully.',
        pieces: logsPieces(output, actions),
        ...(note === null ? {} : { metadata: { note } }),
      };
    },
  };
}

async function* logsPieces(output: Uint8Array, actions: readonly string[]): AsyncGenerator<string> {
  yield '{"logs":';
  yield* jsonText(output);
  yield ',"action_logs":';
  yield* jsonList(actions);
  yield '}';
}

function isPreviousAsked({ query }: AuthenticatedCall): boolean {
  const value = query.get('previous') ?? 'false';
  if (value === 'true' || value === 'false') return value === 'true';
  throw new PodgateError('api.invalid', { publicMessages: ['previous: must be true or false'] });
}

function tailBytesOf({ query }: AuthenticatedCall): number {
  const value = query.get('tail_bytes');
  if (value === null) return TAIL_DEFAULT_BYTES;
  const bytes = /^\d{1,9}$/.test(value) ? Number(value) : 0;
  if (bytes >= 1 && bytes <= TAIL_MAX_BYTES) return bytes;
  throw new PodgateError('api.invalid', {
    publicMessages: [`tail_bytes: must be a whole number from 1 to ${TAIL_MAX_BYTES}`],
  });
}
