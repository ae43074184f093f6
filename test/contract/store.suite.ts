import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Fence, fenceOf } from '../../core/lock.ts';
import type { Change, Put, Store } from '../../core/store.ts';
import { CERTIFICATE_PUTS } from '../support/certificate-records.ts';
import { podSpec } from '../support/pod-records.ts';
import {
  committed,
  deletePod,
  never,
  newPod,
  putPod,
  type OpenStoreHarness,
  type StoreHarness,
  type StoreTraits,
} from './store-harness.ts';

const health = (number: number): Fence => ({ lease: 'health', number });

/** The laws of `Store` (core/store.ts), for every implementation. */
export function describeStore(name: string, open: OpenStoreHarness, { keepsData }: StoreTraits): void {
  describe(`Store in ${name}`, () => {
    let harness: StoreHarness;
    let store: Store;

    beforeEach(async () => {
      harness = await open();
      ({ store } = harness);
    });
    afterEach(() => harness.close());

    describe('commit', () => {
      it('writes a record whose revision is the number of the commit', async () => {
        const commit = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        expect(await store.get('pod', 'one')).toEqual({
          kind: 'pod',
          key: 'one',
          revision: commit,
          value: newPod('one'),
        });
      });

      it('replaces a record when the expected revision is the present one', async () => {
        const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        const second = await committed(store.commit({ puts: [putPod('one', first, { run: 7 })] }));
        expect(second).toBeGreaterThan(first);
        expect(await store.get('pod', 'one')).toMatchObject({ revision: second, value: { run: 7 } });
      });

      it('writes nothing of a batch in which one expectation fails, and names exactly the keys that failed', async () => {
        const one = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        const two = await committed(store.commit({ puts: [putPod('two', 'absent')] }));
        const before = await store.identity();
        const result = await store.commit({
          puts: [putPod('one', 'absent', { run: 1 }), putPod('new', 'absent'), putPod('gone', 5)],
          deletes: [deletePod('two', two)],
          enqueue: [{ key: 'one' }],
        });
        expect(result).toEqual({ kind: 'conflict', keys: ['one', 'gone'] });
        expect(await store.get('pod', 'one')).toMatchObject({ revision: one, value: { run: 0 } });
        expect(await store.get('pod', 'two')).not.toBeNull();
        expect(await store.get('pod', 'new')).toBeNull();
        expect(await store.tombstone('pod', 'two')).toBeNull();
        expect(await harness.queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 0 });
        expect(await store.identity()).toEqual(before);
      });

      it('refuses a stale revision, a revision of what is absent, and a deletion of either', async () => {
        const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        await committed(store.commit({ puts: [putPod('one', first)] }));
        for (const batch of [
          { puts: [putPod('one', first)] },
          { puts: [putPod('one', 'absent')] },
          { deletes: [deletePod('one', first)] },
        ]) {
          expect(await store.commit(batch)).toEqual({ kind: 'conflict', keys: ['one'] });
        }
        expect(await store.commit({ puts: [putPod('none', 1)] })).toEqual({ kind: 'conflict', keys: ['none'] });
        expect(await store.commit({ deletes: [deletePod('none', 1)] })).toEqual({ kind: 'conflict', keys: ['none'] });
      });

      it('lets exactly one of many simultaneous writers of the same revision win', async () => {
        const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, run) => store.commit({ puts: [putPod('one', first, { run })] })),
        );
        const winners = results.flatMap((result, run) => (result.kind === 'committed' ? [{ ...result, run }] : []));
        expect(winners).toHaveLength(1);
        expect(await store.get('pod', 'one')).toMatchObject({
          revision: winners[0]?.commit,
          value: { run: winners[0]?.run },
        });
      });

      it('isolates concurrent commits: a failed one does not affect the others', async () => {
        await committed(store.commit({ puts: [putPod('taken', 'absent')] }));
        const results = await Promise.all(
          Array.from({ length: 40 }, (_, i) =>
            store.commit({ puts: [putPod(`p${i}`, 'absent'), ...(i % 2 === 0 ? [] : [putPod('taken', 'absent')])] }),
          ),
        );
        const numbers = results.flatMap((result) => (result.kind === 'committed' ? [result.commit] : []));
        expect(new Set(numbers).size).toBe(20);
        for (let i = 0; i < 40; i++) expect((await store.get('pod', `p${i}`)) !== null).toBe(i % 2 === 0);
      });

      it('writes puts and deletes of several kinds as one commit', async () => {
        const old = await committed(store.commit({ puts: [putPod('old', 'absent')] }));
        const commit = await committed(
          store.commit({
            puts: [
              putPod('one', 'absent'),
              {
                kind: 'credential',
                key: 'one',
                expected: 'absent',
                value: { uid: 'u', tenant: 'dev', podId: 'one', sealed: 'text' },
                tenant: 'dev',
                indexes: [],
              },
            ],
            deletes: [deletePod('old', old)],
          }),
        );
        expect((await store.get('pod', 'one'))?.revision).toBe(commit);
        expect((await store.get('credential', 'one'))?.value.sealed).toBe('text');
        expect((await store.tombstone('pod', 'old'))?.revision).toBe(commit);
      });

      it('keeps records of every kind, separate from records with the same key of another kind', async () => {
        const puts: readonly Put[] = [
          putPod('a.test', 'absent'),
          {
            ...{ kind: 'credential', key: 'a.test', expected: 'absent', tenant: 'dev', indexes: [] },
            value: { uid: 'u', tenant: 'dev', podId: 'one', sealed: 'text' },
          },
          ...CERTIFICATE_PUTS,
        ];
        const commit = await committed(store.commit({ puts }));
        for (const { kind, key, value } of puts) {
          expect(await store.get(kind, key)).toEqual({ kind, key, revision: commit, value });
          expect(await store.list(kind, { limit: 10 })).toHaveLength(1);
        }
        await committed(
          store.commit({ deletes: puts.map(({ kind, key }) => ({ kind, key, expected: commit, uid: `of ${kind}` })) }),
        );
        for (const { kind, key } of puts) {
          expect(await store.get(kind, key)).toBeNull();
          expect(await store.tombstone(kind, key)).toMatchObject({ kind, key, uid: `of ${kind}` });
        }
      });

      it('makes the enqueued keys due in the same step', async () => {
        await committed(
          store.commit({ puts: [putPod('one', 'absent')], enqueue: [{ key: 'dev/one' }, { key: 'dev/two' }] }),
        );
        const claims = [await harness.queue.claim(10_000, never()), await harness.queue.claim(10_000, never())];
        expect(claims.map((claim) => claim?.key)).toEqual(['dev/one', 'dev/two']);
      });

      it('writes the value as it was when commit was called', async () => {
        const permissions: Record<string, 'ADMIN'> = { alice: 'ADMIN' };
        const pending = store.commit({ puts: [putPod('one', 'absent', { permissions })] });
        permissions['mallory'] = 'ADMIN';
        await pending;
        expect((await store.get('pod', 'one'))?.value.permissions).toEqual({ alice: 'ADMIN' });
      });

      it('refuses a batch that writes one record twice', async () => {
        const twice = store.commit({ puts: [putPod('one', 'absent'), putPod('one', 'absent')] });
        await expect(twice).rejects.toMatchObject({ code: 'api.internal' });
        expect(await store.get('pod', 'one')).toBeNull();
      });

      it('keeps any text unchanged, in keys, indexes and values', async () => {
        const odd = `'; DROP TABLE records; -- % _ * "\\ \u0000 ü 漢 🦊`;
        const description = odd.repeat(20);
        const value = newPod('odd', { spec: podSpec({ description }) });
        const put = { kind: 'pod', key: odd, expected: 'absent', value, tenant: odd, indexes: [odd] } as const;
        await committed(store.commit({ puts: [put], enqueue: [{ key: odd }] }));
        expect((await store.get('pod', odd))?.value.spec.description).toBe(description);
        expect((await store.list('pod', { tenant: odd, index: odd, limit: 10 })).map(({ key }) => key)).toEqual([odd]);
        expect((await harness.queue.claim(1_000, never()))?.key).toBe(odd);
      });
    });

    describe('fencing', () => {
      it('refuses a writer whose fence is lower than one already used', async () => {
        const first = await committed(store.commit({ puts: [putPod('one', 'absent')], fence: health(10) }));
        const second = await committed(store.commit({ puts: [putPod('one', first)], fence: health(11) }));
        expect(
          await store.commit({ puts: [putPod('one', second, { run: 9 })], enqueue: [{ key: 'x' }], fence: health(10) }),
        ).toEqual({
          kind: 'fenced',
        });
        expect(await store.get('pod', 'one')).toMatchObject({ revision: second, value: { run: 0 } });
        expect((await harness.queue.stats()).due).toBe(0);
        const third = await committed(store.commit({ puts: [putPod('one', second)], fence: health(11) }));
        await committed(store.commit({ puts: [putPod('one', third)] }));
      });

      it('keeps the fences of leases separate', async () => {
        await committed(store.commit({ fence: { lease: 'certificates', number: 20 } }));
        const one = await committed(store.commit({ puts: [putPod('one', 'absent')], fence: health(10) }));
        expect(await store.commit({ fence: { lease: 'certificates', number: 19 } })).toEqual({ kind: 'fenced' });
        await committed(store.commit({ puts: [putPod('one', one)], fence: health(11) }));
        expect(await store.commit({ fence: health(10) })).toEqual({ kind: 'fenced' });
        await committed(store.commit({ fence: { lease: 'certificates', number: 20 } }));
      });

      it('accepts the fences that the lock gives: a holder that was replaced can no longer write', async () => {
        const slow = await harness.lock.acquire('health', 100);
        await harness.passTime(150);
        const next = await harness.lock.acquire('health', 10_000);
        if (slow === null || next === null) throw new Error('expected two leases, one after the other');
        await committed(store.commit({ puts: [putPod('one', 'absent')], fence: fenceOf(next) }));
        expect(await store.commit({ puts: [putPod('two', 'absent')], fence: fenceOf(slow) })).toEqual({
          kind: 'fenced',
        });
      });
    });

    describe('tombstones', () => {
      it('keep key, uid and revision of a deleted record, and count as absent', async () => {
        const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        const deleted = await committed(store.commit({ deletes: [deletePod('one', first)] }));
        expect(await store.get('pod', 'one')).toBeNull();
        const tombstone = { kind: 'pod', key: 'one', uid: 'uid-of-one', revision: deleted };
        expect(await store.tombstone('pod', 'one')).toEqual(tombstone);
        expect(await store.tombstone('credential', 'one')).toBeNull();
        const again = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        expect(again).toBeGreaterThan(deleted);
        expect(await store.tombstone('pod', 'one')).toEqual(tombstone);
      });
    });

    describe('list', () => {
      const keys = async (query: Parameters<Store['list']>[1]): Promise<readonly string[]> =>
        (await store.list('pod', query)).map(({ key }) => key);

      it('returns records in key order, by pages', async () => {
        const names = ['b', 'a', 'e', 'd', 'c'];
        await committed(store.commit({ puts: names.map((key) => putPod(key, 'absent')) }));
        expect(await keys({ limit: 2 })).toEqual(['a', 'b']);
        expect(await keys({ after: 'b', limit: 2 })).toEqual(['c', 'd']);
        expect(await keys({ after: 'd', limit: 2 })).toEqual(['e']);
        expect(await keys({ after: 'e', limit: 2 })).toEqual([]);
        expect(await keys({ after: 'bb', limit: 1 })).toEqual(['c']);
        expect(await store.list('credential', { limit: 10 })).toEqual([]);
      });

      it('ends a page with the record that fills it, at least one, and goes on behind it', async () => {
        const large = { podId: 'x'.repeat(5_000) };
        await committed(store.commit({ puts: ['a', 'b', 'c', 'd'].map((key) => putPod(key, 'absent', large)) }));
        expect(await keys({ limit: 10, maxBytes: 1 })).toEqual(['a']);
        expect(await keys({ limit: 10, maxBytes: 8_000 })).toEqual(['a', 'b']);
        expect(await keys({ limit: 10, maxBytes: 8_000, after: 'b' })).toEqual(['c', 'd']);
        expect(await keys({ limit: 1, maxBytes: 8_000 })).toEqual(['a']);
        expect(await keys({ limit: 10, maxBytes: 1_000_000 })).toEqual(['a', 'b', 'c', 'd']);
        const [first, second] = await store.list('pod', { limit: 10, maxBytes: 8_000 });
        // By these, a reader knows that the page is full.
        expect((first?.bytes ?? 0) + (second?.bytes ?? 0)).toBeGreaterThanOrEqual(8_000);
        expect(first?.bytes).toBeLessThan(8_000);
      });

      it('finds records by tenant, by index and by both, each in key order and by pages', async () => {
        const alice = ['user:alice'];
        await committed(
          store.commit({
            puts: [
              putPod('a', 'absent', {}, { tenant: 'red', indexes: alice }),
              putPod('b', 'absent', {}, { tenant: 'blue', indexes: alice }),
              putPod('c', 'absent', {}, { tenant: 'red', indexes: ['user:bob', ...alice] }),
              putPod('d', 'absent', {}, { tenant: 'red', indexes: ['user:bob'] }),
            ],
          }),
        );
        expect(await keys({ tenant: 'red', limit: 10 })).toEqual(['a', 'c', 'd']);
        expect(await keys({ tenant: 'red', after: 'a', limit: 1 })).toEqual(['c']);
        expect(await keys({ index: 'user:alice', limit: 10 })).toEqual(['a', 'b', 'c']);
        expect(await keys({ index: 'user:alice', after: 'a', limit: 1 })).toEqual(['b']);
        expect(await keys({ tenant: 'red', index: 'user:alice', limit: 10 })).toEqual(['a', 'c']);
        expect(await keys({ tenant: 'red', index: 'user:alice', after: 'a', limit: 10 })).toEqual(['c']);
        expect(await keys({ index: 'user:al', limit: 10 })).toEqual([]);
        expect(await keys({ tenant: 'green', index: 'user:alice', limit: 10 })).toEqual([]);
      });

      it('follows the indexes and the tenant of the last put, and forgets deleted records', async () => {
        const place = { tenant: 'red', indexes: ['x', 'y', 'y'] };
        const first = await committed(store.commit({ puts: [putPod('a', 'absent', {}, place)] }));
        const second = await committed(
          store.commit({ puts: [putPod('a', first, {}, { tenant: 'blue', indexes: ['y', 'z'] })] }),
        );
        expect(await keys({ index: 'x', limit: 10 })).toEqual([]);
        expect(await keys({ index: 'y', limit: 10 })).toEqual(['a']);
        expect(await keys({ index: 'z', limit: 10 })).toEqual(['a']);
        expect(await keys({ tenant: 'red', limit: 10 })).toEqual([]);
        expect(await keys({ tenant: 'red', index: 'y', limit: 10 })).toEqual([]);
        expect(await keys({ tenant: 'blue', index: 'y', limit: 10 })).toEqual(['a']);
        await committed(store.commit({ deletes: [deletePod('a', second)] }));
        expect(await keys({ limit: 10 })).toEqual([]);
        expect(await keys({ tenant: 'blue', index: 'y', limit: 10 })).toEqual([]);
      });
    });

    describe('identity', () => {
      it('counts successful commits only', async () => {
        const { storeId, commits } = await store.identity();
        const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        await store.commit({ puts: [putPod('one', 'absent')] });
        const second = await committed(store.commit({ enqueue: [{ key: 'key' }] }));
        expect([first, second]).toEqual([commits + 1, commits + 2]);
        expect(await store.identity()).toEqual({ storeId, commits: commits + 2, replaces: [] });
      });

      it('is random', async () => {
        const other = await open();
        try {
          expect((await other.store.identity()).storeId).not.toBe((await store.identity()).storeId);
        } finally {
          await other.close();
        }
      });
    });

    describe('changes', () => {
      it('delivers every change after a commit, in order, and follows new commits', async () => {
        const first = await committed(store.commit({ puts: [putPod('a', 'absent'), putPod('b', 'absent')] }));
        const feed = read(store, 0);
        expect(await feed.next()).toMatchObject({ kind: 'put', commit: first, record: { key: 'a', revision: first } });
        expect(await feed.next()).toMatchObject({ kind: 'put', commit: first, record: { key: 'b' } });
        const waiting = feed.next();
        const second = await committed(store.commit({ puts: [putPod('a', first, { run: 5 })] }));
        expect(await waiting).toMatchObject({ kind: 'put', commit: second, record: { key: 'a', value: { run: 5 } } });
        const third = await committed(store.commit({ deletes: [deletePod('a', second)] }));
        expect(await feed.next()).toEqual({
          kind: 'delete',
          commit: third,
          tombstone: { kind: 'pod', key: 'a', uid: 'uid-of-a', revision: third },
        });
        await feed.stop();
      });

      it('keeps each value as that commit wrote it, for several readers', async () => {
        let revision = await committed(store.commit({ puts: [putPod('a', 'absent', { run: 0 })] }));
        for (let run = 1; run < 250; run++) {
          revision = await committed(store.commit({ puts: [putPod('a', revision, { run })] }));
        }
        for (const after of [0, 100]) {
          const feed = read(store, after);
          for (let run = after; run < 250; run++) {
            expect(await feed.next()).toMatchObject({ commit: run + 1, record: { value: { run } } });
          }
          await feed.stop();
        }
      });

      it('omits refused commits', async () => {
        const first = await committed(store.commit({ puts: [putPod('a', 'absent')] }));
        await store.commit({ puts: [putPod('a', 'absent', { run: 1 }), putPod('b', 'absent')] });
        const last = await committed(store.commit({ puts: [putPod('c', 'absent')] }));
        const feed = read(store, first);
        expect(await feed.next()).toMatchObject({ commit: last, record: { key: 'c' } });
        await feed.stop();
      });

      it('ends when the signal aborts: while it waits, and before it starts', async () => {
        const aborting = new AbortController();
        const changes = store.changes(0, aborting.signal)[Symbol.asyncIterator]();
        const waiting = changes.next();
        aborting.abort();
        expect((await waiting).done).toBe(true);
        await committed(store.commit({ puts: [putPod('a', 'absent')] }));
        for await (const change of store.changes(0, AbortSignal.abort())) expect(change).toBeUndefined();
      });

      it('delivers a gap, then goes on, when the store has fewer commits than the reader knows (it was replaced)', async () => {
        const first = await committed(store.commit({ puts: [putPod('a', 'absent')] }));
        const feed = read(store, first + 1_000);
        expect(await feed.next()).toEqual({ kind: 'gap', commit: first });
        const second = await committed(store.commit({ puts: [putPod('b', 'absent')] }));
        expect(await feed.next()).toMatchObject({ kind: 'put', commit: second, record: { key: 'b' } });
        await feed.stop();
      });

      it('delivers a gap to a reader that starts too late, and to one that is too slow', async () => {
        await harness.close();
        harness = await open({ feedCommits: 50 });
        ({ store } = harness);
        const first = await committed(store.commit({ puts: [putPod('a', 'absent')] }));
        const slow = read(store, 0);
        expect(await slow.next()).toMatchObject({ kind: 'put', commit: first });
        for (let i = 0; i < 300; i++) await committed(store.commit({ puts: [putPod(`p${i}`, 'absent')] }));
        for (const feed of [slow, read(store, 0)]) {
          const gap = await feed.next();
          expect(gap).toEqual({ kind: 'gap', commit: 301 });
          await feed.stop();
        }
        const recent = read(store, 301 - 50);
        expect(await recent.next()).toMatchObject({ kind: 'put', commit: 301 - 50 + 1 });
        await recent.stop();
      });

      it('keeps no more bytes of records than it may, however large they are, in pages of bounded size', async () => {
        await harness.close();
        harness = await open({ feedBytes: 4 * 1024 * 1024 });
        ({ store } = harness);
        const description = 'x'.repeat(300_000);
        const few = read(store, 0);
        for (let i = 0; i < 40; i++) {
          const { spec } = newPod('large');
          const expected = i === 0 ? ('absent' as const) : i;
          await committed(store.commit({ puts: [putPod('large', expected, { spec: { ...spec, description } })] }));
        }
        expect(await few.next()).toEqual({ kind: 'gap', commit: 40 });
        await few.stop();
        const feed = read(store, 40 - 13);
        for (let commit = 40 - 12; commit <= 40; commit++)
          expect(await feed.next()).toMatchObject({ kind: 'put', commit });
        await feed.stop();
        const tooFar = read(store, 40 - 16);
        expect(await tooFar.next()).toEqual({ kind: 'gap', commit: 40 });
        await tooFar.stop();
      });
    });

    if (keepsData) {
      it('has every acknowledged commit when it is reopened', async () => {
        const one = await committed(
          store.commit({ puts: [putPod('one', 'absent', {}, { indexes: ['x'] })], fence: health(5) }),
        );
        const two = await committed(store.commit({ puts: [putPod('two', 'absent')] }));
        const three = await committed(
          store.commit({ deletes: [deletePod('two', two)], enqueue: [{ key: 'dev/two' }] }),
        );
        const identity = await store.identity();
        harness = await harness.reopen();
        ({ store } = harness);
        expect(await store.identity()).toEqual(identity);
        expect((await store.list('pod', { index: 'x', limit: 10 })).map(({ revision }) => revision)).toEqual([one]);
        expect((await store.tombstone('pod', 'two'))?.revision).toBe(three);
        expect((await harness.queue.claim(1_000, never()))?.key).toBe('dev/two');
        expect(await store.commit({ fence: health(4) })).toEqual({ kind: 'fenced' });
        const feed = read(store, one);
        expect(await feed.next()).toMatchObject({ kind: 'put', commit: two });
        expect(await feed.next()).toMatchObject({ kind: 'delete', commit: three });
        await feed.stop();
      });
    }

    it('throws store.unavailable once it is closed, from every method and to pending callers', async () => {
      const { queue, lock, logs } = harness;
      const waiting = [queue.claim(1_000, never()), read(store, 0).next()].map(codeOf);
      await harness.close();
      const asked = [
        store.commit({ puts: [putPod('one', 'absent')] }),
        store.get('pod', 'one'),
        store.tombstone('pod', 'one'),
        store.list('pod', { limit: 1 }),
        store.identity(),
        read(store, 0).next(),
        queue.add('key'),
        queue.claim(1_000, never()),
        queue.stats(),
        lock.acquire('name', 1_000),
        logs.appendAction('uid', 'line'),
        logs.actions('uid'),
      ].map(codeOf);
      for (const code of await Promise.all([...waiting, ...asked])) expect(code).toBe('store.unavailable');
    });

    describe('adopt', () => {
      it('gives the store another id and a higher counter, keeps its records, and remembers what it replaces', async () => {
        const revision = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        const before = await store.identity();
        const identity = await store.adopt({ storeId: 'former', commits: 1_000, fence: 0, replaces: ['another'] });
        expect(identity).toEqual(await store.identity());
        expect(identity.storeId).toBe('former');
        expect(identity.commits).toBeGreaterThanOrEqual(1_000);
        expect(new Set(identity.replaces)).toEqual(new Set([before.storeId, 'another']));
        expect(await store.get('pod', 'one')).toMatchObject({ revision });
        const next = await committed(store.commit({ puts: [putPod('one', revision)] }));
        expect(next).toBeGreaterThan(identity.commits);
      });

      it('never lowers the counter, and changes nothing when it is repeated', async () => {
        const adoption = { storeId: 'former', commits: 1_000, fence: 0, replaces: [] };
        const first = await store.adopt(adoption);
        expect(await store.adopt(adoption)).toEqual(first);
        const lower = await store.adopt({ storeId: 'former', commits: 5, fence: 0, replaces: ['late'] });
        expect(lower.commits).toBeGreaterThanOrEqual(first.commits);
        expect(lower.replaces).toContain('late');
      });

      it('delivers a gap to every reader of changes, and then new commits', async () => {
        await committed(store.commit({ puts: [putPod('one', 'absent')] }));
        const { commits } = await store.identity();
        const stop = new AbortController();
        const changes = store.changes(commits, stop.signal)[Symbol.asyncIterator]();
        const first = changes.next();
        const identity = await store.adopt({ storeId: 'former', commits: 1_000, fence: 0, replaces: [] });
        expect((await first).value).toEqual({ kind: 'gap', commit: identity.commits });
        const second = changes.next();
        await committed(store.commit({ puts: [putPod('two', 'absent')] }));
        expect((await second).value).toMatchObject({ kind: 'put', record: { key: 'two' } });
        stop.abort();
        await changes.return?.();
      });

      if (keepsData) {
        it('persists when the store is reopened', async () => {
          const identity = await store.adopt({ storeId: 'former', commits: 1_000, fence: 0, replaces: ['another'] });
          harness = await harness.reopen();
          ({ store } = harness);
          expect(await store.identity()).toEqual(identity);
        });
      }
    });
  });
}

async function codeOf(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
    return 'no error';
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
}

function read(store: Store, after: number): { next(): Promise<Change>; stop(): Promise<void> } {
  const aborting = new AbortController();
  const changes = store.changes(after, aborting.signal)[Symbol.asyncIterator]();
  return {
    async next() {
      const result = await changes.next();
      if (result.done === true) throw new Error('the feed has ended');
      return result.value;
    },
    async stop() {
      aborting.abort();
      await changes.return?.();
    },
  };
}
