import { expect, test } from 'vitest';
import { actingParts } from '../../control/resources/pods/reconcile/acting-parts.ts';
import { OrphanWatch } from '../../control/resources/pods/reconcile/orphan-watch.ts';
import { reconcilePod, type ReconcileParts } from '../../control/resources/pods/reconcile/reconcile-pod.ts';
import { ControlRouteFeed } from '../../control/routes/route-feed.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../control/store/sqlite/sqlite-database.ts';
import { podKey } from '../../core/ids.ts';
import type { Term } from '../../core/leadership.ts';
import { judgeStore } from '../../core/lifecycle/clean-up.ts';
import type { PodRecord } from '../../core/pod.ts';
import { parseQueueKey } from '../../core/queue.ts';
import type { Store } from '../../core/store.ts';
import { type Fence, fenceOf } from '../../core/lock.ts';
import { spawnPod } from '../../spawner/spawn-pod.ts';
import { silentLog } from '../support/silent-log.ts';
import { Promises } from '../support/promises.ts';
import { Chance, type FaultRates, NO_FAULTS, Scheduler, SimProcess } from './scheduler.ts';
import { SimOrchestrator } from './sim-orchestrator.ts';
import { actAsUser, decideSleep, POD_IDS, TENANT, wakeByClient } from './sim-users.ts';
import { SimClock, simLock, simLogs, simOrchestrator, simQueue, simStore } from './sim-world.ts';

const STEPS = Number(process.env['PODGATE_SIM_STEPS'] ?? 120_000);
const SEED = Number(process.env['PODGATE_SIM_SEED'] ?? Math.floor(Math.random() * 1e9));
const ROUGH: FaultRates = { fails: 0.02, answerLost: 0.02, crash: 0.004 };
const LEASE_MS = 30_000;
const LEADER_LEASE_MS = 3_000;
const SETTLE_STEPS = 8_000;
const LONG_AGO_MS = 11 * 60_000;

/**
 * Three replicas of the control plane, each with health loop, spawners, users at its API and a route feed. Whichever holds
 * the lease acts; now and then one takes it for granted that its own clock has stood still meanwhile.
 */
class Simulation {
  readonly scheduler: Scheduler;
  readonly clock = new SimClock();
  readonly promises = new Promises();
  readonly database: SqliteDatabase;
  readonly orchestrator: SimOrchestrator;
  readonly #chance: Chance;
  readonly #woken = new Set<string>();
  /** By replica: its feed, and what ends it. */
  readonly #feeds = new Map<string, { feed: ControlRouteFeed; stop: AbortController }>();
  isRough = true;
  /** Users act and workloads fail so seldom that pods run, sleep and wake in between. */
  isQuiet = false;
  /** Pods are put to sleep, and woken by clients: also for a while after everything else has calmed down. */
  isSleepy = true;
  readonly counts = { crashes: 0, spawns: 0, userActions: 0, terms: 0, fenced: 0, sleeps: 0, wakes: 0 };
  /** The greatest fence with which anything was written. */
  #fenceUsed = 0;

