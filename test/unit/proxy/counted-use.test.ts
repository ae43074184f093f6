import { expect, test } from 'vitest';
import type { PodConnections } from '../../../core/pod-connections.ts';
import { CountedUse } from '../../../proxy/use/report-use.ts';

let nowMs = 0;
const counted = () => new CountedUse({ now: () => (nowMs += 1_000) });
const use = { lastUsedMs: null, because: {}, isHeld: false };

function seen(change: Partial<PodConnections['stanzas'][string]>): PodConnections {
  const none = { sessionsNow: 0, requestsNow: 0, sessions: 0, requests: 0, refusals: 0, bytesIn: 0, bytesOut: 0 };
  return { sinceMs: 0, stanzas: { default: { ...none, ...change } }, refusals: [], recent: [] };
}

test('requests in flight and open sessions are use; what came and went since the last report is the last use', () => {
  const counting = counted();
  const report = (change: Parameters<typeof seen>[0]) => counting.report('uid', seen(change), use)?.use;
  expect(report({})).toEqual(use);
  const inFlight = report({ requests: 1, requestsNow: 1 });
  expect(inFlight).toMatchObject({ because: { requests: 1 }, lastUsedMs: nowMs });
  const ended = report({ requests: 1 });
  expect(ended, 'nothing since').toEqual({ ...use, lastUsedMs: inFlight?.lastUsedMs });
  expect(report({ requests: 3 })).toMatchObject({ because: {}, lastUsedMs: nowMs });
  expect(report({ requests: 3, sessions: 1, sessionsNow: 1 })).toMatchObject({ because: { traffic: 1 } });
});

test('a pod that may sleep is reported without any connection, one that never sleeps as before', () => {
  expect(counted().report('uid', null, use)).toMatchObject({ stanzas: {}, use });
  expect(counted().report('uid', null, undefined)).toBeNull();
  const connections = seen({ requests: 1 });
  expect(counted().report('uid', connections, undefined)).toBe(connections);
});

test('a waiting client is not lost beside what is counted', () => {
  const waiting = { lastUsedMs: 5, because: { waiting: 2 }, isHeld: true };
  const told = counted().report('uid', seen({ requestsNow: 1 }), waiting)?.use;
  expect(told).toMatchObject({ because: { waiting: 2, requests: 1 }, isHeld: true });
});
