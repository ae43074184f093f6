import { z } from 'zod';

import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Operation } from '../../http/operation.ts';

/** In the path of error_handler. */
export const ErrorStatus = z.string().regex(/^[45]\d\d$/);

const READINESS_DEADLINE_MS = 5_000;

/** Whether this process can do its work, and what it found. */
export interface Readiness {
  readonly ok: boolean;
  /** Public: contains no secret and no address. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** What needs no token: health, and what proxies of that API ask for. */
export function miscOperations(readiness: () => Promise<Readiness>, log: Logger): readonly Operation[] {
  return [
    {
      operationId: 'healthcheck',
      methods: ['get'],
      path: '/healthcheck',
      tag: 'Misc',
      summary: 'Says that the service is there.',
      result: z.null(),
      access: 'open',
      handle: async () => ({ kind: 'json', message: "I promise I'm healthy.", result: null }),
    },
    {
      operationId: 'healthz',
      methods: ['get'],
      path: '/healthz',
      tag: 'Misc',
      summary: 'This process lives.',
      result: z.null(),
      access: 'open',
      handle: async () => ({ kind: 'json', message: 'Alive.', result: null }),
    },
    {
      operationId: 'readyz',
      methods: ['get'],
      path: '/readyz',
      tag: 'Misc',
      summary: 'This process can do its work: 503 and what is missing, otherwise.',
      result: z.record(z.string(), z.unknown()),
      otherStatuses: { 503: 'It cannot.' },
      access: 'open',
      handle: async () => {
        const { ok, detail } = await withDeadline(readiness, log);
        return ok
          ? { kind: 'json', message: 'Ready.', result: detail }
          : { kind: 'json', status: 503, message: 'Not ready.', result: detail, outcome: 'error' };
      },
    },
    {
      operationId: 'error_handler',
      methods: ['get'],
      path: '/error-handler/{status}',
      tag: 'Misc',
      summary: 'An error envelope with that HTTP status, for proxies in front.',
      result: z.string(),
      otherStatuses: 'any',
      access: 'open',
      handle: async ({ params }) => {
        const status = Number(params['status']);
        if (!ErrorStatus.safeParse(params['status']).success) {
          throw new PodgateError('api.invalid', { publicMessages: ['status: must be from 400 to 599'] });
        }
        return {
          kind: 'json',
          status,
          message: 'Error processing the request.',
          result: `The service answered with status ${status}.`,
          outcome: 'error',
        };
      },
    },
  ];
}

async function withDeadline(readiness: () => Promise<Readiness>, log: Logger): Promise<Readiness> {
  const late = Promise.withResolvers<Readiness>();
  const timer = setTimeout(() => {
    late.resolve({ ok: false, detail: { readiness: 'timed out' } });
  }, READINESS_DEADLINE_MS);
  try {
    return await Promise.race([readiness(), late.promise]);
  } catch (error) {
    log.warn({ error: errorText(error) }, 'failed to determine readiness');
    return { ok: false, detail: { readiness: 'could not be determined' } };
  } finally {
    clearTimeout(timer);
  }
}
