import { writeFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';
import { recovery } from '../recovery.ts';
import type { Scenario } from '../scenario.ts';
import type { Trial } from '../trial.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** Users have written something, so that the fault meets work under way. */
const AT_WORK_MS = 2_000;

/** Redis or the API server is away and comes back with what it had. */
export const outages: readonly Scenario[] = [
  {
    name: 'redis-killed',
    summary: 'Redis is killed (SIGKILL) and back after a while with its data',
    async run(trial) {
      const { redis } = trial.installation;
      await pause(AT_WORK_MS);
      await redis.kill();
      await pause(trial.scale.outageMs);
      await redis.start();
      return recovery(trial);
    },
  },
  {
    name: 'redis-paused',
    summary: 'Redis is paused (SIGSTOP), for longer than any lease, and goes on (SIGCONT)',
    async run(trial) {
      const { redis } = trial.installation;
      await pause(AT_WORK_MS);
      redis.signal('SIGSTOP');
      await pause(trial.scale.pauseMs);
      redis.signal('SIGCONT');
      return recovery(trial);
    },
  },
  {
    name: 'redis-full',
    summary: 'Redis has reached maxmemory and refuses what needs room, and then has room again',
    async run(trial) {
      await pause(AT_WORK_MS);
      await redisCommand(trial, 'CONFIG', 'SET', 'maxmemory', '1mb');
      await pause(trial.scale.outageMs);
      await redisCommand(trial, 'CONFIG', 'SET', 'maxmemory', '0');
      return recovery(trial);
    },
  },
  {
    name: 'disk-full',
    summary: "Redis' disk is full: it ends, as it cannot keep its promise, and is started again when there is room",
    async run(trial) {
      const { redis } = trial.installation;
      await pause(AT_WORK_MS);
      const filler = join(redis.folder, 'filler');
      fill(filler);
      await until('Redis has met the full disk', () => redis.hasEnded, { timeoutMs: 30_000 });
      await pause(trial.scale.outageMs);
      rmSync(filler);
      await redis.start();
      return recovery(trial);
    },
  },
  {
    name: 'api-server-killed',
    summary: 'The API server is killed (SIGKILL) and back after a while with its data',
    async run(trial) {
      const { cluster } = trial.installation;
      await pause(AT_WORK_MS);
      await cluster.killApiServer();
      await pause(trial.scale.outageMs);
      await cluster.startApiServer();
      return recovery(trial);
    },
  },
  {
    name: 'api-server-paused',
    summary: 'The API server is paused (SIGSTOP): its connections stay open and say nothing; then it goes on',
    async run(trial) {
      const { cluster } = trial.installation;
      await pause(AT_WORK_MS);
      cluster.signalApiServer('SIGSTOP');
      await pause(trial.scale.pauseMs);
      cluster.signalApiServer('SIGCONT');
      return recovery(trial);
    },
  },
];

async function redisCommand({ installation }: Trial, ...words: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await run('redis-cli', ['-p', String(installation.redis.port), ...words]);
  if (code !== 0 || stdout.trim() !== 'OK') throw new Error(`redis-cli ${words.join(' ')}: ${stdout}${stderr}`);
}

/** Writes until the file system has no room. */
function fill(path: string): void {
  const piece = Buffer.alloc(1 << 16);
  try {
    for (;;) writeFileSync(path, piece, { flag: 'a' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  // The rest of the last block, byte by byte.
  try {
    for (;;) writeFileSync(path, '0', { flag: 'a' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}
