import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Claim, type Queue, shareOf } from '../../core/queue.ts';
import { type OpenStoreHarness, type StoreHarness, type StoreTraits } from './store-harness.ts';

const LEASE_MS = 10_000;
/** Long enough that a few calls to a real Redis are over sooner, on a machine that is busy, too. */
const SHORT_MS = 400;

/** The laws of `Queue` (core/queue.ts), for every implementation. */
export function describeQueue(name: string, open: OpenStoreHarness, { keepsData }: StoreTraits): void {
  describe(`Queue in ${name}`, () => {
    let harness: StoreHarness;
    let queue: Queue;

    beforeEach(async () => {
      harness = await open();
      ({ queue } = harness);
    });
    afterEach(() => harness.close());

    async function claim(leaseMs = LEASE_MS): Promise<Claim> {
      const claimed = await queue.claim(leaseMs, AbortSignal.timeout(5_000));
      if (claimed === null) throw new Error('nothing to claim within 5 s');
      return claimed;
    }

    /** Is nothing due now? Asks by claiming, so that a key wrongly given out is seen. */
    async function expectNothingDue(): Promise<void> {
      expect((await queue.stats()).due).toBe(0);
      expect(await queue.claim(LEASE_MS, AbortSignal.timeout(30))).toBeNull();
    }

    it('hands out an added key once, and forgets it when it is acknowledged', async () => {
      await queue.add('a');
      await queue.add('a');
      const claimed = await claim();
      expect(claimed.key).toBe('a');
      await expectNothingDue();
      expect(await queue.acknowledge(claimed)).toBe(true);
      expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 0 });
      expect(await queue.acknowledge(claimed)).toBe(false);
      await expectNothingDue();
    });

    it('hands out keys in the order in which they became due', async () => {
      await queue.add('later', { delayMs: SHORT_MS });
      for (const key of ['c', 'a', 'b', 'a', 'c']) await queue.add(key);
      await harness.passTime(2 * SHORT_MS);
      await queue.add('last');
      const keys: string[] = [];
      for (let i = 0; i < 5; i++) keys.push((await claim()).key);
      expect(keys).toEqual(['c', 'a', 'b', 'later', 'last']);
    });

    it('gives every claim its own token', async () => {
      await queue.add('a');
      const first = await claim();
      await queue.retry(first, 0);
      const second = await claim();
      expect(second.key).toBe('a');
      expect(second.token).not.toBe(first.token);
    });

    describe('delay', () => {
      it('holds a key back until it is due', async () => {
        await queue.add('a', { delayMs: SHORT_MS });
        expect(await queue.stats()).toEqual({ due: 0, delayed: 1, leased: 0, parked: 0 });
        await expectNothingDue();
        await harness.passTime(SHORT_MS);
        expect((await claim()).key).toBe('a');
      });

      it('uses the earlier time, whichever was given last', async () => {
        await queue.add('a', { delayMs: 60_000 });
        await queue.add('a');
        expect((await claim()).key).toBe('a');
        await queue.add('b');
        await queue.add('b', { delayMs: 60_000 });
        expect((await claim()).key).toBe('b');
      });
    });

    describe('lease', () => {
      it('hands the key out again, to another worker, only after it has expired', async () => {
        await queue.add('a');
        const first = await claim(SHORT_MS);
        await expectNothingDue();
        await harness.passTime(2 * SHORT_MS);
        expect(await queue.stats()).toEqual({ due: 1, delayed: 0, leased: 0, parked: 0 });
        const second = await claim();
        expect(second.key).toBe('a');
        expect(second.token).not.toBe(first.token);
        await expectNothingDue();
      });

      it('that has been taken over makes acknowledge, retry and extend do nothing and return false', async () => {
        await queue.add('a');
        const lost = await claim(SHORT_MS);
        await harness.passTime(2 * SHORT_MS);
        const held = await claim();
        expect(await queue.acknowledge(lost)).toBe(false);
        expect(await queue.retry(lost, 0)).toBe(false);
        expect(await queue.extend(lost, LEASE_MS)).toBe(false);
        await expectNothingDue();
        expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 1, parked: 0 });
        expect(await queue.acknowledge(held)).toBe(true);
      });

      it('that has expired is not held, even if no worker has claimed the key since', async () => {
        await queue.add('a');
        const lost = await claim(SHORT_MS);
        await harness.passTime(2 * SHORT_MS);
        expect(await queue.extend(lost, LEASE_MS)).toBe(false);
        expect(await queue.retry(lost, 60_000)).toBe(false);
        expect(await queue.acknowledge(lost)).toBe(false);
        expect((await claim()).key).toBe('a');
      });

      it('lasts longer when it is extended', async () => {
        await queue.add('a');
        const held = await claim(2 * SHORT_MS);
        expect(await queue.extend(held, 20 * SHORT_MS)).toBe(true);
        await harness.passTime(4 * SHORT_MS);
        await expectNothingDue();
        expect(await queue.acknowledge(held)).toBe(true);
      });
    });

    describe('a key added while it is claimed', () => {
      it('is due again once, when the claim is acknowledged', async () => {
        await queue.add('a');
        const first = await claim();
        await queue.add('a');
        await queue.add('a');
        await expectNothingDue();
        expect(await queue.acknowledge(first)).toBe(true);
        const second = await claim();
        expect(second.key).toBe('a');
        expect(await queue.acknowledge(second)).toBe(true);
        expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 0 });
      });

      it('is due at once when the claim is retried for later', async () => {
        await queue.add('a');
        const first = await claim();
        await queue.add('a');
        expect(await queue.retry(first, 60_000)).toBe(true);
        expect((await claim()).key).toBe('a');
      });

      it('is due when the lease ends', async () => {
        await queue.add('a');
        await claim(SHORT_MS);
        await queue.add('a');
        await expectNothingDue();
        await harness.passTime(2 * SHORT_MS);
        const second = await claim();
        expect(await queue.acknowledge(second)).toBe(true);
        expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 0 });
      });

      it('with a delay is due after the delay', async () => {
        await queue.add('a');
        const first = await claim();
        await queue.add('a', { delayMs: 3 * SHORT_MS });
        await queue.acknowledge(first);
        expect(await queue.stats()).toEqual({ due: 0, delayed: 1, leased: 0, parked: 0 });
        await harness.passTime(4 * SHORT_MS);
        expect((await claim()).key).toBe('a');
      });
    });

    it('retries a key after the delay, not before', async () => {
      await queue.add('a');
      expect(await queue.retry(await claim(), SHORT_MS)).toBe(true);
      await expectNothingDue();
      await harness.passTime(2 * SHORT_MS);
      expect((await claim()).key).toBe('a');
    });

    describe('a parked key', () => {
      const PARK_MS = 60_000;

      async function park(key: string, forMs = PARK_MS): Promise<void> {
        await queue.add(key);
        expect(await queue.park(await claim(), `the reason of ${key}`, forMs)).toBe(true);
      }

      it('is listed with its reason and time, and is neither due nor delayed', async () => {
        const before = Date.now();
        await park('a');
        await park('b');
        expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 2 });
        const parked = await queue.parked(10);
        expect(parked.map(({ key, reason }) => [key, reason])).toEqual([
          ['a', 'the reason of a'],
          ['b', 'the reason of b'],
        ]);
        for (const { sinceMs } of parked) expect(Math.abs(sinceMs - before)).toBeLessThan(120_000);
        expect(await queue.parked(1)).toHaveLength(1);
      });

      it('is not made due by a repeated hint', async () => {
        await park('a');
        await queue.add('a');
        await queue.add('a', { share: 'alice' });
        await expectNothingDue();
      });

      it('is parked even if it was hinted at while claimed', async () => {
        await queue.add('a');
        const claimed = await claim();
        await queue.add('a');
        expect(await queue.park(claimed, 'why', PARK_MS)).toBe(true);
        await expectNothingDue();
      });

      it('is due at once when a commit enqueues it, parked already or still claimed', async () => {
        await park('a');
        await harness.store.commit({ enqueue: [{ key: 'a' }] });
        const claimed = await claim();
        expect(claimed.key).toBe('a');
        expect(await queue.parked(10)).toEqual([]);
        await harness.store.commit({ enqueue: [{ key: 'a' }] });
        expect(await queue.park(claimed, 'why', PARK_MS)).toBe(true);
        expect((await claim()).key).toBe('a');
        expect(await queue.parked(10)).toEqual([]);
      });

      it('becomes due at its time, and is then a normal key', async () => {
        await park('a', SHORT_MS);
        await harness.passTime(2 * SHORT_MS);
        expect((await queue.stats()).due).toBe(1);
        const claimed = await claim();
        expect(await queue.parked(10)).toEqual([]);
        expect(await queue.retry(claimed, 60_000)).toBe(true);
        await queue.add('a');
        expect((await claim()).key).toBe('a');
      });

      it('becomes due when it is unparked, alone or with all others', async () => {
        for (const key of ['a', 'b', 'c']) await park(key);
        expect(await queue.unpark('b')).toBe(1);
        expect((await claim()).key).toBe('b');
        await expectNothingDue();
        expect(await queue.unpark('nobody')).toBe(0);
        expect(await queue.unpark(null)).toBe(2);
        expect(new Set([(await claim()).key, (await claim()).key])).toEqual(new Set(['a', 'c']));
        expect(await queue.unpark(null)).toBe(0);
      });

      it('is left alone by a claim that was lost', async () => {
        await queue.add('a');
        const lost = await claim(SHORT_MS);
        await harness.passTime(2 * SHORT_MS);
        expect(await queue.park(lost, 'why', PARK_MS)).toBe(false);
        expect((await claim()).key).toBe('a');
      });
    });

    describe('shares', () => {
      it('take turns, so that a user with many keys does not delay another', async () => {
        for (let i = 0; i < 20; i++) await queue.add(`alice/${i}`, { share: 'alice' });
        for (let i = 0; i < 3; i++) await queue.add(`bob/${i}`, { share: 'bob' });
        const keys: string[] = [];
        for (let i = 0; i < 8; i++) {
          const claimed = await claim();
          keys.push(claimed.key);
          await queue.acknowledge(claimed);
        }
        expect(keys).toEqual(['alice/0', 'bob/0', 'alice/1', 'bob/1', 'alice/2', 'bob/2', 'alice/3', 'alice/4']);
      });

      it('that have not been served come in the order in which their keys became due', async () => {
        await queue.add('bob/0', { share: 'bob', delayMs: SHORT_MS });
        await queue.add('carol/0', { share: 'carol' });
        await queue.add('alice/0', { share: 'alice' });
        await harness.passTime(2 * SHORT_MS);
        const keys: string[] = [];
        for (let i = 0; i < 3; i++) keys.push((await claim()).key);
        expect(keys).toEqual(['carol/0', 'alice/0', 'bob/0']);
      });

      it('of one group take one turn together: many users do not delay another tenant', async () => {
        for (let user = 0; user < 5; user++) {
          for (let i = 0; i < 4; i++) await queue.add(`big/${user}-${i}`, { share: `big/user${user}` });
        }
        for (let i = 0; i < 4; i++) await queue.add(`small/only-${i}`, { share: 'small/user0' });
        const keys: string[] = [];
        for (let i = 0; i < 12; i++) {
          const claimed = await claim();
          keys.push(claimed.key);
          await queue.acknowledge(claimed);
        }
        expect(keys.filter((key) => key.startsWith('small/'))).toEqual([0, 1, 2, 3].map((i) => `small/only-${i}`));
        const small = keys.map((key, place) => (key.startsWith('small/') ? place : -1)).filter((place) => place >= 0);
        expect(small).toEqual([1, 3, 5, 7]);
        // Within the tenant its users take turns, each with the key that was due first.
        const users = keys.filter((key) => key.startsWith('big/')).map((key) => key.slice('big/'.length));
        expect(users).toEqual(['0-0', '1-0', '2-0', '3-0', '4-0', '0-1', '1-1', '2-1']);
      });

      it('of users with the same name in two tenants are separate', async () => {
        for (let i = 0; i < 3; i++)
          await queue.add(`one/${i}`, { share: shareOf({ tenant: 'one', createdBy: 'alice' }) });
        for (let i = 0; i < 3; i++)
          await queue.add(`two/${i}`, { share: shareOf({ tenant: 'two', createdBy: 'alice' }) });
        const keys: string[] = [];
        for (let i = 0; i < 6; i++) keys.push((await claim()).key);
        expect(keys).toEqual(['one/0', 'two/0', 'one/1', 'two/1', 'one/2', 'two/2']);
      });

      it('of a group are found again after keys were retried, delayed and moved to another share', async () => {
        await queue.add('t/a', { share: 't/alice' });
        await queue.add('t/b', { share: 't/bob' });
        const first = await claim();
        await queue.retry(first, SHORT_MS);
        await queue.add('t/b', { share: 't/carol' });
        expect((await claim()).key).toBe('t/b');
        await expectNothingDue();
        await harness.passTime(2 * SHORT_MS);
        expect((await claim()).key).toBe('t/a');
        await expectNothingDue();
      });

      it('do not jump the queue by returning repeatedly', async () => {
        for (let i = 0; i < 10; i++) await queue.add(`alice/${i}`, { share: 'alice' });
        const served: string[] = [];
        for (let i = 0; i < 6; i++) {
          await queue.add('bob/only', { share: 'bob' });
          const claimed = await claim();
          served.push(claimed.key.split('/')[0] ?? '');
          await queue.acknowledge(claimed);
        }
        expect(served.filter((share) => share === 'alice')).toHaveLength(3);
      });
    });

    describe('claim', () => {
      it('waits until a key is added', async () => {
        const waiting = claim();
        await queue.add('a');
        expect((await waiting).key).toBe('a');
      });

      it('waits until a commit makes a key due', async () => {
        const waiting = claim();
        await harness.store.commit({ enqueue: [{ key: 'a' }] });
        expect((await waiting).key).toBe('a');
      });

      it('waits until a delayed key is due, and until a lease ends', async () => {
        const startedAt = performance.now();
        await queue.add('a', { delayMs: SHORT_MS });
        await claim(SHORT_MS);
        expect(performance.now() - startedAt).toBeGreaterThanOrEqual(SHORT_MS - 2);
        expect((await claim()).key).toBe('a');
        expect(performance.now() - startedAt).toBeGreaterThanOrEqual(2 * SHORT_MS - 4);
        expect(performance.now() - startedAt).toBeLessThan(40 * SHORT_MS);
      });

      it('returns null when the signal aborts, and then claims nothing', async () => {
        expect(await queue.claim(LEASE_MS, AbortSignal.abort())).toBeNull();
        const aborting = new AbortController();
        const waiting = queue.claim(LEASE_MS, aborting.signal);
        aborting.abort();
        expect(await waiting).toBeNull();
        await queue.add('a');
        expect(await queue.stats()).toEqual({ due: 1, delayed: 0, leased: 0, parked: 0 });
        expect((await claim()).key).toBe('a');
      });

      it('claims nothing when the signal aborts while the claim is in flight', async () => {
        await queue.add('a');
        const aborting = new AbortController();
        const claiming = queue.claim(LEASE_MS, aborting.signal);
        aborting.abort();
        expect(await claiming).toBeNull();
        expect(await queue.stats()).toEqual({ due: 1, delayed: 0, leased: 0, parked: 0 });
      });

      it('gives each of many waiting workers a key of its own', async () => {
        const waiting = Array.from({ length: 10 }, () => claim());
        await Promise.all(Array.from({ length: 10 }, (_, i) => queue.add(`k${i}`)));
        const keys = (await Promise.all(waiting)).map(({ key }) => key);
        expect(new Set(keys).size).toBe(10);
      });

      it('never gives one key to two workers, and loses none, under load', async () => {
        const held = new Set<string>();
        const visits = new Map<string, number>();
        const stop = new AbortController();
        const workers = Array.from({ length: 8 }, async () => {
          for (;;) {
            const claimed = await queue.claim(LEASE_MS, stop.signal);
            if (claimed === null) return;
            expect(held.has(claimed.key)).toBe(false);
            held.add(claimed.key);
            const visit = (visits.get(claimed.key) ?? 0) + 1;
            visits.set(claimed.key, visit);
            if (visit === 1) await queue.add(claimed.key);
            held.delete(claimed.key);
            expect(visit % 2 === 0 ? await queue.retry(claimed, 1) : await queue.acknowledge(claimed)).toBe(true);
            if (visits.size === 100 && [...visits.values()].every((count) => count >= 3)) stop.abort();
          }
        });
        await Promise.all(Array.from({ length: 100 }, (_, i) => queue.add(`k${i}`, { share: `s${i % 7}` })));
        await Promise.all(workers);
        expect([...visits.values()]).toEqual(Array.from({ length: 100 }, () => 3));
        expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 0 });
      });
    });

    if (keepsData) {
      it('has its keys and its delays after it is opened again; what was claimed is given out again', async () => {
        await queue.add('claimed');
        await claim(SHORT_MS);
        await queue.add('waiting');
        await queue.add('delayed', { delayMs: 60_000 });
        harness = await harness.reopen();
        ({ queue } = harness);
        await harness.passTime(2 * SHORT_MS);
        expect(new Set([(await claim()).key, (await claim()).key])).toEqual(new Set(['claimed', 'waiting']));
        expect(await queue.stats()).toEqual({ due: 0, delayed: 1, leased: 2, parked: 0 });
        expect(await queue.claim(LEASE_MS, AbortSignal.timeout(50))).toBeNull();
      });
    }
  });
}
