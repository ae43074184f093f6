import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { pageBlock } from '../support/page-block.ts';
import { createOutsideClient, type OutsideClient } from '../support/real-node/outside-client.ts';
import { must } from '../support/real-node/cluster-network.ts';
import { PROGRAMS_IMAGE } from '../support/real-node/images.ts';
import { deployPodgate, type PodgateDeployment } from '../support/real-node/podgate-deployment.ts';
import { type RealCluster, startRealCluster } from '../support/real-node/real-cluster.ts';
import type { WorkerNode } from '../support/real-node/worker-node.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';
import { testNamedVolumes } from './named-volumes.suite.ts';

/** A pod that starts, on a machine that is busy: images are there, first starts of databases are not fast. */
const START_MS = 180_000;
/** The node controller has not heard from a kubelet for 50 s, and looks every 5 s. */
const NOT_READY = { timeoutMs: 120_000, everyMs: 500 };
/** A kubelet rotates the log of a container beyond that, and serves the newest file alone. */
const LOG_FILE = '256Ki';
/** More than such a file: 90 bytes each. */
const BURST_LINES = 3_500;
const BURSTS = 4;
const MIB = 1024 * 1024;
const OPERATIONS = join(import.meta.dirname, '../../docs/operations.md');
const PODS = ['hello', 'trial', 'mypg', 'graph'];

let cluster: RealCluster;
let podgate: PodgateDeployment;
let outside: OutsideClient;
const passwords = new Map<string, string>();

/** As docs/operations.md says: two replicas, Redis over TLS, policies; and one pod of each kind. */
beforeAll(async () => {
  cluster = await startRealCluster({
    images: ['redis', 'podgate', 'postgres', 'neo4j', 'programs'],
    kubelet: { containerLogMaxSize: LOG_FILE, containerLogMonitorInterval: '3s' },
    metrics: true,
  });
  podgate = await deployPodgate(cluster);
  outside = await createOutsideClient(podgate, cluster.folder, PODS);
  await create({ pod_id: 'hello', pod_template: 'podgate/hello' });
  await create({
    pod_id: 'trial',
    image: PROGRAMS_IMAGE,
    networking: { default: { protocol: 'http', port: 8080 } },
    resources: { cpu_request: 250, mem_request: 256 },
  });
  // One database after the other: their first starts take every core.
  for (const template of ['postgres', 'neo4j']) {
    const resources = { cpu_request: 250, mem_request: 256, mem_limit: template === 'neo4j' ? 1_536 : 512 };
    const id = template === 'neo4j' ? 'graph' : 'mypg';
    await create({ pod_id: id, pod_template: `template/${template}`, persistent_volume: true, resources });
    await isRunning(id);
    const { result } = await outside.api('GET', `/pods/${id}/credentials`);
    passwords.set(id, (result as { user_password: string }).user_password);
  }
  for (const id of ['hello', 'trial']) await isRunning(id);
});

afterAll(() => cluster.stop());

async function create(pod: Readonly<Record<string, unknown>>): Promise<void> {
  const answer = await outside.api('POST', '/pods', pod);
  expect(answer.status, answer.body).toBe(200);
}

async function statusOf(id: string): Promise<string> {
  const { result, body } = await outside.api('GET', `/pods/${id}`);
  return (result as { status?: string } | null)?.status ?? body;
}

