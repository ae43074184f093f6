import { describe, expect, it } from 'vitest';
import type { Route } from '../../../core/route.ts';
import { ConnectionCounts, type Limit } from '../../../proxy/limits/connection-counts.ts';
import { LeasedPlaces } from '../../../proxy/limits/leased-places.ts';
import { PlaceAllocator } from '../../../proxy/limits/place-allocator.ts';
import type { ToAllocator, ToWorker } from '../../../proxy/limits/place-messages.ts';
import { type FullCode, podPlacesOf, type PodPlaces } from '../../../proxy/limits/pod-places.ts';

const LIMITS = {
  maxConnectionsPerAddressAtPod: null,
  maxConnections: 1_000,
  maxConnectionsPerAddress: 1_000,
  maxConnectionsPerPod: 1_000,
};

const TEMPLATE: Route = {
  host: 'a.pods.localhost',
  tenant: 'dev',
  podId: 'a',
  uid: 'a',
  stanza: 'default',
  protocol: 'tcp',
  status: 'RUNNING',
  backend: null,
  ipAllowList: [],
};

function podOf(uid: string, createdBy?: string, tenant = 'dev', address = '192.0.2.1'): PodPlaces {
  return podPlacesOf({ ...TEMPLATE, uid, tenant, ...(createdBy === undefined ? {} : { createdBy }) }, address);
}

/** What is answered at once; undefined = nothing is. */
function acquire(counts: ConnectionCounts, places: PodPlaces): FullCode | null | undefined {
  const answers: (FullCode | null)[] = [];
  counts.acquirePod(places, (refusal) => answers.push(refusal));
  return answers[0];
}

