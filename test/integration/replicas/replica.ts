import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createHealthLoop } from '../../../control/resources/pods/reconcile/health-loop.ts';
import { createUsageOf } from '../../../control/objects/quota/count-usage.ts';
import { createUsageAudit } from '../../../control/objects/quota/usage-audit.ts';
import { createLeadership } from '../../../control/leadership/leadership.ts';
import { createStoreJudge, type StoreJudge } from '../../../control/store/store-judge.ts';
import { createCancelRelay } from '../../../control/workers/cancel-relay.ts';
import { serveFeed } from '../../../control/workers/feed-server.ts';
import { createRoutableEverywhere, type RoutableEverywhere } from '../../../control/workers/routable-everywhere.ts';
import { ServedCertificates } from '../../../control/workers/served-certificates.ts';
import { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import type { Leadership } from '../../../core/leadership.ts';
import type { ControlMessage } from '../../../core/feed-protocol.ts';
import { startRunChange } from '../../../core/lifecycle/plan.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { podKey } from '../../../core/ids.ts';
import { podPut } from '../../../core/pod-put.ts';
import type { Route } from '../../../core/route.ts';
import { createSpawner } from '../../../spawner/spawner.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import type { MemoryOrchestrator } from './memory-orchestrator.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

/** Short, so that a test of a lost leader is short. */
export const LEASE = { leaseMs: 2_000, renewEveryMs: 500, retryMs: 200 };

/** A gateway worker, as far as the feed sees one. It applies what it is told at once, unless it is held up. */
export class FakeWorker {
  readonly routes = new Map<string, Route>();
  readonly cancels: ControlMessage[] = [];
  isHeldUp = false;
  onChange: () => void = () => undefined;
  readonly socket: Socket;
  #epoch = '';
  #sequence = 0;
  #isReady = false;

  constructor(path: string, number: number) {
    this.socket = connect(path);
    this.socket.on('error', () => undefined);
    this.#say({ kind: 'hello', worker: number, pid: number * 11 });
    const lines = createInterface({ input: this.socket });
    // It passes on the errors of its input.
    lines.on('error', () => undefined);
    lines.on('line', (line) => this.#told(JSON.parse(line) as ControlMessage));
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  goOn(): void {
    this.isHeldUp = false;
    this.#applied();
  }

  #told(message: ControlMessage): void {
    switch (message.kind) {
      case 'hello':
        this.#epoch = message.epoch;
        return;
      case 'routes':
        for (const route of message.routes) this.routes.set(route.host, route);
        return;
      case 'change':
        for (const route of message.set) this.routes.set(route.host, route);
        for (const host of message.removed) this.routes.delete(host);
        this.#sequence = message.sequence;
        this.#applied();
        return;
      case 'snapshot-begin':
        this.routes.clear();
        return;
      case 'snapshot-end':
        this.#sequence = message.sequence;
        this.#isReady = true;
        this.#applied();
        return;
      case 'cancel':
        this.cancels.push(message);
        return;
      default:
    }
  }

  #applied(): void {
    this.onChange();
    if (!this.isHeldUp) this.#say({ kind: 'applied', epoch: this.#epoch, sequence: this.#sequence });
  }

  #say(message: object): void {
    this.socket.write(`${JSON.stringify(message)}\n`);
  }
}

/** One whole control plane on a shared Redis and shared workloads, with fake workers. */
export class Replica {
  readonly name: string;
  readonly database: RedisDatabase;
  readonly feed: ControlRouteFeed;
  readonly judge: StoreJudge;
  readonly leadership: Leadership;
  readonly routable: RoutableEverywhere;
  readonly workers: FakeWorker[] = [];
  readonly #directory: string;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;
  #hasEnded = false;

