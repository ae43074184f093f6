import { request } from 'node:https';
import { until } from '../support/until.ts';
import { identityOf } from './clients/client.ts';
import type { Figures } from './scenario.ts';
import { pagePod } from './test-pods.ts';
import type { Trial } from './trial.ts';

const RECOVERED_MS = 60_000;
const ASK_MS = 5_000;
const POD = 'afterwards';

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
      const { status } = await api.call('POST', '/v3/pods?wait=routable', pagePod(POD), 65_000);
      // Of a try that was never answered: the pod is there, but whether it is reached is not known yet.
      return status === 200 || status === 409;
    },
    { timeoutMs: RECOVERED_MS, everyMs: 100 },
  );
  await until('the new pod answers', () => isReached(trial, trial.installation.hostOf(POD)), {
    timeoutMs: RECOVERED_MS,
    everyMs: 50,
  });
  const routableMs = sinceMs();
  await until('it can be deleted', async () => {
    const { status } = await api.call('DELETE', `/v3/pods/${POD}`);
    return status === 200 || status === 404;
  });
  return { 'API answers everywhere after (ms)': apiMs, 'new pod routable after (ms)': routableMs };
}

/** One request through HAProxy; only an answer of that very pod counts. */
function isReached({ installation }: Trial, host: string): Promise<boolean> {
  const { port, ca } = installation.gateway;
  return new Promise((resolve) => {
    const outgoing = request({
      ...{ host: '127.0.0.1', port, ca, servername: host, agent: false, path: '/' },
      headers: { host: `${host}:${port}`, accept: 'application/json' },
      signal: AbortSignal.timeout(ASK_MS),
    });
    outgoing.on('response', (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (text: string) => (body += text));
      answer.on('error', () => resolve(false));
      answer.on('end', () => resolve(answer.statusCode === 200 && identityOf(body)?.name.endsWith(`-${POD}`) === true));
    });
    outgoing.on('error', () => resolve(false)).end();
  });
}
