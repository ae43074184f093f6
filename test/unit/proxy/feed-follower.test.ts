import { describe, expect, it } from 'vitest';
import type { ControlMessage } from '../../../core/feed-protocol.ts';
import { packRoutes } from '../../../core/packed-routes.ts';
import type { Route } from '../../../core/route.ts';
import { FeedFollower, type Followed } from '../../../proxy/routes/feed-follower.ts';
import { RouteTable } from '../../../proxy/routes/route-table.ts';

function route(host: string): Route {
  return {
    host,
    tenant: 'dev',
    podId: host,
    uid: host,
    stanza: 'default',
    protocol: 'http',
    status: 'RUNNING',
    backend: null,
    ipAllowList: [],
  };
}

const HELLO: ControlMessage = { kind: 'hello', epoch: 'e', baseHosts: ['localhost'] };
const BEGIN: ControlMessage = { kind: 'snapshot-begin' };
const END: ControlMessage = { kind: 'snapshot-end', sequence: 4 };

function follow(table = new RouteTable()) {
  const baseHosts: string[] = [];
  const cancels: string[] = [];
  const told: number[] = [];
  const follower = new FeedFollower({
    setBaseHosts: (hosts) => baseHosts.push(...hosts),
    replaceCertificates: () => undefined,
    changeCertificates: () => undefined,
    setChallenges: () => undefined,
    setTicketKeys: () => undefined,
    setPodNetworks: () => undefined,
    setReplicas: (replicas) => told.push(replicas),
    reportPod: () => null,
    reportTraffic: () => [],
    replaceRoutes: (routes) => table.replace(routes),
    changeRoutes: (set, removed) => table.apply(set, removed),
    cancel: (id, key, address) => cancels.push(`${id} ${key.toString('hex')} ${address}`),
    loginAnswered: () => undefined,
    cancelAnswered: (id, answer) => cancels.push(`${id} ${JSON.stringify(answer)}`),
  });
  const receive = (...messages: ControlMessage[]): Followed | undefined => {
    let last: Followed | undefined;
    for (const message of messages) last = follower.receive(message);
    return last;
  };
  return { table, follower, baseHosts, cancels, told, receive };
}

