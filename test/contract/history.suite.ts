import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PodgateError } from '../../core/errors.ts';
import { committed, never, putPod, type OpenStoreHarness, type StoreHarness } from './store-harness.ts';

const LEASE_MS = 60_000;

/** The law of history (core/store.ts): no process writes to a store that lacks what it has seen. */
export function describeHistory(name: string, open: OpenStoreHarness): void {
  describe(`History in ${name}`, () => {
    let harness: StoreHarness;
    let foreign: StoreHarness;

    beforeEach(async () => {
      harness = await open();
      foreign = await open();
    });
    afterEach(async () => {
      await harness.close();
      await foreign.close();
    });

    /** A store of which a part is about to be lost: answers how to put what in its place. */
    async function prepare() {
      const { store, queue, lock } = harness;
      const kept = await committed(store.commit({ puts: [putPod('kept', 'absent')] }));
      await queue.add('in the copy');
      const older = await harness.copy();
      for (const key of ['x', 'y']) await committed(foreign.store.commit({ puts: [putPod(key, 'absent')] }));
      const lost = await committed(store.commit({ puts: [putPod('lost', 'absent')], enqueue: [{ key: 'lost' }] }));
      const claim = await queue.claim(LEASE_MS, never());
      const lease = await lock.acquire('health', LEASE_MS);
      if (claim === null || lease === null) throw new Error('nothing to claim');
      const copies = { older, empty: null, foreign: await foreign.copy(), right: await harness.copy() };
      return { copies, kept, lost, claim, lease };
    }
    type Prepared = Awaited<ReturnType<typeof prepare>>;

    /** Everything that writes. */
    function writesOf({ store, queue, lock, logs }: StoreHarness, { claim, lease, kept }: Prepared) {
      return {
        commit: () => store.commit({ puts: [putPod('new', 'absent')] }),
        'empty commit': () => store.commit({}),
        delete: () => store.commit({ deletes: [{ kind: 'pod', key: 'kept', expected: kept, uid: 'u' }] }),
        adopt: () => store.adopt({ storeId: 'x', commits: 9_000, fence: 0, replaces: [] }),
        add: () => queue.add('new'),
        claim: () => queue.claim(LEASE_MS, AbortSignal.timeout(5_000)),
        extend: () => queue.extend(claim, LEASE_MS),
        acknowledge: () => queue.acknowledge(claim),
        retry: () => queue.retry(claim, 0),
        park: () => queue.park(claim, 'why', 1_000),
        unpark: () => queue.unpark(null),
        acquire: () => lock.acquire('new', LEASE_MS),
        renew: () => lock.renew(lease, LEASE_MS),
        release: () => lock.release(lease),
        appendAction: () => logs.appendAction('uid', 'line'),
        saveOutput: () => logs.saveOutput('uid', 1, 'text'),
        removeLogs: () => logs.remove('uid'),
      };
    }

    async function refusesAll(prepared: Prepared): Promise<void> {
      const before = await harness.fingerprint();
      for (const [what, write] of Object.entries(writesOf(harness, prepared))) {
        const error: unknown = await write().then(
          () => null,
          (reason: unknown) => reason,
        );
        expect(error instanceof PodgateError ? error.code : error, what).toBe('store.suspect');
      }
      expect(await harness.fingerprint()).toBe(before);
    }

    it.each(['older', 'empty', 'foreign'] as const)(
      'refuses every write when the store is %s, writes nothing at all, and reads go on',
      async (which) => {
        const prepared = await prepare();
        harness = await harness.exchange(prepared.copies[which]);
        await refusesAll(prepared);
        expect(harness.guard.suspicion()).not.toBeNull();
        const { store, queue, logs } = harness;
        expect((await store.get('pod', 'kept')) !== null).toBe(which === 'older');
        expect(await store.get('pod', 'lost')).toBeNull();
        expect((await store.list('pod', { limit: 10 })).length).toBe({ older: 1, empty: 0, foreign: 2 }[which]);
        expect(await store.tombstone('pod', 'kept')).toBeNull();
        expect((await queue.stats()).leased).toBe(0);
        expect(await logs.actions('uid')).toEqual([]);
        // The same again, for a process that starts now.
        harness = await harness.reopen();
        await refusesAll(prepared);
      },
    );

    it('refuses an older copy that another process has taken past all that was lost', async () => {
      const prepared = await prepare();
      harness = await harness.exchange(prepared.copies.older);
      const other = await harness.forRecovery();
      for (let i = 0; i < 5; i++) await committed(other.store.commit({ puts: [putPod(`p${i}`, 'absent')] }));
      expect((await harness.store.identity()).commits).toBeGreaterThan(prepared.lost);
      await refusesAll(prepared);
      harness = await harness.reopen();
      await harness.store.identity();
      expect(harness.guard.suspicion()).toContain('changed since');
      await refusesAll(prepared);
    });

    it('accepts writes again once the right store is back and has been compared', async () => {
      const prepared = await prepare();
      harness = await harness.exchange(prepared.copies.older);
      await refusesAll(prepared);
      harness = await harness.exchange(prepared.copies.right);
      await harness.store.identity();
      expect(harness.guard.suspicion()).toBeNull();
      await committed(harness.store.commit({ puts: [putPod('new', 'absent')] }));
    });

    it('delivers no changes of a suspect store, and a gap once it is trusted again', async () => {
      const prepared = await prepare();
      harness = await harness.exchange(prepared.copies.older);
      const other = await harness.forRecovery();
      const stop = new AbortController();
      const changes = harness.store.changes(0, stop.signal)[Symbol.asyncIterator]();
      const next = changes.next();
      await committed(other.store.commit({ puts: [putPod('no change', 'absent')] }));
      const { storeId } = await harness.store.identity();
      const adopted = await other.store.adopt({ storeId, commits: 5_000, fence: 0, replaces: [] });
      await harness.store.identity();
      expect((await next).value).toEqual({ kind: 'gap', commit: adopted.commits });
      await committed(harness.store.commit({ puts: [putPod('new', 'absent')] }));
      expect((await changes.next()).value).toMatchObject({ kind: 'put', record: { key: 'new' } });
      stop.abort();
      await changes.return?.();
    });

    it.each(['older', 'empty', 'foreign'] as const)(
      'goes on with a store that is %s after it was adopted, in every process and after its restart',
      async (which) => {
        const prepared = await prepare();
        const mark = harness.guard.mark();
        if (mark === null) throw new Error('nothing was seen');
        harness = await harness.exchange(prepared.copies[which]);
        const view = await harness.forRecovery();
        const { storeId, commits, fence } = mark;
        await view.store.adopt({ storeId, commits: commits + 1_000, fence: fence + 1_000_000, replaces: [] });
        await harness.store.identity();
        expect(harness.guard.suspicion()).toBeNull();
        await committed(harness.store.commit({ puts: [putPod('new', 'absent')] }));
        harness = await harness.reopen();
        await committed(harness.store.commit({ puts: [putPod('newer', 'absent')] }));
        const lease = await harness.lock.acquire('other', LEASE_MS);
        expect(lease?.fence).toBeGreaterThan(fence + 1_000_000);
      },
    );

    it('gives fences greater than every one that the process was given, whatever the store has forgotten', async () => {
      await committed(harness.store.commit({}));
      // As on a machine whose clock was far ahead then.
      const given = Date.now() + 1_000_000_000;
      harness.guard.fenceGiven(given);
      harness = await harness.reopen();
      expect((await harness.lock.acquire('health', LEASE_MS))?.fence).toBeGreaterThan(given);
    });

    it('does not suspect a store because of concurrent writers', async () => {
      const other = await harness.forRecovery();
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          Array.from({ length: 20 }, async (_, at) => {
            await committed(harness.store.commit({ puts: [putPod(`a${round}-${at}`, 'absent')] }));
            await committed(other.store.commit({ puts: [putPod(`b${round}-${at}`, 'absent')] }));
            await harness.queue.add(`k${at}`);
            await harness.store.get('pod', `b${round}-${at}`);
            await harness.store.identity();
          }),
        );
      }
      const { commits, storeId } = await harness.store.identity();
      expect(harness.guard.mark()).toMatchObject({ storeId, commits });
    });

    it('remembers what another process has committed as soon as it has read anything', async () => {
      await committed(harness.store.commit({ puts: [putPod('kept', 'absent')] }));
      const copy = await harness.copy();
      const other = await harness.forRecovery();
      await committed(other.store.commit({ puts: [putPod('by another', 'absent')] }));
      expect(await harness.store.get('pod', 'by another')).not.toBeNull();
      harness = await harness.exchange(copy);
      await expect(harness.store.commit({})).rejects.toMatchObject({ code: 'store.suspect' });
    });
  });
}
