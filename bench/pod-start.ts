/**
 * node bench/pod-start.ts [COUNT = 100]
 * How long from POST to RUNNING in every worker and to the first byte through TLS, for the hello pod; and from the
 * moment a program listens to the moment its route is live in every worker.
 */
import { request } from 'node:https';
import { Program } from '../test/support/program.ts';
import { until } from '../test/support/until.ts';
import { machine, quantiles, show } from './measure.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const COUNT = Number(process.argv[2] ?? 100);
const LISTENER =
  "require('node:http').createServer((q, r) => r.end('ok')).listen(process.env.PORT, '127.0.0.1', () => console.log('listening at ' + Date.now()))";

const program = await Program.start({ workers: 2 });
try {
  console.log(machine());
  await startToFirstByte();
  await readyToLive();
} finally {
  await program.dispose();
}

async function startToFirstByte(): Promise<void> {
  const running: number[] = [];
  const firstByte: number[] = [];
  for (let i = 0; i < COUNT; i += 1) {
    const podId = `hello${i}`;
    const started = performance.now();
    const created = await program.api('POST', '/v3/pods?wait=routable', {
      pod_id: podId,
      pod_template: 'podgate/hello',
    });
    if (created.status !== 200) throw new Error(`create: ${created.status} ${JSON.stringify(created.body)}`);
    running.push(performance.now() - started);
    await get(`${podId}.pods.localhost`);
    firstByte.push(performance.now() - started);
    await remove(podId);
  }
  console.log(`POST to RUNNING and routable, hello pod, n=${COUNT}: ${show(quantiles(running))}`);
  console.log(`POST to first byte through TLS: ${show(quantiles(firstByte))}`);
}

async function readyToLive(): Promise<void> {
  const live: number[] = [];
  for (let i = 0; i < COUNT; i += 1) {
    const podId = `listener${i}`;
    const created = await program.api('POST', '/v3/pods?wait=routable', {
      pod_id: podId,
      pod_template: 'podgate/process',
      command: ['node', '-e', LISTENER],
    });
    const answered = Date.now();
    if (created.status !== 200) throw new Error(`create: ${created.status} ${JSON.stringify(created.body)}`);
    const logs = (await program.get(`/v3/pods/${podId}/logs`)).body.result as { logs: string };
    live.push(answered - Number(/listening at (\d+)/.exec(logs.logs)?.[1]));
    await remove(podId);
  }
  console.log(`listening to live in every worker (the API's answer included), n=${COUNT}: ${show(quantiles(live))}`);
}

async function remove(podId: string): Promise<void> {
  await program.api('DELETE', `/v3/pods/${podId}`);
  await until('it is gone', async () => {
    const text = JSON.stringify((await program.get('/v3/pods')).body.result);
    return !text.includes(`"${podId}"`);
  });
}

function get(host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port: program.httpsPort, servername: host, ca: program.ca, agent: false, headers: { host } },
      (answer) => {
        answer.once('data', () => {
          resolve();
          answer.destroy();
        });
        if (answer.statusCode !== 200) reject(new Error(`status ${answer.statusCode ?? 0}`));
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}