async function isRunning(id: string): Promise<void> {
  let last = '';
  await until(
    `${id} is RUNNING`,
    async () => {
      last = await statusOf(id);
      return last === 'RUNNING';
    },
    { timeoutMs: START_MS, everyMs: 500 },
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}; last seen: ${last}`);
  });
}

async function maySleep(id: string, isAllowed: boolean): Promise<void> {
  const answer = await outside.api('PUT', `/pods/${id}`, { sleep: isAllowed ? { after_seconds: 60 } : null });
  expect(answer.status, answer.body).toBe(200);
}

const sql = async (statement: string): Promise<string> => {
  const { code, stdout, stderr } = await outside.psql('mypg', passwords.get('mypg') ?? '', statement);
  if (code !== 0) throw new Error(stderr);
  return stdout.trim();
};

const isServed = async (url: string): Promise<boolean> => (await outside.get(url, 5_000)).status === 200;

/** What the kubelet serves of the log of a pod: the newest file. */
const kubeletLog = (id: string): Promise<string> =>
  podgate.kubectl('-n', 'podgate-pods', 'logs', `pods-prod-example-${id}`);

/** Of the lines that /noise has printed. */
const numbersOf = (log: string): readonly number[] =>
  [...log.matchAll(/line (\d+) n/g)].map(([, number = '']) => Number(number));

/** Names of all pods that the API knows. */
async function podIds(): Promise<readonly string[]> {
  const { status, body, result } = await outside.api('GET', '/pods');
  if (status !== 200) throw new Error(`${status}: ${body}`);
  return (result as readonly { pod_id: string }[]).map(({ pod_id: id }) => id);
}

test('clients outside reach their pods: curl, psql, cypher-shell, and a WebSocket', async () => {
  expect(await outside.get('https://hello.pods.example.org/')).toMatchObject({ status: 200 });
  expect(await sql('select 6 * 7')).toBe('42');
  const neo4j = await outside.cypher('graph', passwords.get('graph') ?? '', 'RETURN 6 * 7 AS product');
  expect(neo4j.stdout, neo4j.stderr).toBe('product\n42\n');
  const socket = await openWebSocket('trial.pods.example.org');
  expect(await echo(socket, 'over the edge')).toBe('over the edge');
  socket.destroy();
  await sql('create table if not exists answers as select 6 * 7 as answer');
  await maySleep('mypg', true);
});

test('the client keeps its address, and pods are closed to everything but gateways', async () => {
  const { body } = await outside.get('https://trial.pods.example.org/');
  const { headers } = JSON.parse(body) as { headers: Record<string, string> };
  expect(headers['x-forwarded-for']).toBe(cluster.network.machineAddress);
  const address = await podgate.kubectl(
    ...['-n', 'podgate-pods', 'get', 'pod', 'pods-prod-example-trial', '-o', 'jsonpath={.status.podIP}'],
  );
  // This machine is in no policy; the network needs a moment to fence a new pod.
  await until(
    'the pod is fenced',
    async () => (await run('curl', ['-sS', '--max-time', '2', `http://${address}:8080/`])).code !== 0,
    { timeoutMs: 60_000, everyMs: 500 },
  );
  const between = await outside.get(
    `https://trial.pods.example.org/fetch?url=${encodeURIComponent(`http://podgate-control.podgate.svc.cluster.local:8000/healthz`)}`,
  );
  expect(between.status).toBe(500);
});

test('what a pod prints is returned whole while the kubelet rotates its log', async () => {
  for (let burst = 0; burst < BURSTS; burst += 1) {
    expect(await isServed(`https://trial.pods.example.org/noise?lines=${BURST_LINES}`)).toBe(true);
    const isRotated = async () => numbersOf(await kubeletLog('trial')).length < BURST_LINES;
    await until('the log is rotated', isRotated, { timeoutMs: 60_000, everyMs: 500 });
  }
  const wanted = BURST_LINES * BURSTS;
  let lines: readonly number[] = [];
  const isWhole = async () => {
    lines = numbersOf((await outside.api('GET', '/pods/trial/logs?tail_bytes=4194304')).body);
    return lines.length >= wanted && lines.at(-1) === BURST_LINES - 1;
  };
  await until('all of it is returned', isWhole, { timeoutMs: 60_000, everyMs: 500 }).catch((error: unknown) => {
    throw new Error(`${String(error)}; ${lines.length} of ${wanted} lines, the last one ${lines.at(-1)}`);
  });
  expect(lines.filter((line, at) => line !== at % BURST_LINES)).toEqual([]);
  expect(numbersOf(await kubeletLog('trial')).length).toBeLessThan(wanted);
});

testNamedVolumes(() => cluster);

test('a Postgres that nobody has used for a minute is asleep, and its next client wakes it and has its answer', async () => {
  onTestFinished(() => maySleep('mypg', false));
  // It may since the first test, and those in between do not use it. A second try waits for a minute.
  await maySleep('mypg', true);
  await until('it sleeps', async () => (await statusOf('mypg')) === 'ASLEEP', { timeoutMs: 120_000, everyMs: 1_000 });
  expect(await nodeOf('mypg')).toBeNull();
  const startedMs = performance.now();
  expect(await sql('select answer from answers')).toBe('42');
  const wokenMs = performance.now();
  expect(await sql('select answer from answers')).toBe('42');
  const seconds = [wokenMs - startedMs, performance.now() - wokenMs].map((ms) => (ms / 1_000).toFixed(1));
  console.log(
    `psql had its answer after ${seconds[0]} s from a sleeping Postgres, and ${seconds[1]} s from one that is awake`,
  );
  expect(await statusOf('mypg')).toBe('RUNNING');
  const { body } = await outside.api('GET', '/pods/mypg/logs');
  expect(body).toContain('woken by a connection to mypg.pods.example.org');
});

