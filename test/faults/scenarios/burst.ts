import { until } from '../../support/until.ts';
import { type ApiCalls, apiServerCalls, callsSince } from '../api-server-calls.ts';
import type { Scenario } from '../scenario.ts';
import { pagePod } from '../test-pods.ts';

/** Calls of one user that are under way at a time. */
const CALLERS = 32;
const RUNNING_MS = 600_000;

export const burst: Scenario = {
  name: 'burst',
  summary: 'Many pods are created at once: time to all RUNNING, depth of the queue, calls of the API server a pod',
  async run(trial) {
    const { api, cluster } = trial.installation;
    const count = trial.scale.burst;
    await trial.settle();
    const before: ApiCalls = await apiServerCalls(cluster.client);
    const names = Array.from({ length: count }, (_, index) => `burst${index}`);
    const started = performance.now();
    const seconds = (): number => Math.round((performance.now() - started) / 100) / 10;
    await forEach(names, async (podId) => {
      const { status, message } = await api.call('POST', '/v3/pods', pagePod(podId), 60_000);
      if (status !== 200) trial.problem(`create ${podId}: ${status} ${JSON.stringify(message)}`);
    });
    const acceptedSeconds = seconds();
    const depths: string[] = [];
    let toldAt = 0;
    await until(
      'all of them are RUNNING',
      async () => {
        const { result } = await api.call('GET', '/v3/pods', undefined, 60_000);
        const pods = (result as readonly { pod_id: string; status: string }[]).filter(({ pod_id: id }) =>
          id.startsWith('burst'),
        );
        const running = pods.filter(({ status }) => status === 'RUNNING').length;
        if (performance.now() - toldAt > 5_000 || running === count) {
          toldAt = performance.now();
          const waiting = pods.filter(({ status }) => status === 'REQUESTED').length;
          depths.push(`${seconds()} s: ${waiting} wait, ${running} run`);
          trial.say(depths.at(-1) ?? '');
        }
        return running === count;
      },
      { timeoutMs: RUNNING_MS, everyMs: 500 },
    );
    const runningSeconds = seconds();
    const calls = callsSince(before, await apiServerCalls(cluster.client));
    await forEach(names, async (podId) => {
      const { status } = await api.call('DELETE', `/v3/pods/${podId}`, undefined, 60_000);
      if (status !== 200) trial.problem(`delete ${podId}: ${status}`);
    });
    return {
      pods: count,
      'all accepted after (s)': acceptedSeconds,
      'all RUNNING after (s)': runningSeconds,
      'waiting and running over time': depths.join('; '),
      'API server calls a pod, by Podgate': Math.round((calls.byPodgate / count) * 100) / 100,
      'API server calls a pod, all': Math.round((calls.all / count) * 100) / 100,
      'API server calls': calls.table,
    };
  },
};

async function forEach(names: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
  const queue = [...names];
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift()) await work(name);
    }),
  );
}
