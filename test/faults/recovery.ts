import { until } from '../support/until.ts';
import type { Figures } from './scenario.ts';
import { pagePod } from './test-pods.ts';
import type { Trial } from './trial.ts';

const RECOVERED_MS = 60_000;

/**
 * After a fault: how long until the API answers everywhere again, and until a new pod can be made and reached. Deletes
 * that pod again.
 */
export async function recovery(trial: Trial): Promise<Figures> {
  const { api, replicas } = trial.installation;
  const started = performance.now();
  const sinceMs = (): number => Math.round(performance.now() - started);
  await until(
    'every replica answers the API',
    async () => {
      for (const { program } of replicas) {
        if ((await program.get('/v3/pods/stable0', trial.installation.token)).status !== 200) return false;
      }
      return true;
    },
    { timeoutMs: RECOVERED_MS, everyMs: 50 },
  );
  const apiMs = sinceMs();
  await until(
    'a new pod can be created',
    async () => {
      const { status } = await api.call('POST', '/v3/pods?wait=routable', pagePod('afterwards'), 65_000);
      return status === 200 || status === 409;
    },
    { timeoutMs: RECOVERED_MS, everyMs: 100 },
  );
  const routableMs = sinceMs();
  await until('it can be deleted', async () => {
    const { status } = await api.call('DELETE', '/v3/pods/afterwards');
    return status === 200 || status === 404;
  });
  return { 'API answers everywhere after (ms)': apiMs, 'new pod routable after (ms)': routableMs };
}
