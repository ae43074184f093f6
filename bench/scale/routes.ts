import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRedisDatabase } from '../../control/store/redis/redis-database.ts';
import { podHost } from '../../core/ids.ts';
import { podPut } from '../../core/pod-put.ts';
import { podRecord } from '../../test/support/pod-records.ts';
import { Program } from '../../test/support/program.ts';
import { RedisServer } from '../../test/support/redis-server.ts';
import { silentLog } from '../../test/support/silent-log.ts';
import { until } from '../../test/support/until.ts';
import { cpuSeconds } from '../measure.ts';
import { idle, processesOf, redisInfo, showIdle } from './processes.ts';

const WORKERS = 2;
const BATCH = 200;
const IDLE_MS = 30_000;
const FULL_MS = 300_000;

/** So many records of pods in Redis and one whole Podgate on it: memory, idle cost, and how soon it knows all routes. */
export async function measureRoutes(count: number): Promise<void> {
  const redis = await RedisServer.start();
  const directory = mkdtempSync(join(tmpdir(), 'podgate-routes-'));
  // All records are one user's.
  const settings = ['pods', 'volumes', 'recordKiB', 'cpu', 'memory'].flatMap((name) =>
    ['User', 'Tenant'].map((scope) => `${name}Per${scope}: null`),
  );
  writeFileSync(join(directory, 'podgate.yaml'), `quotas: {${settings.join(', ')}}\n`);
  const env = { PODGATE_REDIS_URL: redis.url, PODGATE_CONFIG: join(directory, 'podgate.yaml') };
  const program = await Program.prepare({ workers: WORKERS, env });
  try {
    const empty = (await redisInfo(redis.port))('used_memory');
    await fill(redis.url, count);
    const info = await redisInfo(redis.port);
    const bytes = info('used_memory') - empty;
    console.log(`${count} records: Redis ${mib(bytes)} MiB more (${Math.round(bytes / count)} bytes a pod)`);
    console.log(`  append-only file ${mib(info('aof_current_size'))} MiB`);

    const started = performance.now();
    const sinceMs = (): number => Math.round(performance.now() - started);
    await program.start();
    console.log(`  ready after ${sinceMs()} ms`);
    const last = podHost(`pod${count - 1}`, 'default', 'localhost');
    await until('the last route is known', async () => (await statusOf(program, last)) === 503, { timeoutMs: FULL_MS });
    console.log(`  the last route is served after ${sinceMs()} ms`);
    const processes = [...processesOf('', program), { name: ' redis-server', pid: redis.pid }];
    console.log(
      `  CPU until then: ${processes.map(({ name, pid }) => `${name.trim()} ${cpuSeconds([pid])} s`).join(', ')}`,
    );

    await new Promise((resolve) => setTimeout(resolve, 5_000));
    const before = (await redisInfo(redis.port))('total_commands_processed');
    console.log(`idle for ${IDLE_MS / 1_000} s`);
    console.log(showIdle(await idle(processes, IDLE_MS)));
    const calls = (await redisInfo(redis.port))('total_commands_processed') - before;
    console.log(`  Redis: ${((calls * 1_000) / IDLE_MS).toFixed(1)} commands/s`);

    const latencies: number[] = [];
    for (let n = 0; n < 5; n += 1) {
      const begun = performance.now();
      const body = { pod_id: `fresh${n}`, pod_template: 'podgate/hello' };
      const { status } = await program.api('POST', '/v3/pods?wait=routable', body);
      if (status !== 200) throw new Error(`create: ${status}`);
      latencies.push(Math.round(performance.now() - begun));
    }
    console.log(`  POST to routable in both workers, hello pod, five times: ${latencies.join(', ')} ms`);
  } finally {
    await program.dispose();
    await redis.dispose();
    rmSync(directory, { recursive: true });
  }
}

async function fill(url: string, count: number): Promise<void> {
  const database = await openRedisDatabase({ url, site: 'dev', log: silentLog, deadlineMs: 60_000 });
  for (let from = 0; from < count; from += BATCH) {
    const puts = Array.from({ length: Math.min(BATCH, count - from) }, (_, index) => {
      const podId = `pod${from + index}`;
      const record = podRecord({ tenant: 'dev', podId, uid: `uid-${podId}`, wish: 'OFF', status: 'STOPPED' });
      return podPut(record, 'absent');
    });
    const result = await database.store.commit({ puts });
    if (result.kind !== 'committed') throw new Error(result.kind);
  }
  database.close();
}

/** Of a GET through the gateway; 503 for a pod that is STOPPED, 404 for a name that it does not know. */
function statusOf({ httpsPort, ca }: Program, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: httpsPort, servername: host, ca, agent: false };
    const outgoing = request({ ...options, path: '/', headers: { host: `${host}:${httpsPort}` } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    outgoing.on('error', reject).end();
  });
}

const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
