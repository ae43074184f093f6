import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { PodgateError } from '../../../core/errors.ts';
import { podKey } from '../../../core/ids.ts';
import type { Orchestrator } from '../../../core/orchestrator.ts';
import type { EnsureResult, WorkloadSpec } from '../../../core/workloads.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { podPut } from '../../../core/pod-put.ts';
import { queueKey } from '../../../core/queue.ts';
import type { Vault } from '../../../core/vault.ts';
import { createSpawner } from '../../../spawner/spawner.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

/** Seals nothing: what is tested is whose context it is opened with. */
const vault: Vault = {
  seal: (plaintext, context) => `${context}:${plaintext}`,
  isOfFirstKey: () => true,
  open: (sealed, context) => {
    if (!sealed.startsWith(`${context}:`)) throw new PodgateError('vault.cannot-open');
    return sealed.slice(context.length + 1);
  },
};

type Answer = EnsureResult | Error | (() => Promise<EnsureResult>);

describe('the spawner', () => {
  let database: SqliteDatabase;
  let end: AbortController;
  let running: Promise<void> | null;
  let asked: WorkloadSpec[];
  let answers: Map<string, Answer[]>;
  let mayWork: boolean;

  beforeEach(() => {
    const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
    database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog });
    end = new AbortController();
    running = null;
    asked = [];
    answers = new Map();
    mayWork = true;
  });
  afterEach(async () => {
    end.abort();
    await running;
    database.close();
  });

  /** Answers what it was told to, then 'ensured'. */
  const ensure: Orchestrator['ensure'] = async (workload) => {
    asked.push(workload);
    const answer = answers.get(workload.podId)?.shift() ?? { kind: 'ensured' };
    if (answer instanceof Error) throw answer;
    return typeof answer === 'function' ? answer() : answer;
  };

  function start(concurrency = 4): void {
    const spawner = createSpawner({
      store: database.store,
      queue: database.queue,
      logs: database.logs,
      orchestrator: { ensure },
      vault,
      templates: createTemplateCatalog(),
      clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
      log: silentLog,
      hostsOf: (record) => ({ default: `${record.podId}.pods.localhost` }),
      publicHttpsPort: 8443,
      concurrency,
      mayWork: () => mayWork,
      trusted: () => never.signal,
    });
    running = spawner.run(end.signal);
  }

  const never = new AbortController();
  const keyOf = (podId: string) => podKey('dev', podId);
  async function create(podId: string, change: Partial<PodRecord> = {}): Promise<void> {
    const record = podRecord({
      tenant: 'dev',
      podId,
      uid: `uid-${podId}`,
      status: 'REQUESTED',
      applied: null,
      generation: 3,
      run: 2,
      ...change,
    });
    await database.store.commit({
      puts: [podPut(record, 'absent')],
      enqueue: [{ key: queueKey('pod', keyOf(podId)) }],
    });
  }
  const read = async (podId: string) => (await database.store.get('pod', keyOf(podId)))?.value;
  const reaches = (podId: string, status: PodRecord['status']) =>
    until(`${podId} is ${status}`, async () => ((await read(podId))?.status === status ? await read(podId) : null));
  const isIdle = async () => {
    const { due, delayed, leased } = await database.queue.stats();
    return due + delayed + leased === 0;
  };
  const actionsOf = async (podId: string) =>
    (await database.logs.actions(`uid-${podId}`)).map((line) => line.slice('26/11/23 20:00: '.length));

  it('takes over what a release without kinds has queued, once, however often it is queued', async () => {
    await create('mypod');
    await database.queue.add(keyOf('mypod'));
    start();
    await reaches('mypod', 'CREATING_CONTAINER');
    await until('the queue is empty', isIdle);
    await database.queue.add(keyOf('mypod'));
    await until('the queue is empty', isIdle);
    expect(asked).toHaveLength(1);
  });

  it('takes over a pod that only such a release has queued', async () => {
    const record = podRecord({ tenant: 'dev', podId: 'mypod', uid: 'uid-mypod', status: 'REQUESTED', applied: null });
    await database.store.commit({ puts: [podPut(record, 'absent')], enqueue: [{ key: 'dev/mypod' }] });
    start();
    await reaches('mypod', 'CREATING_CONTAINER');
    await until('the queue is empty', isIdle);
  });

  it('leaves an unknown kind to the replicas that know it', async () => {
    await database.queue.add('later-kind/dev/one');
    await create('mypod');
    start(1);
    await reaches('mypod', 'CREATING_CONTAINER');
    await until('it waits', async () => (await database.queue.stats()).delayed === 1);
    expect(asked).toHaveLength(1);
  });

  it('moves a requested pod to CREATING_CONTAINER and then settles its key', async () => {
    start();
    await create('mypod');
    const record = await reaches('mypod', 'CREATING_CONTAINER');
    expect(record.applied).toEqual({ generation: 3, run: 2, spec: record.spec });
    await until('the queue is empty', isIdle);
    const { storeId, commits } = await database.store.identity();
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      tenant: 'dev',
      podId: 'mypod',
      uid: 'uid-mypod',
      generation: 3,
      run: 2,
      spec: record.spec,
      credentials: null,
      hosts: { default: 'mypod.pods.localhost' },
      publicHttpsPort: 8443,
      annotations: { storeId },
    });
    expect(asked[0]?.annotations.commit).toBeLessThanOrEqual(commits);
    expect(JSON.parse(asked[0]?.annotations.record ?? '')).toMatchObject({ uid: 'uid-mypod', run: 2 });
    expect(await actionsOf('mypod')).toEqual([
      'spawner set status to SPAWNER_SETUP',
      'spawner set status to CREATING_CONTAINER',
    ]);
  });

  it('creates nothing for a key while the store is not trusted, and retries it later', async () => {
    start();
    await create('before');
    await reaches('before', 'CREATING_CONTAINER');
    // By now every claimer waits for a key.
    mayWork = false;
    await create('meanwhile');
    await until('the key is given back', async () => (await database.queue.stats()).delayed === 1);
    expect((await read('meanwhile'))?.status).toBe('REQUESTED');
    mayWork = true;
    await reaches('meanwhile', 'CREATING_CONTAINER');
    expect(asked.map(({ podId }) => podId)).toEqual(['before', 'meanwhile']);
  });

  it.each<[string, Partial<PodRecord>]>([
    ['is no longer wished', { wish: 'OFF' }],
    ['is being deleted', { deleting: { keepVolume: false } }],
    ['runs', { status: 'RUNNING' }],
  ])('leaves a pod alone that %s', async (_what, change) => {
    start();
    await create('mypod', change);
    await until('the queue is empty', isIdle);
    expect(asked).toEqual([]);
    expect(await actionsOf('mypod')).toEqual([]);
  });

  it('continues what a dead spawner has claimed', async () => {
    const spec = podSpec();
    start();
    await create('mypod', { status: 'SPAWNER_SETUP', applied: { generation: 3, run: 2, spec } });
    await reaches('mypod', 'CREATING_CONTAINER');
    expect(await actionsOf('mypod')).toEqual(['spawner set status to CREATING_CONTAINER']);
  });

  it('retries soon while an older workload is in the way', async () => {
    const wait: Answer = { kind: 'wait', reason: 'an older one is being stopped' };
    answers.set('mypod', [wait, wait, wait]);
    start();
    const begunMs = performance.now();
    await create('mypod');
    await reaches('mypod', 'CREATING_CONTAINER');
    expect(asked).toHaveLength(4);
    // 100 + 200 + 400 ms at least, and no failed try of the pod's.
    expect(performance.now() - begunMs).toBeGreaterThan(600);
    expect((await read('mypod'))?.attempts).toBe(0);
  });

  it('retries when the orchestrator does not respond, which is not a failure of the pod', async () => {
    answers.set('mypod', [new PodgateError('orchestrator.unavailable'), new Error('a surprise')]);
    start();
    await create('mypod');
    await reaches('mypod', 'CREATING_CONTAINER');
    expect(asked).toHaveLength(3);
    expect((await read('mypod'))?.attempts).toBe(0);
  });

  it('sets a pod aside whose start keeps failing, says why, and retries it when it is restarted', async () => {
    answers.set(
      'poison',
      Array.from({ length: 5 }, () => new TypeError('secret detail')),
    );
    start();
    await create('poison');
    await create('other');
    await reaches('other', 'CREATING_CONTAINER');
    await until('its key is parked', async () => (await database.queue.stats()).parked === 1);
    expect(await database.queue.parked(10)).toMatchObject([
      { key: queueKey('pod', keyOf('poison')), reason: 'secret detail' },
    ]);
    const aside = await until('the pod says so', async () => {
      const record = await read('poison');
      return record?.statusContainer?.phase === 'parked' ? record : null;
    });
    expect(aside.statusContainer?.message).toMatch(/^It failed to start repeatedly.*ten minutes/);
    expect((await actionsOf('poison')).at(-1)).toContain('spawner parked the pod');
    expect(JSON.stringify([aside, await actionsOf('poison')])).not.toContain('secret detail');
    // What the health loop does every few seconds changes nothing.
    await database.queue.add(queueKey('pod', keyOf('poison')));
    expect((await database.queue.stats()).parked).toBe(1);
    expect(asked.filter(({ podId }) => podId === 'poison')).toHaveLength(5);

    const stored = await database.store.get('pod', keyOf('poison'));
    const record = { ...(stored?.value ?? aside), status: 'REQUESTED' as const };
    await database.store.commit({
      puts: [podPut(record, stored?.revision ?? 'absent')],
      enqueue: [{ key: queueKey('pod', keyOf('poison')) }],
    });
    await reaches('poison', 'CREATING_CONTAINER');
  });

  it('retries a failed pod with back-off, visible in the action log', async () => {
    answers.set('mypod', [{ kind: 'failed', reason: 'The disk is full.', retryable: true }]);
    start();
    const begunMs = performance.now();
    await create('mypod');
    const failed = await until('the failure is noted', async () => {
      const record = await read('mypod');
      return record?.attempts === 1 ? record : null;
    });
    expect(failed.statusContainer?.message).toBe('The disk is full.');
    await reaches('mypod', 'CREATING_CONTAINER');
    expect(performance.now() - begunMs).toBeGreaterThan(900);
    expect(await actionsOf('mypod')).toContain('spawner failed (try 1 of 5): The disk is full.');
  });

  it('gives up at once on errors that cannot be retried', async () => {
    answers.set('mypod', [{ kind: 'failed', reason: 'No Neo4j is installed.', retryable: false }]);
    start();
    await create('mypod');
    const record = await reaches('mypod', 'ERROR');
    expect(record.statusContainer?.message).toBe('No Neo4j is installed.');
    await until('the queue is empty', isIdle);
    expect(asked).toHaveLength(1);
  });

  it('never overwrites a desired state that arrived while it worked', async () => {
    answers.set('mypod', [
      async () => {
        const stored = await database.store.get('pod', keyOf('mypod'));
        if (stored === null) throw new Error('the record no longer exists');
        await database.store.commit({ puts: [podPut({ ...stored.value, wish: 'OFF' }, stored.revision)] });
        return { kind: 'ensured' };
      },
    ]);
    start();
    await create('mypod');
    await until('the queue is empty', isIdle);
    expect(await read('mypod')).toMatchObject({ wish: 'OFF', status: 'SPAWNER_SETUP' });
  });

  it('decrypts the credentials for this uid, and fails with an explanation when it cannot', async () => {
    const spec = podSpec({ template: 'template/postgres', writtenTemplate: 'postgres' });
    const secret = JSON.stringify({ username: 'mypg', password: 'verysecret' });
    const credential = (podId: string, uid: string, sealed: string) => ({
      kind: 'credential' as const,
      key: keyOf(podId),
      expected: 'absent' as const,
      value: { uid, tenant: 'dev', podId, sealed },
      tenant: 'dev',
      indexes: [],
    });
    await database.store.commit({
      puts: [
        credential('mypg', 'uid-mypg', vault.seal(secret, 'uid-mypg')),
        credential('foreign', 'uid-foreign', vault.seal(secret, 'uid-other')),
        credential('stale', 'uid-of-an-earlier-one', vault.seal(secret, 'uid-of-an-earlier-one')),
        credential('broken', 'uid-broken', vault.seal('verysecret but no JSON', 'uid-broken')),
      ],
    });
    start();
    for (const podId of ['mypg', 'foreign', 'stale', 'broken', 'none']) await create(podId, { spec });
    await reaches('mypg', 'CREATING_CONTAINER');
    expect(asked.map((workload) => workload.credentials)).toEqual([{ username: 'mypg', password: 'verysecret' }]);
    for (const podId of ['foreign', 'stale', 'broken', 'none']) {
      const record = await reaches(podId, 'ERROR');
      expect(record.statusContainer?.message).toMatch(/^[A-Z].*\.$/);
      expect(JSON.stringify(record)).not.toContain('verysecret');
      expect((await actionsOf(podId)).join()).not.toContain('verysecret');
    }
    expect(asked[0]?.annotations.record).not.toContain('verysecret');
  });

  it('works on other pods while some keep failing or take long', async () => {
    answers.set(
      'poison',
      Array.from({ length: 1_000 }, () => new Error('poison')),
    );
    answers.set('slow', [
      () => new Promise((resolve) => end.signal.addEventListener('abort', () => resolve({ kind: 'ensured' }))),
    ]);
    start(2);
    await create('poison');
    await create('slow');
    await until('both are being worked on', () => asked.length >= 2);
    for (let i = 0; i < 20; i += 1) await create(`pod${i}`);
    for (let i = 0; i < 20; i += 1) await reaches(`pod${i}`, 'CREATING_CONTAINER');
    expect((await read('poison'))?.status).toBe('SPAWNER_SETUP');
  });

  it('releases its claims when it ends, so that the next one takes them at once', async () => {
    answers.set('mypod', [
      () => new Promise((_, reject) => end.signal.addEventListener('abort', () => reject(new Error('interrupted')))),
    ]);
    start();
    await create('mypod');
    await until('it is being worked on', () => asked.length === 1);
    end.abort();
    await running;
    expect(await database.queue.stats()).toEqual({ due: 1, delayed: 0, leased: 0, parked: 0 });
  });
});
