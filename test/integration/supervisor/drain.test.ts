import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';
import { startHaproxy, type Haproxy } from '../proxy/support/haproxy.ts';

const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1') // ${randomUUID()}`;
const HOST = 'echo.pods.localhost';
const READINESS_DELAY_MS = 1_500;
const SESSIONS_MS = 4_000;

const directory = mkdtempSync(join(tmpdir(), 'podgate-drain-'));
const replicas: Program[] = [];
let haproxy: Haproxy;

/** Two whole programs with a pod of the same name each: to the load balancer they are replicas. */
beforeAll(async () => {
  const config = join(directory, 'podgate.yaml');
  writeFileSync(
    config,
    [
      'proxyProtocol: { from: [127.0.0.1], policy: use }',
      `drain: { readinessDelayMs: ${READINESS_DELAY_MS}, sessionsMs: ${SESSIONS_MS} }`,
    ].join('\n'),
  );
  for (let count = 0; count < 2; count++) {
    const program = await Program.start({ workers: 2, env: { PODGATE_CONFIG: config } });
    replicas.push(program);
    await program.createPod({
      pod_id: 'echo',
      pod_template: 'podgate/process',
      command: ['node', '-e', ECHO],
      networking: { default: { protocol: 'tcp', port: 7000 } },
    });
  }
  haproxy = await startHaproxy(
    replicas.map(({ httpsPort, controlPort }, index) => ({
      name: `replica${index}`,
      port: httpsPort,
      controlPort,
      options: 'send-proxy-v2',
    })),
  );
  await until('both are up', async () => {
    const { replica0, replica1 } = await haproxy.status();
    return replica0?.startsWith('UP') === true && replica1?.startsWith('UP') === true;
  });
}, 120_000);
afterAll(async () => {
  await haproxy.stop();
  for (const program of replicas) await program.dispose();
  rmSync(directory, { recursive: true });
}, 60_000);

function open(port: number): Promise<TLSSocket> {
  const ca = replicas.map((program) => program.ca);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, servername: HOST, ca }, () => {
      socket.off('error', reject).on('error', () => undefined);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

async function echoes(socket: TLSSocket, word: string): Promise<boolean> {
  socket.write(word);
  try {
    const [data] = (await once(socket, 'data', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
    return data.toString() === word;
  } catch {
    return false;
  }
}

test('a replica that is asked to end refuses no new connection, and lets sessions continue for the drain time', async () => {
  const [leaving] = replicas;
  if (leaving === undefined) throw new Error('there is no replica');
  const running = await open(leaving.httpsPort);
  expect(await echoes(running, 'before')).toBe(true);
  const cutsMs: number[] = [];
  running.once('close', () => cutsMs.push(performance.now()));

  const failures: string[] = [];
  let good = 0;
  const stop = new AbortController();
  let toldMs: number | null = null;
  // With what the load balancer thinks at that moment: it may itself be late.
  const failed = async (why: string): Promise<void> => {
    const sinceMs = toldMs === null ? 'before' : `${Math.round(performance.now() - toldMs)} ms after`;
    failures.push(`${why}, ${sinceMs} SIGTERM, ${JSON.stringify(await haproxy.status())}`);
  };
  const load = Array.from({ length: 4 }, async (_, client) => {
    while (!stop.signal.aborted) {
      const socket = await open(haproxy.port).catch((error: unknown) => void failed(String(error)));
      if (socket === undefined) continue;
      if (await echoes(socket, `from ${client}`)) good++;
      else await failed('no echo');
      socket.destroy();
    }
  });
  await until('some have come through', () => good > 20);

  const signalledMs = performance.now();
  toldMs = signalledMs;
  leaving.signal('SIGTERM');
  await until('it is not ready', async () => (await leaving.get('/readyz')).status === 503, { timeoutMs: 1_000 });
  // While load balancers find out, it takes what comes.
  const late = await open(leaving.httpsPort);
  expect(await echoes(late, 'late')).toBe(true);
  late.destroy();
  await until('its sockets are closed', async () => {
    const refused = await open(leaving.httpsPort).then(
      (socket) => void socket.destroy(),
      (error: unknown) => error,
    );
    return (refused as { code?: string } | undefined)?.code === 'ECONNREFUSED';
  });
  expect(performance.now() - signalledMs).toBeGreaterThanOrEqual(READINESS_DELAY_MS - 50);
  expect(cutsMs).toEqual([]);
  expect(await echoes(running, 'while it drains')).toBe(true);
  expect((await leaving.get('/readyz')).status).toBe(503);
  const cutMs = await until('the session is cut in the end', () => cutsMs[0]);
  expect(cutMs - signalledMs).toBeGreaterThanOrEqual(READINESS_DELAY_MS + SESSIONS_MS - 200);
  await leaving.ended(15_000);
  await until('more have come through', () => good > 60);
  stop.abort();
  await Promise.all(load);
  expect(failures).toEqual([]);
}, 60_000);

test('Ctrl-C does not drain: everything is down within 5 s', async () => {
  const [, staying] = replicas;
  if (staying === undefined) throw new Error('there is no replica');
  const session = await open(staying.httpsPort);
  expect(await echoes(session, 'word')).toBe(true);
  staying.signal('SIGINT');
  await staying.ended(6_500);
  session.destroy();
});
