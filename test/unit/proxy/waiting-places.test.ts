import { describe, expect, it } from 'vitest';
import { Holds } from '../../../proxy/dial/holds.ts';
import { WaitingPlaces } from '../../../proxy/limits/waiting-places.ts';
import { RouteTable } from '../../../proxy/routes/route-table.ts';
import { createCounters } from '../../../proxy/telemetry/counters.ts';
import { PodUses } from '../../../proxy/use/pod-uses.ts';

const [ONE, TWO, THREE] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];

/** What the given clients get, one after another. */
function takeAll(places: WaitingPlaces, clients: readonly (readonly [uid: string, address: string])[]) {
  return clients.map(([uid, address]) => places.take(uid, address));
}

describe('places to wait for a pod in', () => {
  it('leave half of a pod to others, whatever one address asks for', () => {
    const places = new WaitingPlaces({ perPod: 4, inTotal: 100, addressShare: 0.5 });
    const held = [ONE, ONE, ONE, TWO, TWO, THREE].map((address) => ['pod', address] as const);
    expect(takeAll(places, held)).toEqual([null, null, 'held-address', null, null, 'held']);
    places.release('pod', ONE);
    expect(places.take('pod', TWO)).toBe('held-address');
    expect(places.take('pod', ONE)).toBe(null);
  });

  it('leave half of the worker to others, over however many pods one address spreads', () => {
    const places = new WaitingPlaces({ perPod: 100, inTotal: 4, addressShare: 0.5 });
    const held = [
      ['a', ONE],
      ['b', ONE],
      ['c', ONE],
      ['c', TWO],
      ['d', TWO],
      ['e', THREE],
    ] as const;
    expect(takeAll(places, held)).toEqual([null, null, 'held-address', null, null, 'held']);
    places.release('a', ONE);
    expect(places.take('e', THREE)).toBe(null);
  });

  it('count a /64 of IPv6 as one address, and an IPv4 address however it is written', () => {
    for (const group of [
      ['2001:db8::1', '2001:db8::2', '2001:db8::3'],
      ['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.1'],
    ]) {
      const places = new WaitingPlaces({ perPod: 4, inTotal: 100, addressShare: 0.5 });
      const held = group.map((address) => ['pod', address] as const);
      expect(takeAll(places, held)).toEqual([null, null, 'held-address']);
    }
  });

  it('are all for one address where it has the whole share', () => {
    const places = new WaitingPlaces({ perPod: 2, inTotal: 100, addressShare: 1 });
    const held = [ONE, ONE, TWO].map((address) => ['pod', address] as const);
    expect(takeAll(places, held)).toEqual([null, null, 'held']);
  });
});

it('sessions that wait have a share for each address, and the refused one leaves no trace', async () => {
  const table = new RouteTable();
  const counts = createCounters();
  const clock = { now: () => 0, monotonicMs: () => 0 };
  const uses = new PodUses(table, clock);
  const holds = new Holds({ table, uses, counts, clock, askWake: () => true });
  const route = {
    ...({ host: 'a.pods.localhost', tenant: 'dev', podId: 'a', uid: 'uid-1', stanza: 'default' } as const),
    ...({ protocol: 'postgres', status: 'ASLEEP', backend: null, ipAllowList: [] } as const),
    sleep: { holdMs: 60_000, probePaths: [] },
  };
  table.replace([route]);
  const leaving = new AbortController();
  const wait = (address: string) => holds.of(address).whenChanged(route, leaving.signal);
  // Of the 1,000 places of a pod, for all protocols together.
  const waiting = Array.from({ length: 500 }, () => wait(ONE));
  expect(await wait(ONE)).toBe('route.held-full');
  expect(counts).toMatchObject({ heldNow: 500, limited: { 'held-address': 1, held: 0 }, holds: { full: 1 } });
  waiting.push(wait(TWO));
  expect(counts.heldNow).toBe(501);
  waiting.push(...Array.from({ length: 499 }, () => wait(TWO)));
  expect(await wait(THREE)).toBe('route.full');
  expect(counts).toMatchObject({ heldNow: 1_000, limited: { 'held-address': 1, held: 1 } });
  table.apply([{ ...route, status: 'RUNNING', backend: { uid: 'uid-1', address: '::1', port: 1, service: null } }], []);
  expect(new Set(await Promise.all(waiting))).toEqual(new Set([null]));
  // Their places are free again.
  table.replace([route]);
  const again = wait(ONE);
  expect(counts.heldNow).toBe(1);
  leaving.abort();
  await expect(again).rejects.toThrow();
});
