import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { copyFolder } from '../../support/installation/installation.ts';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';
import { recovery } from '../recovery.ts';
import type { Figures, Scenario } from '../scenario.ts';
import { echoPod, pagePod } from '../test-pods.ts';
import type { Trial } from '../trial.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const ROOT = join(import.meta.dirname, '../../..');
const SUSPECT_MS = 30_000;
const RECOVER_MS = 60_000;

/** What a user sees of a pod, and what must be the same after a recovery. */
interface Seen {
  readonly pod_id: string;
  readonly status: string;
  readonly description: string;
  readonly [field: string]: unknown;
}

/** Redis comes back with other data than it had: none, or those of an hour ago. */
export const restored: readonly Scenario[] = [
  {
    name: 'redis-empty',
    summary:
      'Redis comes back empty: no workload is touched, routes keep serving, `podgate recover` restores the records',
    async run(trial) {
      const { redis } = trial.installation;
      await trial.settle();
      const before = await podsOf(trial);
      await redis.kill();
      forget(redis.folder);
      await redis.start();
      const figures = await suspectThenRecovered(trial);
      const after = await podsOf(trial);
      // A pod without a workload has left no trace but in the store: it cannot come back.
      compare(
        trial,
        before.filter(({ status }) => status === 'RUNNING'),
        after,
      );
      for (const { pod_id: podId } of after) {
        if (!before.some((pod) => pod.pod_id === podId)) trial.problem(`${podId} is back from nowhere`);
      }
      await trial.churn.acceptPresent();
      return { ...figures, ...(await recovery(trial)) };
    },
  },
  {
    name: 'redis-older',
    summary: 'Redis comes back with an older copy: as above, and what was deleted since does not come back to life',
    async run(trial) {
      const { api, redis } = trial.installation;
      await trial.settle();
      await written(trial, 'POST', '/v3/pods?wait=routable', pagePod('todelete'));
      await written(trial, 'POST', '/v3/pods?wait=routable', pagePod('tochange'));
      await written(trial, 'POST', '/v3/pods?wait=routable', pagePod('tostop'));
      await redis.kill();
      const copy = `${redis.folder}.copy`;
      copyFolder(redis.folder, copy);
      await redis.start();
      await recovery(trial);
      trial.churn.start();
      await written(trial, 'DELETE', '/v3/pods/todelete');
      await written(trial, 'PUT', '/v3/pods/tochange', { description: 'changed since' });
      await written(trial, 'GET', '/v3/pods/tochange/restart');
      await written(trial, 'GET', '/v3/pods/tostop/stop');
      await written(trial, 'POST', '/v3/pods?wait=routable', echoPod('newsince'));
      await pause(2_000);
      await trial.settle();
      await until('what was deleted is gone', async () => (await api.call('GET', '/v3/pods/todelete')).status === 404);
      const before = await podsOf(trial);
      const runningBefore = before.filter(({ status }) => status === 'RUNNING');
      await redis.kill();
      copyFolder(copy, redis.folder);
      rmSync(copy, { recursive: true });
      await redis.start();
      const figures = await suspectThenRecovered(trial);
      compare(trial, runningBefore, await podsOf(trial));
      for (const podId of ['todelete', 'tostop']) {
        await until(`${podId}, which did not run any more, stays down`, async () => {
          const { status, result } = await api.call('GET', `/v3/pods/${podId}`);
          if (status === 404) return true;
          const pod = result as { status: string; status_requested: string };
          return pod.status === 'STOPPED' && pod.status_requested === 'OFF';
        });
      }
      await trial.churn.acceptPresent();
      for (const podId of ['todelete', 'tochange', 'tostop', 'newsince']) await api.call('DELETE', `/v3/pods/${podId}`);
      return { ...figures, ...(await recovery(trial)) };
    },
  },
];

/** The store is not believed, nothing is touched and all is served; then the operator says what is to be done. */
async function suspectThenRecovered(trial: Trial): Promise<Figures> {
  const { replicas, token } = trial.installation;
  const objects = await trial.objects();
  const started = performance.now();
  await until(
    'every replica finds the store suspect',
    async () => {
      for (const { program } of replicas) {
        if (!JSON.stringify((await program.get('/readyz', token)).body).includes('suspect')) return false;
      }
      return true;
    },
    { timeoutMs: SUSPECT_MS, everyMs: 100 },
  );
  const suspectMs = Math.round(performance.now() - started);
  await pause(trial.scale.outageMs);
  for (const problem of await trial.touchedSince(objects, 'all'))
    trial.problem(`while the store was suspect: ${problem}`);
  await trial.crowd.allServed(10_000);
  const recoverStarted = performance.now();
  const said = await recover(trial);
  trial.say(
    said
      .split('\n')
      .filter((line) => line !== '')
      .slice(-3)
      .join(' | '),
  );
  await until(
    'every replica believes the store again',
    async () => {
      for (const { program } of replicas) {
        if (!JSON.stringify((await program.get('/readyz', token)).body).includes('healthy')) return false;
      }
      return true;
    },
    { timeoutMs: RECOVER_MS, everyMs: 100 },
  );
  const recoveredMs = Math.round(performance.now() - recoverStarted);
  for (const problem of await trial.touchedSince(objects)) trial.problem(`by the recovery: ${problem}`);
  return { 'suspect after (ms)': suspectMs, 'recovered and believed after (ms)': recoveredMs };
}

async function recover({ installation }: Trial): Promise<string> {
  const [replica] = installation.replicas;
  if (replica === undefined) throw new Error('there is no replica');
  const { code, stdout, stderr } = await run(process.execPath, ['cli/podgate.ts', 'recover', '--yes'], {
    cwd: ROOT,
    env: { PODGATE_DATA_DIR: replica.program.dataDir },
    timeoutMs: RECOVER_MS,
  });
  if (code !== 0) throw new Error(`podgate recover: ${code ?? 'killed'}: ${stdout}${stderr}`);
  return `${stdout}${stderr}`;
}

async function podsOf({ installation }: Trial): Promise<readonly Seen[]> {
  const { status, result } = await installation.api.call('GET', '/v3/pods');
  if (status !== 200) throw new Error(`GET /v3/pods: ${status}`);
  return result as readonly Seen[];
}

function compare(trial: Trial, before: readonly Seen[], after: readonly Seen[]): void {
  for (const pod of before) {
    const now = after.find(({ pod_id: podId }) => podId === pod.pod_id);
    if (now === undefined) {
      trial.problem(`the record of ${pod.pod_id} is not restored`);
      continue;
    }
    for (const field of [
      'pod_template',
      'networking',
      'status',
      'status_requested',
      'permissions',
      'time_to_stop_default',
    ]) {
      const [was, is] = [JSON.stringify(pod[field]), JSON.stringify(now[field])];
      if (was !== is) trial.problem(`${pod.pod_id}: ${field} was ${was}, is ${is}`);
    }
  }
}

async function written({ installation }: Trial, method: string, path: string, body?: unknown): Promise<void> {
  const { status, message } = await installation.api.call(method, path, body, 70_000);
  if (status !== 200) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(message)}`);
}

/** What Redis keeps on its disk. */
function forget(folder: string): void {
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
}
