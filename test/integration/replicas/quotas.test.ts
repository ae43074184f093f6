import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import type { Caller } from '../../../control/auth/authenticator.ts';
import { podSchemas } from '../../../control/resources/pods/schema.ts';
import { createPodService, type PodService } from '../../../control/resources/pods/pod-service.ts';
import type { PodFields } from '../../../control/resources/pods/written-pod.ts';
import { createWithinQuota } from '../../../control/objects/create-within-quota.ts';
import { volumeObjects } from '../../../control/objects/files/files-record.ts';
import { KeyedMutex } from '../../../control/objects/keyed-mutex.ts';
import { createAdmission, usagePut } from '../../../control/objects/quota/admission.ts';
import { countUsage, createUsageOf } from '../../../control/objects/quota/count-usage.ts';
import { createUsageAudit } from '../../../control/objects/quota/usage-audit.ts';
import { openRedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { openSqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { LogStore } from '../../../core/log-store.ts';
import { type Quotas, type Usage, usageKey } from '../../../core/quota.ts';
import type { Store } from '../../../core/store.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { silentLog } from '../../support/silent-log.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { podPut } from '../../../core/pod-put.ts';
import { LIMITS, quotasOf } from '../../unit/control/limits.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const usageOf = createUsageOf(({ persistentVolume }) => persistentVolume);
const alice: Caller = { username: 'alice', tenant: 'default', isAdministrator: false };

interface Opened {
  readonly store: Store;
  readonly logs: LogStore;
  close(): void;
}

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.dispose());

const opened: Opened[] = [];
afterEach(() => {
  for (const database of opened.splice(0)) database.close();
});

let sites = 0;
/** As many replicas of one installation: each with its connection, its mutexes and its memory. */
const KINDS: Readonly<Record<string, (count: number) => Promise<readonly Opened[]>>> = {
  Redis: async (count) => {
    const site = `quota-${++sites}`;
    const open = (): Promise<Opened> => openRedisDatabase({ url: server.url, site, log: silentLog });
    return await Promise.all(Array.from({ length: count }, open));
  },
  SQLite: async (count) => {
    const database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog });
    return Array.from({ length: count }, (_, index) => ({
      ...database,
      close: () => (index === 0 ? database.close() : undefined),
    }));
  },
};

function serviceOn({ store, logs }: Opened, quotas: Quotas): PodService {
  const unused = (): never => {
    throw new Error('not asked for here');
  };
  const orchestrator = { logs: unused, shell: { exec: unused, terminal: unused }, output: { after: unused } };
  return createPodService({
    store,
    logs,
    orchestrator,
    vault: { seal: (text) => text, open: (text) => text, isOfFirstKey: () => true },
    templates: createTemplateCatalog(),
    tags: { chain: async () => null, read: async () => null },
    schemas: podSchemas(LIMITS),
    feed: { waitRoutable: unused },
    connections: { read: unused },
    traffic: { read: unused },
    clock,
    log: silentLog,
    site: 'dev',
    limits: LIMITS,
    admission: createAdmission({ store, quotas, usageOf, monotonicMs: () => performance.now() }),
    usageOf,
    allowsImages: false,
    imageAllowList: [],
    siteAdminTenant: null,
    randomBytes: (size) => new Uint8Array(size),
    newUid: () => crypto.randomUUID(),
  });
}

/** Volumes of alice, on one replica. */
function volumesOn({ store }: Opened, quotas: Quotas) {
  const admission = createAdmission({ store, quotas, usageOf, monotonicMs: () => performance.now() });
  const parts = { store, admission, mutex: new KeyedMutex() };
  return {
    make: (volumeId: string, sizeLimit: number) =>
      createWithinQuota(volumeObjects(store), parts, alice, {
        ...{ uid: crypto.randomUUID(), tenant: 'default', createdBy: 'alice', volumeId, sizeLimit, generation: 1 },
        ...{ description: '', permissions: {}, deleting: null, createdAtMs: 0, updatedAtMs: 0 },
      }),
  };
}

const create = (service: PodService, podId: string, fields: PodFields = {}, caller = alice) =>
  service.create(caller, {
    fields: { podId, podTemplate: 'podgate/hello', ...fields },
    problems: [],
    refused: new Set(),
  });