test('a second container on the volume of a database waits until the first has ended', async () => {
  const other = JSON.parse(
    await podgate.kubectl('-n', 'podgate-pods', 'get', 'pod', 'pods-prod-example-mypg', '-o', 'json'),
  ) as { metadata: { name: string }; spec: object };
  // As a kubelet that was away would still run it: the same program on the same volume, in a Pod that nobody manages.
  const name = 'second-on-the-volume';
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: other.spec };
  await cluster.controlPlane.client.call('POST', '/api/v1/namespaces/podgate-pods/pods', { body: pod });
  const log = () => podgate.kubectl('-n', 'podgate-pods', 'logs', name).catch(() => '');
  try {
    await until('it waits', async () => (await log()).includes('still uses the volume'), { timeoutMs: 60_000 });
    expect(await sql('select 6 * 7')).toBe('42');
    await podgate.kubectl('-n', 'podgate-pods', 'delete', 'pod', 'pods-prod-example-mypg', '--grace-period=20');
    await until('it goes on', async () => /ready to accept connections/.test(await log()), { timeoutMs: 60_000 });
  } finally {
    await podgate.kubectl('-n', 'podgate-pods', 'delete', 'pod', name, '--grace-period=20');
  }
  // Podgate makes its own Pod again, which waits for this one in turn.
  await isRunning('mypg');
  expect(await until('Postgres answers', () => sql('select 6 * 7'), { timeoutMs: START_MS })).toBe('42');
});

test('the HorizontalPodAutoscaler knows what the replicas use, and users what their pods use', async () => {
  const path =
    'jsonpath={.status.conditions[?(@.type=="ScalingActive")].status} {.status.currentMetrics[0].resource.current}';
  const seen = () => podgate.kubectl('-n', 'podgate', 'get', 'hpa', 'podgate', '-o', path);
  // Metrics are read every 15 s, and so is what the autoscaler makes of them.
  await until('it has a value', async () => /^True .*averageValue/.test(await seen()), {
    timeoutMs: 120_000,
    everyMs: 1_000,
  });
  console.log(`the HorizontalPodAutoscaler: ${await seen()}`);
  const ofPods = async () =>
    (await outside.api('GET', '/pods/metrics?pod_ids=hello,graph')).result as readonly {
      readonly memory_bytes: number | null;
      readonly cpu_millis: number | null;
    }[];
  const areKnown = async () => {
    const figures = await ofPods();
    return (
      figures.length === 2 &&
      figures.every(({ memory_bytes: bytes, cpu_millis: millis }) => bytes !== null && millis !== null)
    );
  };
  await until('figures of both are there', areKnown, { timeoutMs: 60_000, everyMs: 1_000 });
  const [hello, graph] = await ofPods();
  console.log(`hello uses ${JSON.stringify(hello)}, Neo4j ${JSON.stringify(graph)}`);
  // A Java VM, and a small program of Node.
  expect(hello?.memory_bytes).toBeGreaterThan(10 * MIB);
  expect(graph?.memory_bytes).toBeGreaterThan(2 * (hello?.memory_bytes ?? 0));
});

test('a Redis that is killed and one that moves lose no acknowledged record, and the API is back with it', async () => {
  const socket = await openWebSocket('trial.pods.example.org');
  const acknowledged: string[] = [];
  const over = new AbortController();
  // Records under load: pods that are never started.
  const writing = (async () => {
    for (let number = 0; !over.signal.aborted; number += 1) {
      const id = `record${number}`;
      const body = { pod_id: id, pod_template: 'podgate/hello', status_requested: 'OFF' };
      const { status } = await outside.api('POST', '/pods', body);
      if (status === 200) acknowledged.push(id);
    }
  })();
  const times: string[] = [];
  try {
    for (const end of [killRedis, deleteRedis]) {
      const before = acknowledged.length;
      await until('records are written', () => acknowledged.length > before + 5, { timeoutMs: 60_000 });
      await end();
      await podgate.kubectl('-n', 'podgate', 'wait', '--for=condition=Ready', 'pod/podgate-redis-0', '--timeout=120s');
      const readyMs = performance.now();
      await until('the API answers', podIds, { timeoutMs: 60_000, everyMs: 100 });
      const awayMs = performance.now() - readyMs;
      times.push(`${(awayMs / 1_000).toFixed(1)} s`);
      // 3 s on a quiet machine; DNS that keeps an old address for its 30 s shows at any load.
      expect(awayMs).toBeLessThan(15_000);
    }
  } finally {
    over.abort();
    await writing;
  }
  console.log(`the API was back ${times.join(' and ')} after Redis was ready; ${acknowledged.length} records`);
  // Each replica connects again by itself: the other one may need a moment more.
  const left = await until('the API answers again', podIds, { timeoutMs: 15_000, everyMs: 100 });
  expect(left).toEqual(expect.arrayContaining([...PODS, ...acknowledged]));
  // Nothing of it was noticed by who was connected.
  expect(await echo(socket, 'still here')).toBe('still here');
  socket.destroy();
  // One that had come back without its records, or with older ones, would not be trusted.
  expect(await readiness()).not.toContain('suspect');
});

