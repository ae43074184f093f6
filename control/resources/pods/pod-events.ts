import { statusName } from '../../../core/pod.ts';
import type { ObservedKind } from '../../objects/events/observed-kind.ts';
import { entityTag } from '../../http/if-match.ts';
import type { PodService } from './pod-service.ts';

/** Changes of pods, as events: enough to show a list; the rest is read when it is wanted. */
export function podEvents(pods: Pick<PodService, 'list'>): ObservedKind<'pod'> {
  return {
    kind: 'pod',
    noun: 'pod',
    idOf: ({ podId }) => podId,
    summaryOf: (record, { statusNames }) => ({
      status: statusName(record.status, statusNames),
      status_requested: record.wish,
      etag: entityTag(record.generation),
      update_ts: new Date(record.updatedAtMs).toISOString(),
    }),
    async *visibleIds(caller) {
      for await (const page of pods.list(caller)) for (const { podId } of page) yield podId;
    },
  };
}
