import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import type { StatusNames } from '../../../core/pod.ts';
import type { AuthenticatedCall, Operation, QueryParameter } from '../../http/operation.ts';
import { WAIT_MAX_MS } from './wait-routable.ts';

export const STATUS_NAMES: QueryParameter = {
  name: 'status_names',
  description: 'seed: RUNNING, CREATING_CONTAINER, ...; tapis: AVAILABLE, CREATING, ... Default: set by the operator.',
  schema: z.enum(['seed', 'tapis']),
};
export const WAIT: QueryParameter = {
  name: 'wait',
  description: `routable: answers when every gateway routes to the pod; after ${WAIT_MAX_MS / 1000} s, 202.`,
  schema: z.enum(['routable']),
};
export const NOT_ROUTABLE = { 202: 'Done, but the pod was not routable in time (wait=routable).' } as const;

export function podIdOf(call: AuthenticatedCall): string {
  return call.params['pod_id'] ?? '';
}

/** Throws 'api.invalid'. */
export function statusNamesOf(query: URLSearchParams, otherwise: StatusNames): StatusNames {
  const names = query.get('status_names') ?? otherwise;
  if (names === 'seed' || names === 'tapis') return names;
  throw new PodgateError('api.invalid', { publicMessages: ['status_names: must be seed or tapis'] });
}

/** Throws 'api.invalid'. */
export function wantsRoutable({ query }: AuthenticatedCall): boolean {
  const wait = query.get('wait');
  if (wait === null || wait === 'routable') return wait !== null;
  throw new PodgateError('api.invalid', { publicMessages: ['wait: must be routable'] });
}

/** Every operation that returns a pod takes status_names, and refuses other values before it does anything. */
export function withStatusNames(operation: Operation, otherwise: StatusNames): Operation {
  if (operation.access !== 'token') return operation;
  return {
    ...operation,
    query: [...(operation.query ?? []), STATUS_NAMES],
    handle: async (call: AuthenticatedCall) => {
      statusNamesOf(call.query, otherwise);
      return await operation.handle(call);
    },
  };
}