test('after a reboot of the node everything is back, with its data', async () => {
  await sql('create table kept (value text)');
  await sql(`insert into kept values ('before the reboot')`);
  const before = await podIds();
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error('there is no node');
  await node.powerOff();
  const startedMs = performance.now();
  await node.powerOn();
  await until('hello is served', () => isServed('https://hello.pods.example.org/'), {
    timeoutMs: START_MS,
    everyMs: 500,
  });
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(0);
  await until('the API answers', podIds, { timeoutMs: START_MS, everyMs: 500 });
  console.log(`after the reboot hello was served in ${seconds} s`);
  expect(await podIds()).toEqual(before);
  for (const id of PODS) await isRunning(id);
  expect(await until('Postgres answers', () => sql('select value from kept'), { timeoutMs: START_MS })).toBe(
    'before the reboot',
  );
});

test('a kubelet that is killed cuts nobody off, and the status says that its node is silent', async () => {
  const second = await onSecondNode('trial');
  const socket = await openWebSocket('trial.pods.example.org');
  const failures: string[] = [];
  let connections = 0;
  const over = new AbortController();
  const connecting = (async () => {
    while (!over.signal.aborted) {
      const { status, body } = await outside.get('https://trial.pods.example.org/', 10_000);
      connections += 1;
      if (status !== 200) failures.push(`${status} ${body.slice(0, 200)}`);
    }
  })();
  const killedMs = performance.now();
  try {
    await second.kill('kubelet');
    // The node controller waits for 50 s before it says so.
    await until('the node is NotReady', async () => (await readyOf('node', second.name)) === 'Unknown', NOT_READY);
    expect(await readyOf('pod', 'pods-prod-example-trial')).toBe('False');
    await until('the status says so', async () => (await messageOf('trial')).includes('has stopped reporting'), {
      timeoutMs: 30_000,
      everyMs: 200,
    });
    expect(await statusOf('trial')).toBe('RUNNING');
    const before = connections;
    await until('more connections are made', () => connections > before + 3, { timeoutMs: 60_000 });
    expect(await echo(socket, 'still here')).toBe('still here');
    await second.start('kubelet');
    await until('the status is as before', async () => (await messageOf('trial')) === '', NOT_READY);
    // Not before its kubelet has asked its startup probe again.
    await until(
      'the pod is Ready again',
      async () => (await readyOf('pod', 'pods-prod-example-trial')) === 'True',
      NOT_READY,
    );
  } finally {
    over.abort();
    await connecting;
  }
  const seconds = ((performance.now() - killedMs) / 1_000).toFixed(0);
  console.log(`${connections} new connections within ${seconds} s of a kubelet that was away`);
  expect(failures).toEqual([]);
  expect(await statusOf('trial')).toBe('RUNNING');
  expect(await echo(socket, 'and after')).toBe('and after');
  socket.destroy();
});

test('a node is drained as documented: its replica and its pods move, and nothing is lost', async () => {
  const before = await podIds();
  const second = await onSecondNode('trial');
  const typed = pageBlock(readFileSync(OPERATIONS, 'utf8'), 'drain').trim().replace('NODE', second.name);
  await podgate.kubectl(...typed.split(' ').slice(1), '--timeout=240s');
  await until('trial is on the first node', async () => (await nodeOf('trial')) === 'node-1', { timeoutMs: START_MS });
  for (const id of PODS) await isRunning(id);
  expect(await isServed('https://trial.pods.example.org/')).toBe(true);
  expect(await sql('select value from kept')).toBe('before the reboot');
  expect(await podIds()).toEqual(before);
});

