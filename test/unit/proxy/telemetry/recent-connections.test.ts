import { expect, test } from 'vitest';
import { forBus, lastConnections, parsePodConnections, RECENT_KEPT } from '../../../../core/pod-connections.ts';
import type { Route } from '../../../../core/route.ts';
import { RecentConnections } from '../../../../proxy/telemetry/recent-connections.ts';

function routeOf(uid: string): Route {
  return {
    ...{ host: `${uid}.pods.localhost`, tenant: 'dev', podId: 'mypod', uid, stanza: 'default', protocol: 'http' },
    ...{ status: 'RUNNING', backend: null, ipAllowList: [] },
  } as const;
}

function note(recent: RecentConnections, uid: string, number: number): void {
  const slot = recent.next(routeOf(uid));
  slot.beganMs = number;
  slot.requestId = `id-${number}`;
  slot.address = '192.0.2.1';
  slot.port = 50_000;
  slot.totalMs = 1.23456;
  slot.status = 200;
  slot.end = 'answered';
}

test('the last connections of a pod are kept, with wall-clock times, oldest first', () => {
  const recent = new RecentConnections();
  for (let number = 0; number < 70; number++) note(recent, 'a', number);
  const report = recent.report('a', 10_000, 100);
  expect(report).toHaveLength(RECENT_KEPT);
  expect(report.map(({ requestId }) => requestId)).toEqual(
    Array.from({ length: RECENT_KEPT }, (_, index) => `id-${index + 20}`),
  );
  expect(report.at(-1)).toEqual({
    ...{ atMs: 9_969, requestId: 'id-69', address: '192.0.2.1', port: 50_000, protocol: 'http', stanza: 'default' },
    ...{ status: 200, code: null, end: 'answered', tlsMs: null, routeMs: null, dialMs: null, firstByteMs: null },
    totalMs: 1.235,
  });
  const told = { sinceMs: 1, stanzas: {}, refusals: [], recent: report };
  expect(parsePodConnections(JSON.parse(JSON.stringify({ ...told, secret: 'x' })))).toEqual(told);
});

test('pods beyond the limit lose theirs, the oldest first', () => {
  const recent = new RecentConnections();
  for (let pod = 0; pod < 1_500; pod++) note(recent, `pod-${pod}`, pod);
  expect(recent.size).toBe(1_000);
  expect(recent.report('pod-0', 0, 0)).toEqual([]);
  expect(recent.report('pod-1499', 0, 0)).toHaveLength(1);
});

test('the report to other replicas fits into a message, newest first, and reports are merged in order', () => {
  const recent = new RecentConnections();
  for (let number = 0; number < RECENT_KEPT; number++) {
    note(recent, 'a', number);
    recent.next(routeOf('b')).requestId = 'x'.repeat(64);
  }
  const whole = { sinceMs: 1, stanzas: {}, refusals: [], recent: recent.report('a', 0, 0) };
  const sent = forBus(whole);
  expect(sent.recent.length).toBeGreaterThan(20);
  expect(sent.recent.length).toBeLessThan(RECENT_KEPT);
  expect(sent.recent.at(-1)).toEqual(whole.recent.at(-1));
  expect(JSON.stringify(sent.recent).length).toBeLessThan(10_100);
  // Beside much else, fewer of them.
  const refusals = Array.from({ length: 20 }, (_, number) => ({
    ...{ atMs: number, code: 'route.full', message: 'x'.repeat(300), address: '::1', protocol: 'http' },
    ...{ stanza: 'x'.repeat(64), requestId: 'x'.repeat(64), more: 'x'.repeat(500) },
  }));
  expect(JSON.stringify(forBus({ ...whole, refusals })).length).toBeLessThan(28_100);
  const [first] = whole.recent;
  if (first === undefined) throw new Error('none');
  expect(lastConnections([sent, { recent: [{ ...first, atMs: 1e9 }] }]).at(-1)?.atMs).toBe(1e9);
});
