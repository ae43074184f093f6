import { z } from 'zod';

import type { PodTraffic } from '../../../core/pod-traffic.ts';

const count = z.int();

/** Totals count from the start of the workers, and fall when one is replaced. */
export const TrafficAnswer = z.object({
  sessions_now: count,
  requests_now: count,
  sessions_total: count,
  requests_total: count,
  refusals_total: count,
  bytes_in: count.describe('From clients to the pod: what is inside TLS, of HTTP the bodies.'),
  bytes_out: count,
});

export function trafficAnswer(counts: PodTraffic): z.output<typeof TrafficAnswer> {
  return {
    sessions_now: counts.sessionsNow,
    requests_now: counts.requestsNow,
    sessions_total: counts.sessions,
    requests_total: counts.requests,
    refusals_total: counts.refusals,
    bytes_in: counts.bytesIn,
    bytes_out: counts.bytesOut,
  };
}