  constructor(seed: number) {
    this.#chance = new Chance(seed);
    this.scheduler = new Scheduler(this.#chance, ROUGH);
    this.database = openSqliteDatabase({ path: ':memory:', clock: this.clock, log: silentLog });
    this.orchestrator = new SimOrchestrator(
      this.#chance,
      () => this.clock.monotonicMs(),
      (key) => this.#woken.add(key),
    );
    this.scheduler.onCrash = (process) => {
      this.counts.crashes += 1;
      this.#startReplica(process.name);
    };
    for (const name of ['replica 1', 'replica 2', 'replica 3']) this.#startReplica(name);
  }

  #startReplica(name: string): void {
    const process = new SimProcess(name);
    const { scheduler, clock } = this;
    const store = simStore(this.#watchedStore(), scheduler, process);
    const lock = simLock(this.database.lock, scheduler, process);
    let acting: { readonly term: Term; readonly parts: ReconcileParts; readonly orphans: OrphanWatch } | null = null;
    const logs = simLogs(this.database.logs, scheduler, process);
    const queue = simQueue(this.database.queue, scheduler, process);
    const orchestrator = simOrchestrator(this.orchestrator, scheduler, process);
    const feed = new ControlRouteFeed({
      store: this.database.store,
      log: silentLog,
      baseHostOf: () => 'localhost',
    });
    const stop = new AbortController();
    const { signal } = stop;
    this.#feeds.get(name)?.stop.abort();
    this.#feeds.set(name, { feed, stop });
    void feed.run(signal);
    const health = {
      store,
      queue,
      logs,
      orchestrator,
      clock,
      log: silentLog,
      observed: (key: string, uid: string, observation: Parameters<ControlRouteFeed['observed']>[2]) =>
        feed.observed(key, uid, observation),
    };
    const spawner = {
      store,
      logs,
      orchestrator,
      clock,
      vault: { seal: (text: string) => text, open: (text: string) => text, isOfFirstKey: () => true },
      templates: { find: () => null, list: () => [] },
      hostsOf: () => ({}),
      publicHttpsPort: 443,
    };
    const pause = () => scheduler.call(process, 'pause', () => undefined);
    const task = (turn: () => Promise<void>) => {
      void (async () => {
        while (process.isAlive) {
          await turn().catch(() => undefined);
          await pause().catch(() => undefined);
        }
      })();
    };
    task(async () => {
      const askedAtMs = clock.monotonicMs();
      const lease = await lock.acquire('health', LEADER_LEASE_MS);
      if (lease === null) return;
      this.counts.terms += 1;
      const term = this.#begin(fenceOf(lease), askedAtMs);
      const parts = actingParts(health, term);
      if ((await parts.store.commit({})).kind !== 'committed') return;
      acting = {
        term,
        parts,
        orphans: new OrphanWatch({ ...parts, orchestrator: { ...orchestrator, ...parts.orchestrator } }),
      };
      try {
        while (!term.isOver()) {
          const renewedAtMs = clock.monotonicMs();
          if (!(await lock.renew(lease, LEADER_LEASE_MS))) term.end('lost');
          else term.lastsFrom(renewedAtMs);
          await pause();
        }
      } finally {
        acting = null;
      }
    });
    for (let i = 0; i < 2; i += 1) {
      task(async () => {
        const key = this.#chance.isHit(0.5) ? [...this.#woken][0] : podKey(TENANT, this.#chance.pick(POD_IDS));
        if (key === undefined) return;
        this.#woken.delete(key);
        if (acting === null) return;
        await reconcilePod(acting.parts, key, acting.term.signal);
      });
      task(async () => {
        const claim = await queue.claim(LEASE_MS, signal);
        if (claim === null) return;
        this.counts.spawns += 1;
        const outcome = await spawnPod(spawner, parseQueueKey(claim.key).key, signal);
        if (outcome.kind === 'done') await queue.acknowledge(claim);
        else await queue.retry(claim, outcome.kind === 'later' ? outcome.delayMs : 100);
      });
      task(async () => {
        if (!this.isRough || (this.isQuiet && !this.#chance.isHit(0.005))) return;
        this.counts.userActions += 1;
        await actAsUser(store, this.#chance, clock.now(), this.promises);
      });
    }
    task(async () => {
      if (!this.isSleepy || acting === null) return;
      if (await decideSleep(acting.parts.store, this.#chance, clock.now())) this.counts.sleeps += 1;
    });
    task(async () => {
      if (this.isSleepy && (await wakeByClient(store, this.#chance))) this.counts.wakes += 1;
    });
    task(async () => {
      if (acting === null) return;
      const { orphans } = acting;
      const workloads = await orchestrator.list(signal);
      const identity = await store.identity();
      const trust = judgeStore(identity, workloads);
      expect(trust, 'a store that lost nothing is healthy').toEqual({ kind: 'healthy' });
      const records = await store.list('pod', { limit: 100 });
      const uids = new Set(records.map(({ value }) => value.uid));
      await orphans.pass(
        trust,
        workloads.filter(({ uid }) => !uids.has(uid)),
        workloads.length,
        signal,
      );
      for (const { key } of records) this.#woken.add(key);
    });
  }

  /** The laws of a term, without the timers of leadership.ts: the simulation's clock has none. */
  #begin(fence: Fence, askedAtMs: number): Term & { lastsFrom(askedAtMs: number): void } {
    const over = new AbortController();
    // As on a machine that was suspended: then the fence alone is left.
    const stoodStill = this.#chance.isHit(0.3);
    let untilMs = askedAtMs + LEADER_LEASE_MS;
    return {
      fence,
      signal: over.signal,
      isOver: () => {
        if (!stoodStill && this.clock.monotonicMs() >= untilMs) over.abort();
        return over.signal.aborted;
      },
      end: () => over.abort(),
      lastsFrom: (renewedAtMs) => (untilMs = renewedAtMs + LEADER_LEASE_MS),
    };
  }

  /** The store of all, which sees whose writes get through. */
  #watchedStore(): Store {
    const { store } = this.database;
    return {
      ...store,
      commit: async (batch) => {
        const result = await store.commit(batch);
        if (result.kind === 'fenced') this.counts.fenced += 1;
        if (result.kind === 'committed' && batch.fence !== undefined) {
          expect(batch.fence.number, 'who led before writes no more').toBeGreaterThanOrEqual(this.#fenceUsed);
          this.#fenceUsed = batch.fence.number;
        }
        return result;
      },
    };
  }

  /** Plays one step and checks what must hold at every moment. */
  async step(): Promise<void> {
    if (this.#chance.isHit(0.2)) this.orchestrator.advance(this.isRough && !this.isQuiet);
    this.clock.advance(this.#chance.below(40));
    // Long enough for any leader to lose its lease in the middle of its work.
    if (this.isRough && this.#chance.isHit(0.002)) this.clock.advance(2 * LEADER_LEASE_MS);
    if (this.isRough && this.#chance.isHit(0.0005)) this.clock.jumpWall((this.#chance.below(3) - 1) * 12 * 3_600_000);
    await this.scheduler.step();
    this.#checkRoutes();
  }

  #checkRoutes(): void {
    for (const { feed } of this.#feeds.values()) {
      for (const { uid, backend, podId } of feed.routes()) {
        if (backend === null) continue;
        expect(backend.uid, `the route of ${podId} leads to its own workload`).toBe(uid);
        expect(this.orchestrator.ownersEver.get(backend.address), `${backend.address} was ${podId}'s`).toContain(uid);
      }
    }
  }

  async checkStore(): Promise<void> {
    for (const podId of POD_IDS) {
      const key = podKey(TENANT, podId);
      const record = (await this.database.store.get('pod', key))?.value ?? null;
      const mark = record === null || record.deleting !== null ? null : record.spec.description;
      expect(this.promises.problem(key, mark)).toBeNull();
      // Data goes only with its pod.
      if (record !== null && record.deleting === null) expect(this.orchestrator.dataDeleted).not.toContain(record.uid);
    }
  }

  /** Lets the outside behave, and time pass, until everything is where it belongs. */
  async settle(): Promise<void> {
    this.isRough = false;
    this.scheduler.faults = NO_FAULTS;
    for (let i = 0; i < SETTLE_STEPS; i += 1) {
      await this.step();
      if (i % 40 === 0) this.clock.advance(500);
    }
    this.isSleepy = false;
    this.clock.advance(LONG_AGO_MS);
    for (let i = 0; i < SETTLE_STEPS; i += 1) {
      await this.step();
      if (i % 40 === 0) this.clock.advance(500);
    }
    await this.checkStore();
    const records = (await this.database.store.list('pod', { limit: 100 })).map(({ value }) => value);
    for (const record of records) expect(this.#goalProblem(record), JSON.stringify(record)).toBeNull();
    for (const workload of this.orchestrator.list()) {
      const owner = records.find(({ uid }) => uid === workload.uid);
      expect(owner, `the workload of ${workload.podId} belongs to a pod`).toBeDefined();
    }
    for (const { feed } of this.#feeds.values()) {
      for (const { backend, uid, podId } of feed.routes()) {
        if (backend !== null) expect(this.orchestrator.ownerOf(backend.address), podId).toBe(uid);
      }
    }
  }

  #goalProblem(record: PodRecord): string | null {
    const workload = this.orchestrator.list().find(({ uid }) => uid === record.uid);
    if (record.deleting !== null) return 'a deleted pod is still there';
    if (record.wish === 'OFF') return record.status === 'STOPPED' && workload === undefined ? null : 'not stopped';
    if (record.wish === 'RESTART') return 'RESTART has not become ON';
    if (record.status === 'ASLEEP') return workload === undefined ? null : 'asleep, and its workload runs';
    if ((record.sleep ?? null) !== null) return `${record.status}, and kept from its clients`;
    if (record.status === 'RUNNING') return workload?.phase === 'ready' ? null : 'RUNNING without a ready workload';
    return record.status === 'COMPLETE' || record.status === 'ERROR' ? null : `stuck in ${record.status}`;
  }

  end(): void {
    for (const { stop } of this.#feeds.values()) stop.abort();
    this.scheduler.faults = NO_FAULTS;
    this.database.close();
  }
}

test(`whatever crashes, is repeated or arrives late, no promise is broken and no pod is stuck (seed ${SEED})`, async () => {
  const simulation = new Simulation(SEED);
  try {
    while (simulation.scheduler.steps < STEPS) {
      simulation.isRough = true;
      simulation.isSleepy = true;
      simulation.isQuiet = !simulation.isQuiet;
      simulation.scheduler.faults = ROUGH;
      const until = simulation.scheduler.steps + 20_000;
      while (simulation.scheduler.steps < until) {
        await simulation.step();
        if (simulation.scheduler.steps % 100 === 0) await simulation.checkStore();
      }
      await simulation.settle();
    }
    console.log(`simulation: seed ${SEED}, ${simulation.scheduler.steps} steps, ${JSON.stringify(simulation.counts)}`);
    expect(simulation.counts.crashes).toBeGreaterThan(STEPS / 2_000);
    expect(simulation.counts.sleeps, 'pods went to sleep').toBeGreaterThan(0);
    expect(simulation.counts.wakes, 'pods were woken').toBeGreaterThan(0);
  } catch (error) {
    console.error(
      `seed ${SEED}, step ${simulation.scheduler.steps}\n${simulation.scheduler.trail.slice(-60).join('\n')}`,
    );
    throw error;
  } finally {
    simulation.end();
  }
});
