import { z } from 'zod';

import type { StatusNames } from '../../../core/pod.ts';
import type { AuthenticatedCall, Operation, QueryParameter } from '../../http/operation.ts';
import type { EventStreams } from './event-streams.ts';

export const ObjectEvent = z.looseObject({
  change: z.enum(['changed', 'gone']).describe('gone: it is being deleted, or you have no permission on it any more.'),
});

export interface EventsOperationParts {
  readonly streams: EventStreams;
  readonly statusNames: QueryParameter;
  /** Throws 'api.invalid'. */
  readonly statusNamesOf: (query: URLSearchParams) => StatusNames;
}

/** The changes that the caller may see, as they happen: docs/events.md. */
export function eventsOperation({ streams, statusNames, statusNamesOf }: EventsOperationParts): Operation {
  return {
    operationId: 'get_events',
    methods: ['get'],
    path: '/pods/events',
    tag: 'Events',
    summary:
      'Server-sent events: changes of what you have READ or more on; with X-Pods-Admin, of all in the tenant. Goes on ' +
      'behind the event that Last-Event-ID names. See docs/events.md.',
    query: [statusNames],
    headers: ['Last-Event-ID', 'X-Pods-Admin'],
    result: ObjectEvent,
    replies: 'events',
    access: 'token',
    limits: { responseBytes: 0 },
    handle: async ({ caller, isAdminView, query, lastEventId, signal }: AuthenticatedCall) => ({
      kind: 'events',
      events: streams.open({ caller, isAdminView, statusNames: statusNamesOf(query), lastEventId, signal }),
    }),
  };
}
