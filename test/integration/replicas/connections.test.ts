import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPodConnectionsReader } from '../../../control/workers/pod-connections-reader.ts';
import { createPodTrafficReader } from '../../../control/workers/pod-traffic-reader.ts';
import {
  type ConnectionQuestions,
  createWorkerQuestions,
  type TrafficQuestions,
} from '../../../control/workers/worker-questions.ts';
import { serveFeed } from '../../../control/workers/feed-server.ts';
import { ServedCertificates } from '../../../control/workers/served-certificates.ts';
import { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import type { PodConnectionsReader } from '../../../core/pod-connections-reader.ts';
import type { PodTrafficReader } from '../../../core/pod-traffic.ts';
import { podKey } from '../../../core/ids.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { podPut } from '../../../core/pod-put.ts';
import type { ReplicaTopic } from '../../../core/replicas.ts';
import { createGateway } from '../../../proxy/gateway.ts';
import { DEFAULT_GATEWAY_LIMITS, type Gateway } from '../../../proxy/gateway-options.ts';
import { DEFAULT_HTTP_LIMITS } from '../../../proxy/protocols/http/http-protocol.ts';
import { podRecord, podSpec, workloadOf } from '../../support/pod-records.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { silentLog as log } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { makeCertificate } from '../proxy/support/certificate.ts';
import { systemClock } from '../proxy/support/gateway-fixture.ts';
import { echoes } from '../proxy/support/stage.ts';
import { readAndEnd, startBackend, type Backend } from '../proxy/support/streams.ts';

const certificate = makeCertificate(['localhost', '*.pods.localhost', '*.pods.example.org']);
const BASE_HOSTS: Readonly<Record<string, string>> = { dev: 'localhost', other: 'example.org' };
const networking = (ipAllowList: readonly string[]) =>
  ({ default: { protocol: 'tcp', port: 5432, ipAllowList } }) as const;
const open = podRecord({ podId: 'mypod', tenant: 'dev', spec: podSpec({ networking: networking([]) }) });
/** Of the same name, in another tenant; it lets nobody in. */
const others = podRecord({
  podId: 'mypod',
  tenant: 'other',
  uid: 'uid-of-the-other',
  spec: podSpec({ networking: networking(['192.0.2.1']) }),
});

interface Replica {
  readonly database: RedisDatabase;
  readonly connections: PodConnectionsReader;
  readonly traffic: PodTrafficReader;
  readonly ports: readonly number[];
}

let dir: string;
let redis: RedisServer;
let backend: Backend;
let one: Replica;
let two: Replica;
const stop = new AbortController();
const running: Promise<unknown>[] = [];
const clients: TLSSocket[] = [];
const gateways: Gateway[] = [];

/** Two replicas with two workers each, on one Redis. */
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'podgate-connections-'));
  redis = await RedisServer.start();
  backend = await startBackend((socket) => socket.pipe(socket));
  one = await start('one');
  await one.database.store.commit({ puts: [podPut(open, 'absent'), podPut(others, 'absent')] });
  two = await start('two');
  for (const { database } of [one, two]) {
    await until('it knows the other', () => database.replicas.live().length === 2);
  }
  for (const { table } of gateways) {
    await until('it routes to both', () =>
      [open, others].every((record) => (table.get(hostOf(record))?.backend ?? null) !== null),
    );
  }
});

afterAll(async () => {
  for (const client of clients) client.destroy();
  stop.abort();
  await Promise.all(running);
  for (const { database } of [one, two]) database.close();
  await backend.close();
  await redis.dispose();
  rmSync(dir, { recursive: true });
});

