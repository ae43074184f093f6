import { request } from 'node:https';
import { startInstallation, type Installation } from '../../test/support/installation/installation.ts';
import { until } from '../../test/support/until.ts';
import { apiServerCalls, callsSince } from '../../test/faults/api-server-calls.ts';
import { pagePod, TEST_IMAGE } from '../../test/faults/test-pods.ts';
import { cpuSeconds } from '../measure.ts';
import { idle, type Measured, processesOf, redisInfo, showIdle } from './processes.ts';

const CALLERS = 16;
const IDLE_MS = 30_000;
const SETTLED_MS = 10_000;
const RUNNING_MS = 900_000;

/** So many pods, for real, on replicas that share one Redis and one API server: what each process takes, and asks for. */
export async function measurePods(count: number, replicas: number): Promise<void> {
  const installation = await startInstallation({ replicas, images: [TEST_IMAGE], proxyPolicy: 'use' });
  try {
    const processes = (): readonly Measured[] => [
      ...installation.replicas.flatMap(({ name, program }) => processesOf(name, program)),
      { name: 'redis-server', pid: installation.redis.pid },
      { name: 'kube-apiserver', pid: installation.cluster.apiServerPid() },
    ];
    console.log(`${replicas} replicas, no pods, idle for ${IDLE_MS / 1_000} s`);
    await pause(SETTLED_MS);
    await measureIdle(installation, processes());
    const busyBefore = processes().map(({ pid }) => cpuSeconds([pid]));
    await createAll(installation, count);
    console.log(
      `  CPU meanwhile: ${processes()
        .map(({ name, pid }, index) => `${name} ${(cpuSeconds([pid]) - (busyBefore[index] ?? 0)).toFixed(1)} s`)
        .join(', ')}`,
    );
    await pause(SETTLED_MS);
    console.log(`${replicas} replicas, ${count} pods RUNNING, idle for ${IDLE_MS / 1_000} s`);
    await measureIdle(installation, processes());
    await coldStart(installation, count);
  } finally {
    await installation.dispose();
  }
}

async function createAll(installation: Installation, count: number): Promise<void> {
  const { api, cluster } = installation;
  const before = await apiServerCalls(cluster.client);
  const started = performance.now();
  const names = Array.from({ length: count }, (_, index) => `pod${index}`);
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      for (let name = names.shift(); name !== undefined; name = names.shift()) {
        const pod = pagePod(name);
        // A machine that is busy may drop a call, or its answer: then the pod is there already.
        await until(`${name} is accepted`, async () => {
          const { status } = await api.call('POST', '/v3/pods', pod, 60_000);
          return status === 200 || status === 409;
        });
      }
    }),
  );
  const accepted = (performance.now() - started) / 1_000;
  await until(
    'all pods are RUNNING',
    async () => {
      const { result } = await api.call('GET', '/v3/pods', undefined, 60_000);
      return (result as readonly { status: string }[]).filter(({ status }) => status === 'RUNNING').length === count;
    },
    { timeoutMs: RUNNING_MS, everyMs: 1_000 },
  );
  const running = (performance.now() - started) / 1_000;
  const calls = callsSince(before, await apiServerCalls(cluster.client));
  console.log(
    `${count} pods created at once: accepted after ${accepted.toFixed(1)} s, RUNNING after ${running.toFixed(1)} s`,
  );
  console.log(`  API server: ${(calls.byPodgate / count).toFixed(1)} calls a pod by Podgate (${calls.table})`);
}

async function measureIdle({ redis, cluster }: Installation, processes: readonly Measured[]): Promise<void> {
  const calls = await apiServerCalls(cluster.client);
  const commands = (await redisInfo(redis.port))('total_commands_processed');
  const rows = await idle(processes, IDLE_MS);
  const seconds = IDLE_MS / 1_000;
  const perSecond = ((await redisInfo(redis.port))('total_commands_processed') - commands) / seconds;
  const { byPodgate, table } = callsSince(calls, await apiServerCalls(cluster.client));
  console.log(showIdle(rows));
  console.log(
    `  Redis ${perSecond.toFixed(1)} commands/s; API server ${(byPodgate / seconds).toFixed(2)} calls/s by Podgate (${table})`,
  );
}

/** From the start of a replica that was away until its gateway serves the last pod. */
async function coldStart(installation: Installation, count: number): Promise<void> {
  const { replicas, gateway } = installation;
  const replica = replicas.at(-1);
  if (replica === undefined) throw new Error('there is no replica');
  await replica.program.stop();
  const started = performance.now();
  replica.program.launch();
  await replica.program.ready(120_000);
  const readyMs = Math.round(performance.now() - started);
  const host = installation.hostOf(`pod${count - 1}`);
  await until('the last pod is served', () => answers(replica.program.httpsPort, host, gateway.ca), {
    timeoutMs: 120_000,
  });
  console.log(
    `cold start of a replica: ready after ${readyMs} ms, the last pod is served after ${Math.round(performance.now() - started)} ms`,
  );
}

function answers(port: number, host: string, ca: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, servername: host, ca, agent: false, headers: { host } };
    request({ ...options, path: '/' }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    })
      .on('error', reject)
      .end();
  });
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