describe('quotas of connections', () => {
  it('count all pods of an owner in a tenant together, and no other pods', () => {
    const limited: Limit[] = [];
    const limits = { ...LIMITS, maxConnectionsPerOwner: 2, maxConnectionsPerTenant: null };
    const counts = new ConnectionCounts(limits, (limit) => limited.push(limit));
    const [one, two] = [podOf('one', 'alice'), podOf('two', 'alice')];
    expect([acquire(counts, one), acquire(counts, two)]).toEqual([null, null]);
    expect([acquire(counts, one), acquire(counts, two)]).toEqual(['route.owner-full', 'route.owner-full']);
    expect(limited).toEqual(['owner', 'owner']);
    expect(acquire(counts, podOf('three', 'bob'))).toBe(null);
    expect(acquire(counts, podOf('four', 'alice', 'other'))).toBe(null);
    counts.releasePod(two);
    expect(acquire(counts, one)).toBe(null);
  });

  it('leave room at a pod that one address would fill, and count each address and pod separately', () => {
    const limited: Limit[] = [];
    const limits = { ...LIMITS, maxConnectionsPerPod: 4, maxConnectionsPerOwner: null, maxConnectionsPerTenant: null };
    const counts = new ConnectionCounts({ ...limits, maxConnectionsPerAddressAtPod: 2 }, (limit) =>
      limited.push(limit),
    );
    const of = (address: string, pod = 'one'): PodPlaces => podOf(pod, 'alice', 'dev', address);
    expect([1, 2, 3].map(() => acquire(counts, of('192.0.2.1')))).toEqual([null, null, 'route.full']);
    expect(limited).toEqual(['pod-address']);
    expect(acquire(counts, of('192.0.2.1', 'two'))).toBe(null);
    expect([1, 2].map(() => acquire(counts, of('192.0.2.2')))).toEqual([null, null]);
    // Now the pod itself is full; what the refusal had taken before is given back.
    expect([acquire(counts, of('192.0.2.3')), limited.at(-1)]).toEqual(['route.full', 'pod']);
    counts.releasePod(of('192.0.2.1'));
    expect([1, 2].map(() => acquire(counts, of('192.0.2.1')))).toEqual([null, 'route.full']);
    // One subscriber of IPv6 has a whole /64.
    expect(acquire(counts, of('2001:db8::1', 'three'))).toBe(null);
    expect(acquire(counts, of('2001:db8::2', 'three'))).toBe(null);
    expect(acquire(counts, of('2001:db8::3', 'three'))).toBe('route.full');
  });

  it('count a tenant as a whole, including pods whose owner is not known', () => {
    const limited: Limit[] = [];
    const limits = { ...LIMITS, maxConnectionsPerOwner: null, maxConnectionsPerTenant: 3 };
    const counts = new ConnectionCounts(limits, (limit) => limited.push(limit));
    for (const places of [podOf('one', 'alice'), podOf('two', 'bob'), podOf('old')]) {
      expect(acquire(counts, places)).toBe(null);
    }
    expect(acquire(counts, podOf('four', 'carol'))).toBe('route.tenant-full');
    expect(limited).toEqual(['tenant']);
    expect(acquire(counts, podOf('five', 'carol', 'other'))).toBe(null);
  });

  it('take all places or none, and hold none after a refusal', () => {
    const limits = { ...LIMITS, maxConnectionsPerPod: 2, maxConnectionsPerOwner: 3, maxConnectionsPerTenant: 4 };
    const counts = new ConnectionCounts(limits);
    const places = Array.from({ length: 12 }, (_, index) => podOf(`pod-${index % 4}`, `user-${index % 2}`));
    const held: PodPlaces[] = [];
    for (let round = 0; round < 5; round++) {
      for (const each of places) if (acquire(counts, each) === null) held.push(each);
      expect(held).toHaveLength(4);
      for (const each of held.splice(0)) counts.releasePod(each);
      expect(counts.snapshot()).toEqual({ admitted: 0, surplus: 0, counted: 0 });
    }
  });

  it('are divided among replicas, rounded down, with at least one place each; open connections remain', () => {
    const limits = { ...LIMITS, maxConnectionsPerOwner: 10, maxConnectionsPerTenant: null };
    const counts = new ConnectionCounts(limits);
    const pod = podOf('one', 'alice');
    const fill = (): number => {
      let taken = 0;
      while (acquire(counts, pod) === null) taken++;
      return taken;
    };
    counts.replicasChanged(3);
    expect(fill()).toBe(3);
    counts.replicasChanged(1);
    expect(fill()).toBe(7);
    counts.replicasChanged(2);
    for (let left = 0; left < 5; left++) counts.releasePod(pod);
    expect(fill()).toBe(0);
    counts.releasePod(pod);
    expect(fill()).toBe(1);
    counts.replicasChanged(40);
    for (let left = 0; left < 5; left++) counts.releasePod(pod);
    expect(fill()).toBe(1);
  });

  it('are exact for all workers of a replica together, also when the number of replicas changes', () => {
    const WORKERS = 3;
    let nowMs = 0;
    const queue: (() => void)[] = [];
    const workers: { places: LeasedPlaces; counts: ConnectionCounts }[] = [];
    const allocator = new PlaceAllocator({
      workers: WORKERS,
      nowMs: () => nowMs,
      send: (worker, message: ToWorker) => queue.push(() => workers[worker]?.places.receive(message)),
    });
    for (let number = 0; number < WORKERS; number++) {
      const places = new LeasedPlaces({
        workers: WORKERS,
        nowMs: () => nowMs,
        send: (message: ToAllocator) => queue.push(() => allocator.receive(number, message)) > 0,
      });
      const limits = { ...LIMITS, maxConnectionsPerOwner: 20, maxConnectionsPerTenant: 50 };
      workers.push({ places, counts: new ConnectionCounts(limits, () => undefined, places) });
      allocator.joined(number);
    }
    const settle = (): void => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) next();
      nowMs += 1_000;
    };
    const held: (() => void)[] = [];
    const open = (times: number): (FullCode | null)[] => {
      const answers: (FullCode | null)[] = [];
      for (let index = 0; index < times; index++) {
        const { counts } = workers[(index * 2) % WORKERS] ?? workers[0] ?? { counts: null };
        const pod = podOf(`pod-${index % 2}`, 'alice');
        counts?.acquirePod(pod, (refusal) => {
          answers.push(refusal);
          if (refusal === null) held.push(() => counts.releasePod(pod));
        });
        settle();
      }
      return answers;
    };
    const taken = (answers: (FullCode | null)[]): number => answers.filter((answer) => answer === null).length;
    const first = open(24);
    expect([first.length, taken(first), first.at(-1)]).toEqual([24, 20, 'route.owner-full']);
    for (const { counts } of workers) counts.replicasChanged(2);
    for (const release of held.splice(0, 12)) release();
    settle();
    expect(taken(open(8))).toBe(2);
    for (const { counts } of workers) counts.replicasChanged(1);
    expect(taken(open(15))).toBe(10);
    for (const release of held.splice(0)) release();
    settle();
    expect([allocator.size, ...workers.map(({ places }) => places.size)]).toEqual([0, 0, 0, 0]);
  });
});