/** Has one replica and that pod on a second node; Redis keeps to the disk of the first. */
async function onSecondNode(id: string): Promise<WorkerNode> {
  const second = cluster.nodes[1] ?? (await cluster.addNode());
  await podgate.kubectl('uncordon', second.name);
  if ((await nodeOf(id)) === second.name) return second;
  await podgate.kubectl('cordon', 'node-1');
  await podgate.kubectl('-n', 'podgate', 'delete', await oneReplica(), '--wait=true');
  await podgate.kubectl('-n', 'podgate', 'rollout', 'status', 'deployment/podgate', '--timeout=240s');
  await outside.api('POST', `/pods/${id}/restart`);
  await until(`${id} is on the other node`, async () => (await nodeOf(id)) === second.name, { timeoutMs: START_MS });
  await isRunning(id);
  await podgate.kubectl('uncordon', 'node-1');
  return second;
}

/** Status of the condition Ready. */
function readyOf(kind: 'node' | 'pod', name: string): Promise<string> {
  const path = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
  return podgate.kubectl('-n', 'podgate-pods', 'get', kind, name, '-o', path);
}

async function messageOf(id: string): Promise<string> {
  const { result, body } = await outside.api('GET', `/pods/${id}`);
  const container = (result as { status_container?: { message?: string } } | null)?.status_container;
  if (container === undefined) throw new Error(body);
  return container.message ?? '';
}

/** As `pod/NAME`. */
async function oneReplica(): Promise<string> {
  const names = await podgate.kubectl(
    ...['-n', 'podgate', 'get', 'pods', '-l', 'app.kubernetes.io/component=gateway', '-o', 'name'],
  );
  const [first] = names.trim().split('\n');
  if (first === undefined) throw new Error('there is no replica');
  return first;
}

/** Where the pod is, or null while there is none. */
async function nodeOf(id: string): Promise<string | null> {
  const found = await podgate
    .kubectl('-n', 'podgate-pods', 'get', 'pod', `pods-prod-example-${id}`, '-o', 'jsonpath={.spec.nodeName}')
    .catch(() => '');
  return found === '' ? null : found;
}

/** The container alone: it comes back in the same pod, at the same address. */
async function killRedis(): Promise<void> {
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error('there is no node');
  // In the node's own PID namespace: nobody else's Redis is seen there.
  await must(...node.enter('pkill', ['-KILL', '-x', 'redis-server']));
  await podgate.kubectl('-n', 'podgate', 'wait', '--for=condition=Ready=false', 'pod/podgate-redis-0', '--timeout=60s');
}

/** It comes back as another pod, at another address. */
async function deleteRedis(): Promise<void> {
  await podgate.kubectl('-n', 'podgate', 'delete', 'pod', 'podgate-redis-0', '--wait=true');
  await until('the StatefulSet has made another', () =>
    podgate.kubectl('-n', 'podgate', 'get', 'pod', 'podgate-redis-0', '-o', 'name').catch(() => null),
  );
}

const readiness = (): Promise<string> =>
  podgate.kubectl(
    ...['-n', 'podgate', 'exec', 'deploy/podgate', '--', 'node', '-e'],
    `fetch('http://127.0.0.1:8000/readyz').then(async (answer) => console.log(await answer.text()))`,
  );

function openWebSocket(host: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const ca = readFileSync(podgate.caPath);
    const socket = connect({ host: podgate.address, port: 443, servername: host, ca, ALPNProtocols: ['http/1.1'] });
    const key = randomBytes(16).toString('base64');
    const head = [`GET / HTTP/1.1`, `Host: ${host}`, 'Upgrade: websocket', 'Connection: Upgrade'];
    socket.on('secureConnect', () =>
      socket.write([...head, 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${key}`, '', ''].join('\r\n')),
    );
    socket.once('data', (chunk: Buffer) => {
      const line = chunk.toString('latin1').split('\r\n')[0];
      if (line === 'HTTP/1.1 101 Switching Protocols') resolve(socket);
      else reject(new Error(`not upgraded: ${line}`));
    });
    socket.on('error', reject).once('close', () => reject(new Error('closed before it was a WebSocket')));
  });
}

/** One short text frame there and back: RFC 6455, section 5.2. */
function echo(socket: TLSSocket, text: string): Promise<string> {
  const [mask, payload] = [randomBytes(4), Buffer.from(text)];
  const masked = payload.map((byte, index) => byte ^ (mask[index & 3] ?? 0));
  return new Promise((resolve, reject) => {
    socket.once('data', (frame: Buffer) => resolve(frame.subarray(2).toString()));
    socket.once('close', () => reject(new Error('the WebSocket was closed')));
    socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, masked]));
  });
}
