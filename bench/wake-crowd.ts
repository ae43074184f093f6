/**
 * node bench/wake-crowd.ts [REQUESTS = 10000]
 * Three replicas with Redis, kube-apiserver and a load balancer: so many requests at the same time, a hundred on each
 * connection, for one pod that sleeps. Tells how often it was started, by which replicas, and what the clients got.
 */
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:tls';
import { helpIfAsked } from '../scripts/help.ts';
import { pagePod, TEST_IMAGE } from '../test/faults/test-pods.ts';
import { type Installation, startInstallation } from '../test/support/installation/installation.ts';
import { until } from '../test/support/until.ts';
import { machine } from './measure.ts';

helpIfAsked(import.meta.filename);

const requests = Number(process.argv[2] ?? 10_000);
const PER_CONNECTION = 100;
const POD = 'crowded';

const installation = await startInstallation({ replicas: 3, workers: 1, images: [TEST_IMAGE] });
try {
  const { api } = installation;
  const made = async (path: string, body: object): Promise<void> => {
    const { status, message } = await api.call('POST', path, body);
    if (status !== 200) throw new Error(`POST ${path}: ${status} ${String(message)}`);
  };
  await made('/v3/pods/volumes', { volume_id: POD });
  await made('/v3/pods', {
    ...{ ...pagePod(POD), sleep: { after_seconds: 60, hold_seconds: 60 } },
    volume_mounts: { '/data': { type: 'tapisvolume', source_id: POD } },
  });
  const pod = async () =>
    (await api.call('GET', `/v3/pods/${POD}`)).result as { status: string; action_logs: readonly string[] };
  await until('it sleeps', async () => (await pod()).status === 'ASLEEP', { timeoutMs: 300_000, everyMs: 2_000 });
  console.log(`${machine()}; three replicas, one gateway worker each; the pod sleeps`);

  const sessions = await Promise.all(
    Array.from({ length: Math.ceil(requests / PER_CONNECTION) }, () => opened(installation)),
  );
  const outcomes = new Map<string, number>();
  const fromMs = performance.now();
  let firstMs = Infinity;
  await Promise.all(
    Array.from({ length: requests }, async (_, index) => {
      const what = await asked(sessions[index % sessions.length] as ClientHttp2Session);
      if (what === '200') firstMs = Math.min(firstMs, performance.now() - fromMs);
      outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
    }),
  );
  const lastMs = performance.now() - fromMs;
  for (const session of sessions) session.destroy();
  const wakes = (await pod()).action_logs.filter((line) => line.includes('woken by'));
  const counted = await Promise.all(installation.replicas.map(async ({ program }) => wakesOf(program.controlPort)));
  const told = [...outcomes].map(([what, count]) => `${count} got ${what}`).join(', ');
  console.log(
    `${requests} requests on ${sessions.length} connections: ${told}; the first 200 after ${firstMs.toFixed(0)} ms, all after ${lastMs.toFixed(0)} ms`,
  );
  console.log(`${wakes.length} start (by replicas: ${counted.join(', ')})`);
  if (wakes.length !== 1) process.exitCode = 1;
} finally {
  await installation.dispose();
}

async function opened(installation: Installation): Promise<ClientHttp2Session> {
  const { gateway } = installation;
  const host = installation.hostOf(POD);
  const options = { host: '127.0.0.1', servername: host, ALPNProtocols: ['h2'] };
  const socket = connect({ port: gateway.port, ca: gateway.ca, ...options });
  await once(socket, 'secureConnect');
  const session = connectHttp2(`https://${host}`, { createConnection: () => socket });
  session.on('error', () => undefined);
  await once(session, 'remoteSettings');
  return session;
}

/** The status, or how it ended without one. */
function asked(session: ClientHttp2Session): Promise<string> {
  return new Promise((resolve) => {
    const stream = session.request({ ':path': '/' });
    let what = 'nothing';
    stream.once('response', (headers) => (what = String(headers[':status'])));
    stream.once('error', (error) => (what = (error as NodeJS.ErrnoException).code ?? error.message));
    stream.once('close', () => resolve(what));
    stream.resume().end();
  });
}

async function wakesOf(controlPort: number): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${controlPort}/metrics`)).text();
  return Number(/^podgate_pod_wakes_total (\d+)/m.exec(metrics)?.[1] ?? 0);
}