async function start(replicaId: string): Promise<Replica> {
  const database = await openRedisDatabase({ url: redis.url, site: 'test', replicaId, log });
  const { store, replicas } = database;
  const feed = new ControlRouteFeed({ store, log, baseHostOf: (tenant) => BASE_HOSTS[tenant] ?? '' });
  const certificates = new ServedCertificates(['files']);
  certificates.replace('files', [{ ...certificate, id: 'test', notAfterMs: Infinity }]);
  const path = join(dir, `${replicaId}.sock`);
  const questions: ConnectionQuestions = createWorkerQuestions();
  const trafficQuestions: TrafficQuestions = createWorkerQuestions();
  const traffic = createPodTrafficReader({ questions: trafficQuestions, replicas, clock: systemClock });
  const connections = createPodConnectionsReader({ questions, replicas, clock: systemClock });
  running.push(
    feed.run(stop.signal),
    replicas.run(stop.signal),
    connections.run(stop.signal),
    traffic.run(stop.signal),
    serveFeed(
      {
        feed,
        certificates,
        path,
        epoch: replicaId,
        baseHosts: Object.values(BASE_HOSTS),
        log,
        questions,
        trafficQuestions,
      },
      stop.signal,
    ),
  );
  const addresses = { default: { address: '127.0.0.1', port: backend.port, service: null } };
  for (const record of [open, others]) {
    feed.observed(podKey(record.tenant, record.podId), record.uid, workloadOf(record, { addresses }));
  }
  feed.observationsComplete();
  const ports = [await startWorker(path, 0), await startWorker(path, 1)];
  return { database, connections, traffic, ports };
}

async function startWorker(feedSocketPath: string, worker: number): Promise<number> {
  const gateway = createGateway({
    ...{ worker, feedSocketPath, apiSocketPath: join(dir, 'api.sock'), apiUrl: 'https://localhost:8443' },
    ...{ publicHttpsPort: 8443, drainMs: 0, clock: systemClock, log },
    limits: { ...DEFAULT_GATEWAY_LIMITS, http: DEFAULT_HTTP_LIMITS },
  });
  gateways.push(gateway);
  running.push(gateway.run(stop.signal));
  await gateway.synchronized;
  const { port } = await gateway.listen('https', { host: '127.0.0.1', port: 0 });
  return port;
}

function hostOf({ podId, tenant }: PodRecord): string {
  return `${podId}.pods.${BASE_HOSTS[tenant] ?? ''}`;
}

async function dial(port: number, record: PodRecord): Promise<TLSSocket> {
  const client = connect({ host: '127.0.0.1', port, servername: hostOf(record), ca: certificate.certificatePem });
  await once(client, 'secureConnect');
  client.on('error', () => undefined);
  return client;
}

test('every worker of every replica is asked, from any replica, and numbers are added up', async () => {
  const [first = 0, second = 0] = one.ports;
  for (const port of [first, first, second, ...two.ports]) {
    const client = await dial(port, open);
    expect(await echoes(client, 'four')).toBe(true);
    clients.push(client);
  }
  for (const { connections } of [one, two]) {
    const { replicas, missing } = await connections.read(open.uid);
    expect(missing).toEqual([]);
    expect(replicas.map(({ replica, workers }) => [replica, workers.map(({ sessionsNow }) => sessionsNow)])).toEqual([
      ['one', [2, 1]],
      ['two', [1, 1]],
    ]);
    expect(replicas.map(({ stanzas }) => stanzas['default'])).toMatchObject([
      { sessionsNow: 3, sessions: 3, requestsNow: 0, refusals: 0 },
      { sessionsNow: 2, sessions: 2 },
    ]);
    expect(
      replicas.map(({ recent }) => recent.map(({ end, dialMs, firstByteMs }) => ({ end, dialMs, firstByteMs }))),
    ).toEqual(
      [3, 2].map((sessions) =>
        Array.from({ length: sessions }, () => ({
          end: null,
          dialMs: expect.any(Number) as number,
          firstByteMs: expect.any(Number) as number,
        })),
      ),
    );
  }
});

