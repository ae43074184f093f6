import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { until } from '../../support/until.ts';

const QUOTA = 6;
/** Greets, so that a client knows that it was admitted, and reads, so that it learns of the end of its clients. */
const WELCOMING =
  "require('node:net').createServer((socket) => socket.on('error', () => undefined).resume().write('welcome'))" +
  ".listen(process.env.PORT, '127.0.0.1')";

const directory = mkdtempSync(join(tmpdir(), 'podgate-quotas-'));
const clients: TLSSocket[] = [];
let redis: RedisServer;
let one: Program;
let two: Program | null = null;

const startReplica = (): Promise<Program> =>
  Program.start({
    workers: 2,
    env: {
      PODGATE_SITE: 'quotas',
      PODGATE_REDIS_URL: redis.url,
      PODGATE_CONFIG: join(directory, 'podgate.yaml'),
      PODGATE_SECRET_KEY_FILE: join(directory, 'secret.key'),
    },
  });

beforeAll(async () => {
  writeFileSync(join(directory, 'podgate.yaml'), `quotas: {connectionsPerUser: ${QUOTA}}\n`);
  redis = await RedisServer.start();
  one = await startReplica();
  await one.createPod({
    pod_id: 'greeter',
    pod_template: 'podgate/process',
    command: ['node', '-e', WELCOMING],
    networking: { default: { protocol: 'tcp', port: 7000 } },
  });
}, 180_000);
afterAll(async () => {
  for (const client of clients) client.destroy();
  await two?.dispose();
  await one.dispose();
  await redis.dispose();
  rmSync(directory, { recursive: true });
});

/** Whether the pod has taken it. */
async function isAdmitted(): Promise<boolean> {
  const servername = 'greeter.pods.localhost';
  const client = connect({ host: '127.0.0.1', port: one.httpsPort, servername, ca: one.ca });
  clients.push(client);
  client.on('error', () => undefined).write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const answer = await new Promise<string>((resolve) => {
    client.once('data', (data: Buffer) => resolve(data.toString())).once('close', () => resolve('closed'));
  });
  return answer.startsWith('welcome');
}

/** Ends all clients, and waits until their places are free: what is admitted next is counted from none. */
async function closeAll(): Promise<void> {
  for (const client of clients.splice(0)) client.destroy();
  await until('no session is left', async () => {
    const { body } = await one.get('/v3/pods/greeter/connections');
    return (body.result as { readonly sessions_now: number }).sessions_now === 0;
  });
}

async function admitted(): Promise<number> {
  await closeAll();
  let count = 0;
  for (let index = 0; index < QUOTA + 2; index++) if (await isAdmitted()) count++;
  return count;
}

test('a second replica halves the quota of connections in the first, until it is gone', async () => {
  await until('the whole quota', async () => (await admitted()) === QUOTA, { timeoutMs: 30_000 });
  two = await startReplica();
  await until('half of it', async () => (await admitted()) === QUOTA / 2, { timeoutMs: 60_000 });
  await two.dispose();
  two = null;
  await until('the whole quota again', async () => (await admitted()) === QUOTA, { timeoutMs: 60_000 });
  expect(await admitted()).toBe(QUOTA);
}, 240_000);