describe('FeedFollower', () => {
  it('reports the number of replicas, which an earlier release does not send', () => {
    const { told, receive } = follow();
    receive(HELLO, { kind: 'alive', isWatchFresh: true }, { kind: 'alive', isWatchFresh: true, replicas: 3 });
    expect(told).toEqual([3]);
  });

  it('stores equal bundles of authorities once, and drops those that no route uses', () => {
    const { table, receive } = follow();
    const bundle = (letter: string): string => letter.repeat(16_000);
    const asking = (host: string, letter: string): Route => ({ ...route(host), clientCa: bundle(letter) });
    // As texts on the wire, so that no two of them are the same object.
    const sent = (message: ControlMessage): ControlMessage => JSON.parse(JSON.stringify(message)) as ControlMessage;
    const many = Array.from({ length: 100 }, (_, index) => asking(`a${index}`, index % 2 === 0 ? 'x' : 'y'));
    const packed = packRoutes([...many, route('plain')]);
    expect(JSON.stringify(packed).length).toBeLessThan(2 * 16_000 + 101 * 200);
    receive(
      HELLO,
      BEGIN,
      sent({ kind: 'routes', ...packed }),
      sent({ kind: 'routes', ...packRoutes([asking('b', 'x')]) }),
    );
    receive(END);
    expect([table.get('a1')?.clientCa, table.get('b')?.clientCa]).toEqual([bundle('y'), bundle('x')]);
    expect(table.get('plain')?.clientCa).toBeUndefined();
    expect(table.authorities).toBe(2);
    const change = (sequence: number, set: readonly Route[], removed: readonly string[]): void => {
      const { routes, ...shared } = packRoutes(set);
      expect(receive(sent({ kind: 'change', sequence, set: routes, removed, ...shared }))?.kind).toBe('followed');
    };
    const odd = many.filter((_, index) => index % 2 === 1).map(({ host }) => host);
    change(5, [asking('b', 'z')], odd.slice(1));
    expect(table.authorities).toBe(3);
    change(6, [route(odd[0] ?? '')], []);
    expect(table.authorities).toBe(2);
    table.replace([]);
    expect(table.authorities).toBe(0);
  });

  it('stops following when a route arrives without its authorities, so that no client is admitted unchecked', () => {
    const { receive, table } = follow();
    const broken: ControlMessage = { kind: 'routes', routes: [{ ...route('a'), clientCa: '1' }], authorities: ['x'] };
    expect(receive(HELLO, BEGIN, broken)).toEqual({ kind: 'lost', reason: 'a route without its authorities' });
    expect(table.size).toBe(0);
  });

  it('applies a snapshot as a whole at its end, and reports it', () => {
    const { table, receive, follower, baseHosts } = follow();
    table.replace([route('old')]);
    receive(HELLO, BEGIN, { kind: 'routes', routes: [route('a')] }, { kind: 'routes', routes: [route('b')] });
    expect(table.get('old')).toBeDefined();
    expect(table.get('a')).toBeUndefined();
    expect(follower.hasSnapshot).toBe(false);
    expect(receive(END)).toEqual({ kind: 'followed', report: { kind: 'applied', epoch: 'e', sequence: 4 } });
    expect([table.get('old'), table.get('a')?.host, table.get('b')?.host]).toEqual([undefined, 'a', 'b']);
    expect(follower.hasSnapshot).toBe(true);
    expect(baseHosts).toEqual(['localhost']);
  });

  it('applies changes in sequence and reports each', () => {
    const { table, receive } = follow();
    receive(HELLO, BEGIN, { kind: 'routes', routes: [route('a')] }, END);
    expect(receive({ kind: 'change', sequence: 5, set: [route('b')], removed: ['a'] })).toMatchObject({
      report: { sequence: 5 },
    });
    expect([table.size, table.get('b')?.host]).toEqual([1, 'b']);
  });

  it('accepts cancels at any time after hello, and ignores malformed messages', () => {
    const { cancels, receive } = follow();
    const cancel: ControlMessage = { kind: 'cancel', id: 7, key: 'AAAAAQAAAAI=', address: '192.0.2.1' };
    const malformed = [
      {},
      { key: 1 },
      { address: null },
      { address: 'nowhere' },
      { key: 'A'.repeat(349) },
      { key: null, address: ['192.0.2.1'] },
    ].map((change) => (Object.keys(change).length === 0 ? { kind: 'cancel' } : { ...cancel, ...change }));
    expect(receive(HELLO, cancel, BEGIN, cancel, ...(malformed as ControlMessage[]), END, cancel)).toEqual({
      kind: 'followed',
      report: null,
    });
    expect(cancels).toEqual(Array(3).fill('7 0000000100000002 192.0.2.1'));
  });

  it('reports the result of a cancel', () => {
    const { cancels, receive } = follow();
    receive(HELLO, { kind: 'cancel-answered', id: 7, isFound: false, passedThrough: ['mypg.pods.localhost'] });
    expect(cancels).toEqual(['7 {"isFound":false,"passedThrough":["mypg.pods.localhost"]}']);
  });

  it.each<readonly [string, ControlMessage[]]>([
    ['a change before hello', [{ kind: 'change', sequence: 1, set: [], removed: [] }]],
    ['a second hello', [HELLO, HELLO]],
    ['a cancel before hello', [{ kind: 'cancel', id: 7, key: 'AAAAAQAAAAI=', address: '192.0.2.1' }]],
    ['a change before the snapshot', [HELLO, { kind: 'change', sequence: 1, set: [], removed: [] }]],
    ['a change within the snapshot', [HELLO, BEGIN, { kind: 'change', sequence: 5, set: [], removed: [] }]],
    ['routes outside a snapshot', [HELLO, { kind: 'routes', routes: [] }]],
    ['the end of no snapshot', [HELLO, END]],
    ['a change left out', [HELLO, BEGIN, END, { kind: 'change', sequence: 6, set: [], removed: [] }]],
    ['a change said twice', [HELLO, BEGIN, END, { kind: 'change', sequence: 4, set: [], removed: [] }]],
  ])('is lost at %s and leaves the table as it is', (_what, messages) => {
    const table = new RouteTable();
    const { receive } = follow(table);
    expect(receive(...messages)).toMatchObject({ kind: 'lost' });
  });
});