  static async start(name: string, url: string, workloads: MemoryOrchestrator, workers = 1): Promise<Replica> {
    const database = await openRedisDatabase({ url, site: 'test', replicaId: name, shared: 'same', log: silentLog });
    const replica = new Replica(name, database, workloads);
    for (let number = 1; number <= workers; number++) {
      const worker = await until('the feed is served', async () => {
        const candidate = new FakeWorker(join(replica.#directory, 'feed.sock'), number);
        await new Promise((resolve, reject) => {
          candidate.socket.once('connect', resolve);
          candidate.socket.once('error', reject);
        });
        return candidate;
      });
      replica.workers.push(worker);
    }
    return replica;
  }

  private constructor(name: string, database: RedisDatabase, workloads: MemoryOrchestrator) {
    this.name = name;
    this.database = database;
    this.#directory = mkdtempSync(join(tmpdir(), 'podgate-replica-'));
    const { store, queue, logs, lock, replicas } = database;
    const orchestrator = workloads.view(name);
    this.judge = createStoreJudge({ store, guard: database.guard, orchestrator });
    this.feed = new ControlRouteFeed({
      store,
      log: silentLog,
      baseHostOf: () => 'localhost',
      glimpse: (ref) => orchestrator.glimpse(ref),
      isStoreHealthy: async (signal) => (await this.judge.judge(signal)).trust.kind === 'healthy',
    });
    this.leadership = createLeadership({ lock, name: 'health', clock, log: silentLog, ...LEASE });
    this.routable = createRoutableEverywhere({ feed: this.feed, replicas });
    const health = createHealthLoop({
      usageAudit: createUsageAudit(createUsageOf(() => false)),
      reseal: async () => undefined,
      store,
      queue,
      logs,
      orchestrator,
      judge: this.judge,
      leadership: this.leadership,
      clock,
      log: silentLog,
      observed: (key, uid, observation) => this.feed.observed(key, uid, observation),
      look: (key) => this.feed.look(key),
      lookAtAll: () => this.feed.lookAtAll(),
      passed: () => this.feed.observationsComplete(),
      passEveryMs: 200,
    });
    const spawner = createSpawner({
      store,
      queue,
      logs,
      orchestrator,
      vault: { seal: (text) => text, open: (text) => text, isOfFirstKey: () => true },
      templates: { find: () => null, list: () => [] },
      clock,
      log: silentLog,
      hostsOf: () => ({}),
      publicHttpsPort: 443,
      concurrency: 4,
      mayWork: () => this.judge.trust()?.kind === 'healthy',
      trusted: () => this.judge.trusted(),
    });
    const { signal } = this.#stop;
    const path = join(this.#directory, 'feed.sock');
    const cancels = createCancelRelay({ replicas, clock });
    this.#running = Promise.all([
      this.feed.run(signal),
      serveFeed(
        {
          feed: this.feed,
          certificates: new ServedCertificates([]),
          path,
          epoch: name,
          baseHosts: ['localhost'],
          log: silentLog,
          cancels,
        },
        signal,
      ),
      health.run(signal),
      spawner.run(signal),
      replicas.run(signal),
      this.routable.run(signal),
    ]);
  }

  async ready(): Promise<void> {
    await until(`the table of ${this.name} is complete`, () => this.workers.every((worker) => worker.isReady));
  }

  async create(podId: string): Promise<PodRecord> {
    const spec = podSpec({ timeToStopDefault: -1 });
    const base = podRecord({ podId, uid: `uid-${podId}`, applied: null, run: 0, spec });
    const record: PodRecord = { ...base, ...startRunChange(base) };
    const put = podPut(record, 'absent');
    const result = await this.database.store.commit({ puts: [put], enqueue: [{ key: put.key }] });
    if (result.kind !== 'committed') throw new Error(result.kind);
    return record;
  }

  async record(podId: string): Promise<PodRecord | null> {
    return (await this.database.store.get('pod', podKey('default', podId)))?.value ?? null;
  }

  /** By compare-and-set, as the API does it. */
  async change(podId: string, change: (record: PodRecord) => Partial<PodRecord>): Promise<void> {
    await until(`${podId} is changed`, async () => {
      const stored = await this.database.store.get('pod', podKey('default', podId));
      if (stored === null) throw new Error(`no ${podId}`);
      const value = { ...stored.value, ...change(stored.value) };
      return (await this.database.store.commit({ puts: [podPut(value, stored.revision)] })).kind === 'committed';
    });
  }

  /** As when the process is killed: nothing is given back and nobody is told. */
  async kill(): Promise<void> {
    this.database.close();
    await this.end();
  }

  async end(): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#stop.abort();
    await this.#running;
    for (const worker of this.workers) worker.socket.destroy();
    this.database.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