test('refusals have reason, address and request id, in order of time, and only the owner of the pod sees them', async () => {
  const ids: string[] = [];
  for (const port of [one.ports[1], two.ports[0]]) {
    const client = await dial(port ?? 0, others);
    client.write(`GET / HTTP/1.1\r\nHost: ${hostOf(others)}\r\n\r\n`);
    const answer = String(await readAndEnd(client));
    expect(answer).toContain('403 Forbidden');
    ids.push(/"request_id":"([\w-]+)"/.exec(answer)?.[1] ?? 'none');
  }
  const { replicas } = await one.connections.read(others.uid);
  const refusals = replicas.flatMap((each) => each.refusals);
  expect(refusals.map(({ requestId }) => requestId)).toEqual(ids);
  // A client without a session has no dial; its refusal is among the last connections, too.
  expect(replicas.flatMap(({ recent }) => recent)).toMatchObject(
    ids.map((requestId) => ({ requestId, code: 'route.forbidden', dialMs: null, tlsMs: expect.any(Number) as number })),
  );
  expect(refusals[0]).toMatchObject({
    ...{ code: 'route.forbidden', address: '127.0.0.1', protocol: 'tcp', stanza: 'default' },
    message: 'Your address may not connect to this pod.',
  });
  const ofOpen = await two.connections.read(open.uid);
  expect(ofOpen.replicas.flatMap((each) => each.refusals)).toEqual([]);
  expect((await one.connections.read('uid-of-nobody')).replicas.map(({ stanzas }) => stanzas)).toEqual([{}, {}]);
});

test('the traffic of many pods is asked for at once, and added up over all workers and networking entries', async () => {
  const uids = [...Array.from({ length: 98 }, (_, index) => `uid-of-nobody-${index}`), open.uid, others.uid];
  for (const { traffic } of [one, two]) {
    const { traffic: counted, missing } = await traffic.read(uids);
    expect(missing).toEqual([]);
    expect([...counted.keys()]).toEqual(uids);
    expect(counted.get(open.uid)).toEqual({
      ...{ sessionsNow: 5, requestsNow: 0, sessions: 5, requests: 0, refusals: 0 },
      ...{ bytesIn: 5 * 4, bytesOut: 5 * 4 },
    });
    expect(counted.get(others.uid)).toMatchObject({ sessions: 0, refusals: 2 });
    expect(counted.get('uid-of-nobody-3')).toMatchObject({ sessions: 0, bytesOut: 0 });
  }
  expect(await one.traffic.read([])).toEqual({ traffic: new Map(), missing: [] });
});

test('a replica that does not answer is named; rubbish on the bus is passed over', async () => {
  const { replicas } = two.database;
  const topics: readonly ReplicaTopic[] = ['connections', 'traffic'];
  const rubbish = [
    ...[null, 7, 'x', [], {}, { questions: 1 }, { questions: [null, 'x', { id: 'x', value: 'uid' }] }],
    ...[{ questions: [{ id: 1, value: { uid: 3 } }] }, { to: 'one', answers: [{ id: 1, value: { seen: {} } }] }],
    ...[{ questions: [{ id: 2, value: [3] }] }, { to: 'one', answers: [{ id: 2, value: [[1, 2, 'x']] }] }],
  ];
  for (const message of rubbish) for (const topic of topics) replicas.publish(topic, message);
  const ghost = await openRedisDatabase({ url: redis.url, site: 'test', replicaId: 'ghost', log });
  const ghostStop = new AbortController();
  const ghostRuns = ghost.replicas.run(ghostStop.signal);
  await until('it is known', () => one.database.replicas.live().length === 3);
  const { missing, replicas: answered } = await one.connections.read(open.uid);
  expect(missing).toEqual(['replica ghost']);
  expect(answered).toHaveLength(2);
  // Sums without it would be too low.
  const unknown = { traffic: new Map(), missing: ['replica ghost'] };
  expect(await one.traffic.read([open.uid])).toEqual(unknown);
  // It may be of the release before: the next readings do not wait for it.
  const startedMs = performance.now();
  expect(await one.traffic.read([open.uid])).toEqual(unknown);
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  ghostStop.abort();
  await ghostRuns;
  ghost.close();
  await until('it is forgotten', async () => (await one.traffic.read([open.uid])).missing.length === 0);
  expect((await one.traffic.read([open.uid])).traffic.size).toBe(1);
});
