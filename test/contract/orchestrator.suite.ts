import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PodgateError } from '../../core/errors.ts';
import type { Orchestrator } from '../../core/orchestrator.ts';
import type { StanzaAddress } from '../../core/pod-network.ts';
import type { WorkloadEvent, WorkloadSpec } from '../../core/workloads.ts';
import { connectGuarded } from '../../proxy/socket/connect-guarded.ts';
import { onConnected } from '../../proxy/socket/on-connected.ts';
import { until } from '../support/until.ts';
import {
  becomes,
  becomesAbsent,
  type Behaviour,
  ensured,
  isAbsent,
  never,
  OBSERVED_MS,
  type OpenOrchestratorHarness,
  type OrchestratorHarness,
  workloadSpec,
} from './orchestrator-harness.ts';
import { describeShell } from './shell.suite.ts';

/**
 * The laws of `Orchestrator` (core/orchestrator.ts), for every implementation. `concurrent` runs several tests at a time,
 * where each waits long for its pods to start and to end.
 */
export function describeOrchestrator(
  name: string,
  open: OpenOrchestratorHarness,
  { concurrent }: { readonly concurrent: boolean } = { concurrent: false },
): void {
  describe(`Orchestrator in ${name}`, { concurrent }, () => {
    let harness: OrchestratorHarness;
    let orchestrator: Orchestrator;

    beforeAll(async () => {
      harness = await open();
      ({ orchestrator } = harness);
    });
    afterAll(() => harness.close());

    const serving = (change: Partial<WorkloadSpec> = {}) => workloadSpec(harness.specOf({ kind: 'serves' }), change);
    const behaving = (behaviour: Behaviour, change: Partial<WorkloadSpec> = {}) =>
      workloadSpec(harness.specOf(behaviour), change);
    const workloadsOf = async (podId: string) =>
      (await orchestrator.list(never())).filter((workload) => workload.podId === podId);
    const remove = (workload: WorkloadSpec, data: 'keep' | 'delete' = 'delete') =>
      orchestrator.remove(workload, { data, run: workload.run }, never());
    /** As the health loop does it: what one removal leaves, since it has changed meanwhile, the next one takes. */
    const removed = (workload: WorkloadSpec) =>
      until(
        'the workload is removed',
        async () => {
          await remove(workload);
          return isAbsent(await orchestrator.observe(workload, never()));
        },
        { timeoutMs: OBSERVED_MS, everyMs: 1_000 },
      );

    describe('metrics', () => {
      it('reports memory and CPU of running workloads only, or says why it cannot', async () => {
        const workload = serving();
        await ensured(orchestrator, workload);
        await becomes(orchestrator, workload, 'ready');
        const reading = await orchestrator.metrics?.read([workload, serving()], never());
        if (reading?.kind !== 'measured') {
          expect(reading?.reason).toMatch(/^[A-Z].*\.$/);
        } else {
          expect([...reading.workloads.keys()]).toEqual([workload.uid]);
          const { memoryBytes, cpuMillis, windowMs } = reading.workloads.get(workload.uid) ?? {};
          expect(memoryBytes).toBeGreaterThan(1024 * 1024);
          expect(cpuMillis).toBeGreaterThanOrEqual(0);
          expect(windowMs).toBeGreaterThan(0);
        }
        await remove(workload);
      });
    });

    describe('ensure', () => {
      it('makes a workload that becomes ready, with the identity and the annotations it was given', async () => {
        const workload = serving({ generation: 3, run: 5 });
        expect(await orchestrator.ensure(workload, never())).toEqual({ kind: 'ensured' });
        const seen = await becomes(orchestrator, workload, 'ready');
        expect(seen).toMatchObject({
          tenant: 'dev',
          podId: workload.podId,
          uid: workload.uid,
          generation: 3,
          run: 5,
          message: '',
          exitCode: null,
          signal: null,
          restarts: 0,
          storeId: 'store-1',
          commit: 7,
        });
        expect(Date.parse(seen.startTime ?? '')).toBeGreaterThan(Date.now() - 60_000);
        expect(seen.ageMs).toBeGreaterThanOrEqual(0);
        expect(seen.ageMs).toBeLessThan(60_000);
        const address = seen.addresses['default'];
        if (address === undefined) throw new Error('the default stanza has no address');
        await (harness.dial ?? dial)(address);
        await remove(workload);
      });

      it('changes nothing when it is repeated, at once or later', async () => {
        const workload = serving();
        const results = await Promise.all(Array.from({ length: 10 }, () => orchestrator.ensure(workload, never())));
        expect(results).toEqual(results.map(() => ({ kind: 'ensured' })));
        const first = await becomes(orchestrator, workload, 'ready');
        expect(await orchestrator.ensure(workload, never())).toEqual({ kind: 'ensured' });
        const second = await becomes(orchestrator, workload, 'ready');
        expect(second).toEqual({ ...first, ageMs: second.ageMs });
        expect(await workloadsOf(workload.podId)).toHaveLength(1);
        await remove(workload);
      });

      it.each([
        ['a later generation', { generation: 2 }],
        ['a later run', { run: 2 }],
        ['another uid', { uid: randomUUID() }],
      ])('waits for the removal of an older workload before it makes one of %s', async (_what, change) => {
        const older = serving();
        await ensured(orchestrator, older);
        await becomes(orchestrator, older, 'ready');
        const newer = { ...older, ...change };
        expect((await orchestrator.ensure(newer, never())).kind).toBe('wait');
        // Its removal has been started: it is never seen to run again.
        const going = await orchestrator.observe(older, never());
        expect(going.kind === 'workload' ? going.phase : going.kind).toMatch(/^(stopping|remains|absent)$/);
        await ensured(orchestrator, newer);
        expect(await becomes(orchestrator, newer, 'ready')).toMatchObject({ ...change, podId: older.podId });
        expect(await workloadsOf(older.podId)).toHaveLength(1);
        await remove(newer);
      });

      it('leaves a newer workload alone: a request made from an older commit is stale', async () => {
        const newer = serving({ annotations: { storeId: 'store-1', commit: 9, record: '{}', credential: null } });
        await ensured(orchestrator, newer);
        const before = await becomes(orchestrator, newer, 'ready');
        const late = { ...newer, uid: randomUUID(), annotations: { ...newer.annotations, commit: 8 } };
        expect((await orchestrator.ensure(late, never())).kind).toBe('wait');
        const after = await becomes(orchestrator, newer, 'ready');
        expect(after).toEqual({ ...before, ageMs: after.ageMs });
        await remove(newer);
        await becomesAbsent(orchestrator, newer);
      });

      it('waits while a workload of the same identity is being removed', async () => {
        const workload = behaving({ kind: 'serves', endsAfterMs: 700 });
        await ensured(orchestrator, workload);
        await becomes(orchestrator, workload, 'ready');
        await remove(workload, 'keep');
        expect((await orchestrator.ensure(workload, never())).kind).toBe('wait');
        await ensured(orchestrator, workload);
        await becomes(orchestrator, workload, 'ready');
        await remove(workload);
      });

      it('permanently refuses, with a sentence, a spec that it can never run', async () => {
        const result = await orchestrator.ensure(workloadSpec(harness.impossible), never());
        if (result.kind !== 'failed') throw new Error(`expected a failure, got ${result.kind}`);
        expect(result.retryable).toBe(false);
        expect(result.reason).toMatch(/^[A-Z].*\.$/);
      });
    });

    describe('remove and observe', () => {
      it('removes a workload, and a repeated removal does nothing', async () => {
        const workload = serving();
        await ensured(orchestrator, workload);
        await becomes(orchestrator, workload, 'ready');
        await Promise.all([remove(workload), remove(workload), remove(workload)]);
        expect(await becomesAbsent(orchestrator, workload)).toEqual({ kind: 'absent', data: false });
        await remove(workload);
        expect(await becomesAbsent(orchestrator, workload)).toEqual({ kind: 'absent', data: false });
        expect(await workloadsOf(workload.podId)).toEqual([]);
      });

      it('removes a workload that was only just accepted', async () => {
        const workload = serving();
        const [result] = await Promise.all([orchestrator.ensure(workload, never()), remove(workload)]);
        expect(result.kind).toBe('ensured');
        await remove(workload);
        await becomesAbsent(orchestrator, workload);
      });

      it('reports and touches only the workload with the given uid', async () => {
        const workload = serving();
        await ensured(orchestrator, workload);
        const before = await becomes(orchestrator, workload, 'ready');
        const stranger = { ...workload, uid: randomUUID() };
        expect(await orchestrator.observe(stranger, never())).toEqual({ kind: 'absent', data: false });
        await remove(stranger);
        const after = await becomes(orchestrator, workload, 'ready');
        expect(after).toEqual({ ...before, ageMs: after.ageMs });
        await remove(workload);
      });

      it('never removes a later run, nor lets an earlier run replace it', async () => {
        const workload = serving({ run: 5 });
        await ensured(orchestrator, workload);
        const before = await becomes(orchestrator, workload, 'ready');
        await orchestrator.remove(workload, { data: 'delete', run: 4 }, never());
        expect((await orchestrator.ensure({ ...workload, run: 4 }, never())).kind).toBe('wait');
        const after = await becomes(orchestrator, workload, 'ready');
        expect(after).toEqual({ ...before, ageMs: after.ageMs });
        await orchestrator.remove(workload, { data: 'delete', run: 6 }, never());
        await becomesAbsent(orchestrator, workload);
      });

      it('keeps data until its deletion is requested, for the same uid only', async () => {
        const counting = behaving({ kind: 'counts-starts' });
        const startsSeenBy = async (workload: WorkloadSpec) => {
          await ensured(orchestrator, workload);
          await becomes(orchestrator, workload, 'ready');
          const printed = await until('it has printed', () =>
            orchestrator.logs(workload, { tailBytes: 1_000 }, never()),
          );
          return printed.split('\n').filter((line) => line === 'start').length;
        };
        expect(await startsSeenBy(counting)).toBe(1);
        await remove(counting, 'keep');
        expect(await becomesAbsent(orchestrator, counting)).toEqual({ kind: 'absent', data: true });

        expect(await startsSeenBy({ ...counting, run: 2 })).toBe(2);
        await remove({ ...counting, run: 2 }, 'keep');
        await becomesAbsent(orchestrator, counting);

        const stranger = { ...counting, uid: randomUUID() };
        expect(await startsSeenBy(stranger)).toBe(1);
        await remove(stranger);
        await becomesAbsent(orchestrator, stranger);

        // Without a workload too.
        await remove(counting, 'delete');
        await until('the data is gone', async () => {
          const seen = await orchestrator.observe(counting, never());
          return seen.kind === 'absent' && !seen.data;
        });
        expect(await startsSeenBy({ ...counting, run: 3 })).toBe(1);
        await remove({ ...counting, run: 3 }, 'keep');
        await remove({ ...counting, run: 3 }, 'delete');
        expect(await becomesAbsent(orchestrator, counting)).toEqual({ kind: 'absent', data: false });
      });
    });

    describe('a program that ends', () => {
      it('with code 0 completes the workload', async () => {
        const workload = behaving({ kind: 'exits', code: 0, line: 'all done' });
        await ensured(orchestrator, workload);
        expect(await becomes(orchestrator, workload, 'completed')).toMatchObject({
          exitCode: 0,
          signal: null,
          restarts: 0,
        });
        expect(await orchestrator.logs(workload, { tailBytes: 1_000 }, never())).toBe('all done\n');
        await remove(workload);
        await becomesAbsent(orchestrator, workload);
      });

      it('with repeated failures is crashing, with the reason', async () => {
        const workload = behaving({ kind: 'exits', code: 3, line: 'alas' });
        await ensured(orchestrator, workload);
        const seen = await becomes(orchestrator, workload, 'crashing');
        expect(seen.exitCode).toBe(3);
        expect(seen.restarts).toBeGreaterThanOrEqual(2);
        expect(seen.message).toContain('exited with code 3');
        expect(seen.addresses).toEqual({});
        await remove(workload);
        await becomesAbsent(orchestrator, workload);
      });
    });

    describe('logs', () => {
      it('are the last bytes of the output, and empty for a missing workload', async () => {
        const workload = behaving({ kind: 'exits', code: 0, line: 'a line' });
        expect(await orchestrator.logs(workload, { tailBytes: 100 }, never())).toBe('');
        await ensured(orchestrator, workload);
        await becomes(orchestrator, workload, 'completed');
        expect(await orchestrator.logs(workload, { tailBytes: 100 }, never())).toBe('a line\n');
        expect(Buffer.byteLength(await orchestrator.logs(workload, { tailBytes: 4 }, never()))).toBeLessThanOrEqual(4);
        await remove(workload);
      });

      it('are read from a mark on, and a missing workload has none', async () => {
        const workload = behaving({ kind: 'exits', code: 0, line: 'a line' });
        const after = (mark: string) => orchestrator.output.after(workload, { mark, mostBytes: 64 * 1024 }, never());
        expect(await after('')).toEqual({ text: '', mark: '', isAll: true });
        await ensured(orchestrator, workload);
        await becomes(orchestrator, workload, 'completed');
        const all = await after('');
        expect(all).toMatchObject({ text: 'a line\n', isAll: true });
        expect(await after(all.mark)).toMatchObject({ text: '', isAll: true });
        await remove(workload);
      });
    });

    describe('list', () => {
      it('has every workload, whatever its phase', async () => {
        const workloads = [serving(), serving(), behaving({ kind: 'exits', code: 0, line: 'x' })];
        await Promise.all(workloads.map((workload) => ensured(orchestrator, workload)));
        const uids = (await orchestrator.list(never())).map((workload) => workload.uid);
        for (const { uid } of workloads) expect(uids.filter((each) => each === uid)).toHaveLength(1);
        await Promise.all(workloads.map(removed));
        const left = (await orchestrator.list(never())).map((workload) => workload.uid);
        for (const { uid } of workloads) expect(left).not.toContain(uid);
      });
    });

    describe('records', () => {
      it('returns the annotations of every workload unchanged', async () => {
        const annotations = {
          storeId: 'store-1',
          commit: 7,
          record: JSON.stringify({ name: 'Grüße, "pod"\n', list: [1, null] }),
          credential: 'v1.c2VhbGVk',
        };
        const workloads = [serving({ annotations }), behaving({ kind: 'exits', code: 0, line: 'x' })];
        await Promise.all(workloads.map((workload) => ensured(orchestrator, workload)));
        const records = await orchestrator.records(never());
        for (const { tenant, podId, uid, annotations: written } of workloads) {
          expect(records.filter((each) => each.uid === uid)).toEqual([{ tenant, podId, uid, ...written }]);
        }
        await Promise.all(workloads.map(removed));
        const left = (await orchestrator.records(never())).map(({ uid }) => uid);
        for (const { uid } of workloads) expect(left).not.toContain(uid);
      });
    });

    describe('glimpse', () => {
      it('soon returns the same as observe, and nothing for another uid', async () => {
        const workload = serving();
        await ensured(orchestrator, workload);
        const seen = await becomes(orchestrator, workload, 'ready');
        const glimpsed = await until('ready is told', () => {
          const glimpse = orchestrator.glimpse(workload);
          return glimpse.kind === 'workload' && glimpse.phase === 'ready' ? glimpse : null;
        });
        expect(glimpsed).toEqual({ ...seen, ageMs: glimpsed.ageMs });
        expect(orchestrator.glimpse({ ...workload, uid: randomUUID() }).kind).toBe('absent');
        await remove(workload);
        await becomesAbsent(orchestrator, workload);
        await until('its end is told', () => orchestrator.glimpse(workload).kind === 'absent');
      });

      it('is unknown before the first list', () => {
        expect(harness.idle.glimpse(serving()).kind).toBe('unknown');
      });
    });

    describe('watch', () => {
      it('reports present workloads and every change, and ends with its signal', async () => {
        const workload = serving();
        const end = new AbortController();
        const events: WorkloadEvent[] = [];
        const watching = (async () => {
          for await (const event of orchestrator.watch(end.signal)) events.push(event);
        })();
        const eventsOfPod = () => events.filter((event) => event.podId === workload.podId).length;
        await ensured(orchestrator, workload);
        await until('the start is told', () => eventsOfPod() > 0);
        // Whoever looks after each event sees ready without asking in between.
        await until('ready is told', async () => {
          const seenAt = eventsOfPod();
          const seen = await orchestrator.observe(workload, never());
          return seen.kind === 'workload' && seen.phase === 'ready' && seenAt > 0;
        });

        const late = new AbortController();
        for await (const event of orchestrator.watch(late.signal)) if (event.podId === workload.podId) late.abort();

        const before = eventsOfPod();
        await remove(workload);
        await becomesAbsent(orchestrator, workload);
        await until('the removal is told', () => eventsOfPod() > before);
        end.abort();
        await watching;
      });

      it('ends at once when its signal is already aborted', async () => {
        const aborted = AbortSignal.abort();
        for await (const event of orchestrator.watch(aborted)) throw new Error(`unexpected ${event.kind}`);
      });
    });

    // One after the other: they share a pod.
    describe('shell', { concurrent: false }, () => {
      const greeted = () => {
        const { environmentVariables, ...spec } = harness.specOf({ kind: 'serves' });
        return workloadSpec({ ...spec, environmentVariables: { ...environmentVariables, GREETING: "it's me" } });
      };
      describeShell(() => ({ orchestrator, serving: greeted }));
    });

    it('reports that it is unavailable, within its deadline, while it has no connection', async () => {
      const workload = serving();
      const { idle } = harness;
      const asks: (() => Promise<unknown>)[] = [
        () => idle.ensure(workload, never()),
        () => idle.remove(workload, { data: 'keep', run: 1 }, never()),
        () => idle.observe(workload, never()),
        () => idle.list(never()),
        () => idle.records(never()),
        () => idle.logs(workload, { tailBytes: 10 }, never()),
        () => idle.shell.exec(workload, { command: ['true'], outputMaxBytes: 10, deadlineMs: 30_000 }, never()),
      ];
      for (const ask of asks) {
        const error = await ask().catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(PodgateError);
        expect(error).toMatchObject({ code: 'orchestrator.unavailable' });
      }
    });
  });
}

function dial(place: StanzaAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connectGuarded({ host: place.address, port: place.port }, place);
    socket.once('error', reject);
    onConnected(socket, place, () => {
      socket.destroy();
      resolve();
    });
  });
}