const update = (service: PodService, podId: string, fields: PodFields) =>
  service.update(alice, podId, { fields, problems: [], refused: new Set() }, () => true);

/** What was refused, as sentences; what failed otherwise is thrown. */
async function refusalsOf(calls: readonly Promise<unknown>[]): Promise<readonly string[]> {
  const settled = await Promise.allSettled(calls);
  return settled.flatMap((result) => {
    if (result.status === 'fulfilled') return [];
    const { reason } = result as { reason: unknown };
    if (reason instanceof PodgateError && reason.code === 'api.forbidden') return reason.publicMessages;
    throw reason;
  });
}

async function audit(store: Store): Promise<void> {
  const count = await createUsageAudit(usageOf).begin(store);
  for (const stored of await store.list('pod', { limit: 1_000 })) count.add(stored);
  await count.settle();
}

async function usedBy(store: Store, user: string | null) {
  return (await store.get('usage', usageKey('default', user)))?.value.used ?? null;
}

describe.each(Object.keys(KINDS))('in %s', (kind) => {
  async function replicas(quotas: Quotas, count = 3) {
    const databases = (await KINDS[kind]?.(count)) ?? [];
    opened.push(...databases);
    const [first] = databases;
    if (first === undefined) throw new Error('no replica');
    return { store: first.store, services: databases.map((database) => serviceOn(database, quotas)) };
  }
  const across = <T>(services: readonly T[], index: number): T => services[index % services.length] as T;

  test('concurrent creates on several replicas do not exceed the quota of their user', async () => {
    const { store, services } = await replicas(quotasOf({ pods: 5 }));
    const refused = await refusalsOf(
      Array.from({ length: 30 }, (_, index) =>
        create(across(services, index), `pod${index}x`, { statusRequested: 'OFF' }),
      ),
    );
    expect(refused).toHaveLength(25);
    expect(new Set(refused)).toEqual(
      new Set([
        'Quota exceeded (quotas.podsPerUser): User alice uses 5 of 5 pods. This needs 1 more: delete a pod, or ask the operator for a higher quota.',
      ]),
    );
    expect(await store.list('pod', { limit: 100 })).toHaveLength(5);
    expect(await usedBy(store, 'alice')).toEqual(
      await countUsage(store, usageOf, { tenant: 'default', user: 'alice' }),
    );
  });

  test('concurrent calls of many users do not exceed the quota of their tenant', async () => {
    const { store, services } = await replicas(quotasOf({ pods: 3 }, { pods: 7 }));
    const refused = await refusalsOf(
      Array.from({ length: 20 }, (_, index) =>
        create(across(services, index), `pod${index}x`, {}, { ...alice, username: `user${index}` }),
      ),
    );
    expect(refused).toHaveLength(13);
    expect(refused[0]).toContain('(quotas.podsPerTenant): Tenant default as a whole uses 7 of 7 pods.');
    expect(await store.list('pod', { limit: 100 })).toHaveLength(7);
    expect((await usedBy(store, null))?.pods).toBe(7);
    // Another tenant has its own.
    await create(across(services, 0), 'elsewhere', {}, { ...alice, tenant: 'other' });
  });

  test('CPU and memory count for pods that should run, and starting one needs free quota', async () => {
    const { store, services } = await replicas(quotasOf({ cpu: 5_000, memory: 8_192 }));
    for (const podId of ['one', 'two', 'three']) {
      await create(across(services, 0), podId, { statusRequested: 'OFF' });
    }
    const refused = await refusalsOf(
      ['one', 'two', 'three'].map((podId, index) => across(services, index).start(alice, podId)),
    );
    expect(refused).toEqual([expect.stringContaining('(quotas.cpuPerUser): User alice uses 4000 of 5000 millicpu')]);
    const running = (await store.list('pod', { limit: 10 })).filter(({ value }) => value.wish === 'ON');
    expect(running).toHaveLength(2);
    const more = { resources: { memLimit: 8_000 } };
    expect(await refusalsOf([update(across(services, 1), running[0]?.value.podId ?? '', more)])).toEqual([
      expect.stringContaining('(quotas.memoryPerUser)'),
    ]);
    // What a stopped pod would use is asked for when it starts.
    const stopped = ['one', 'two', 'three'].find((podId) => !running.some(({ value }) => value.podId === podId));
    await update(across(services, 1), stopped ?? '', more);
  });

  test('the bytes of all records of a user are limited: environment, permissions, everything', async () => {
    const { services } = await replicas(quotasOf({ recordBytes: 60_000 }));
    const big = { A: 'x'.repeat(10_000) };
    await create(across(services, 0), 'one', { environmentVariables: big, statusRequested: 'OFF' });
    const refused = await refusalsOf(
      ['two', 'three', 'four'].map((podId, index) =>
        create(across(services, index), podId, { environmentVariables: big, statusRequested: 'OFF' }),
      ),
    );
    expect(refused).toHaveLength(2);
    expect(refused[0]).toContain('(quotas.recordKiBPerUser)');
    const users = Array.from({ length: 400 }, (_, index) => `${'u'.repeat(100)}${index}`);
    const granted = await refusalsOf(
      users.map((user) => across(services, 0).permissions.set(alice, 'one', { user, level: 'READ' }, () => true)),
    );
    expect(granted.length).toBeGreaterThan(200);
  });

  test('deleted objects no longer count, and data that a deletion keeps does', async () => {
    const { store, services } = await replicas(quotasOf({ pods: 2, volumes: 2 }));
    const withVolume = { podTemplate: 'postgres', persistentVolume: true, statusRequested: 'OFF' as const };
    const service = across(services, 0);
    await create(service, 'one', withVolume);
    await create(service, 'two', withVolume);
    await service.delete(alice, 'one', { keepVolume: true, precondition: () => true });
    // Its place is free, its volume is not.
    const isRefused: unknown = expect.stringContaining(
      '(quotas.volumesPerUser): User alice uses 2 of 2 volumes. This needs 1 more: delete a volume, a snapshot, or a pod together with its volume',
    );
    expect(await refusalsOf([create(across(services, 1), 'three', withVolume)])).toEqual([isRefused]);

    const purged = await store.get('pod', 'default/one');
    if (purged === null) throw new Error('gone');
    expect(purged.value.deleting).toEqual({ keepVolume: true, volumes: 1 });
    const { uid } = purged.value;
    await store.commit({
      puts: [
        {
          kind: 'kept-volume',
          key: `default/one/${uid}`,
          expected: 'absent',
          value: { uid, tenant: 'default', podId: 'one', createdBy: 'alice', volumes: 1, keptAtMs: 0 },
          tenant: 'default',
          indexes: ['owner:alice'],
        },
      ],
      deletes: [{ kind: 'pod', key: 'default/one', expected: purged.revision, uid }],
    });
    expect(await refusalsOf([create(across(services, 1), 'three', withVolume)])).toEqual([isRefused]);
    await create(across(services, 1), 'three', { statusRequested: 'OFF' });
    await audit(store);
    expect(await usedBy(store, 'alice')).toMatchObject({ pods: 2, volumes: 2 });
  });

  test('pods created and deleted concurrently on several replicas keep no more volumes than the quota', async () => {
    const { store, services } = await replicas(quotasOf({ volumes: 3 }));
    const withVolume = { podTemplate: 'postgres', persistentVolume: true, statusRequested: 'OFF' as const };
    const refused = await refusalsOf(
      Array.from({ length: 12 }, async (_, index) => {
        const podId = `pod${index}x`;
        await create(across(services, index), podId, withVolume);
        await across(services, index + 1).delete(alice, podId, { keepVolume: true, precondition: () => true });
      }),
    );
    expect(refused).toHaveLength(9);
    expect(await usedBy(store, 'alice')).toMatchObject({ volumes: 3 });
    await audit(store);
    expect(await usedBy(store, 'alice')).toMatchObject({ volumes: 3 });
  });

  test('a deletion that keeps volumes is rejected while there are more than the quota', async () => {
    const roomy = await replicas(quotasOf({}));
    const withVolume = { podTemplate: 'postgres', persistentVolume: true, statusRequested: 'OFF' as const };
    for (const podId of ['one', 'two']) await create(across(roomy.services, 0), podId, withVolume);
    const [database] = opened;
    if (database === undefined) throw new Error('no database');
    const tight = serviceOn(database, quotasOf({ volumes: 1 }));
    const deletion = (keepVolume: boolean) => tight.delete(alice, 'one', { keepVolume, precondition: () => true });
    expect(await refusalsOf([deletion(true)])).toEqual([
      expect.stringContaining(
        'uses 2 of 1 volumes. To keep volumes, delete a volume, a snapshot, or a pod together with its volume',
      ),
    ]);
    await deletion(false);
  });

  test('volumes created and enlarged concurrently on several replicas do not exceed what their user may store', async () => {
    const quotas = quotasOf({ volumeMiB: 50 });
    const { store } = await replicas(quotas);
    const makers = opened.map((database) => volumesOn(database, quotas));
    const refused = await refusalsOf(
      Array.from({ length: 12 }, (_, index) => across(makers, index).make(`v${index}`, 10)),
    );
    expect(refused).toHaveLength(7);
    expect(new Set(refused)).toEqual(
      new Set([expect.stringContaining('(quotas.volumeMiBPerUser): User alice uses 50 of 50 MiB of volumes')]),
    );
    expect(await store.list('volume', { limit: 100 })).toHaveLength(5);
    expect(await usedBy(store, 'alice')).toMatchObject({ volumes: 5, volumeMiB: 50 });
  });

  test('a usage record of an older release, which counted less, is recounted before anyone is admitted', async () => {
    const quotas = quotasOf({ volumeMiB: 50 });
    const { store } = await replicas(quotas);
    const makers = opened.map((database) => volumesOn(database, quotas));
    await across(makers, 0).make('first', 45);
    for (const user of ['alice', null]) {
      const stored = await store.get('usage', usageKey('default', user));
      if (stored === null) throw new Error('not counted');
      const older = Object.fromEntries(Object.entries(stored.value.used).filter(([name]) => name !== 'volumeMiB'));
      await store.commit({ puts: [usagePut({ ...stored.value, used: older as unknown as Usage }, stored)] });
    }
    expect(await refusalsOf([across(makers, 1).make('second', 6)])).toEqual([
      expect.stringContaining('uses 45 of 50 MiB of volumes'),
    ]);
    await across(makers, 1).make('third', 5);
    expect(await usedBy(store, 'alice')).toMatchObject({ volumes: 2, volumeMiB: 50 });
    expect(await usedBy(store, null)).toMatchObject({ volumes: 2, volumeMiB: 50 });
  });

  test('records written without counting are counted by the next pass, and the count never stays wrong', async () => {
    const { store, services } = await replicas(quotasOf({ pods: 3 }));
    await create(across(services, 0), 'one', { statusRequested: 'OFF' });
    // As `recover`, a restored copy or an older release would have it.
    const record = podRecord({ podId: 'found', uid: 'uid-found', spec: podSpec() });
    await store.commit({ puts: [podPut(record, 'absent')] });
    expect((await usedBy(store, 'alice'))?.pods).toBe(1);
    await audit(store);
    expect((await usedBy(store, 'alice'))?.pods).toBe(2);
    const stored = await store.get('pod', 'default/found');
    await store.commit({
      deletes: [{ kind: 'pod', key: 'default/found', expected: stored?.revision ?? 0, uid: 'uid-found' }],
    });
    await audit(store);
    expect((await usedBy(store, 'alice'))?.pods).toBe(1);
    expect(await usedBy(store, 'nobody')).toBeNull();
  });

  test('a count that a create overtakes changes nothing', async () => {
    const { store, services } = await replicas(quotasOf({ pods: 3 }));
    await create(across(services, 0), 'one', { statusRequested: 'OFF' });
    const count = await createUsageAudit(usageOf).begin(store);
    const listed = await store.list('pod', { limit: 10 });
    await create(across(services, 1), 'two', { statusRequested: 'OFF' });
    for (const stored of listed) count.add(stored);
    await count.settle();
    expect((await usedBy(store, 'alice'))?.pods).toBe(2);
  });
});
