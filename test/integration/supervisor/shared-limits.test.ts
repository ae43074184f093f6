import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';

const LIMIT = 10;
const OWNER_LIMIT = 6;
const WELCOMING =
  "require('node:net').createServer((socket) => socket.on('error', () => undefined).write('welcome'))" +
  ".listen(process.env.PORT, '127.0.0.1')";
const directory = mkdtempSync(join(tmpdir(), 'podgate-limits-'));
let program: Program;
const clients: TLSSocket[] = [];

beforeAll(async () => {
  const file = join(directory, 'podgate.yaml');
  writeFileSync(file, `limits: {connectionsPerAddress: ${LIMIT}}\nquotas: {connectionsPerUser: ${OWNER_LIMIT}}\n`);
  program = await Program.start({ workers: 3, env: { PODGATE_CONFIG: file } });
}, 120_000);
afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true });
});
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
});

/** True: it has a place, and keeps it. */
async function open(host = 'localhost', welcome = 'HTTP/1.1 401 '): Promise<boolean> {
  const client = connect({
    host: '127.0.0.1',
    port: program.httpsPort,
    servername: host,
    ca: program.ca,
    ALPNProtocols: ['http/1.1'],
  });
  client.on('error', () => undefined);
  client.write(`GET /v3/pods HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  // One that is closed at once, beyond those that are told why, has no place either.
  const answer = await new Promise<string>((resolve) => {
    client.once('data', (data: Buffer) => resolve(data.toString())).once('close', () => resolve('closed'));
  });
  const isIn = answer.startsWith(welcome);
  if (isIn) clients.push(client.on('close', () => clients.splice(clients.indexOf(client), 1)));
  else {
    expect(answer).toMatch(/^(HTTP\/1\.1 503 |closed)/);
    client.destroy();
  }
  return isIn;
}

/** How many of so many at a time have a place. */
async function openMany(count: number): Promise<number> {
  const answers = await Promise.all(Array.from({ length: count }, () => open()));
  return answers.filter((isIn) => isIn).length;
}

describe('a limit that three workers share', () => {
  it('is exact, however the kernel distributes the connections', async () => {
    expect(await openMany(LIMIT + 6)).toBe(LIMIT);
    for (const client of clients.slice(0, 4)) client.destroy();
    let more = 0;
    await until('the places are free', async () => (more += await openMany(2)) >= 4);
    expect([more, clients.length]).toEqual([4, LIMIT]);
    expect(await openMany(4)).toBe(0);
  });

  it('gets its places back when a worker dies', async () => {
    await until('the places of the last test are free', async () => {
      await openMany(LIMIT);
      return clients.length === LIMIT;
    });
    const [worker] = program.children('worker');
    if (worker === undefined) throw new Error('no worker');
    process.kill(worker.pid, 'SIGKILL');
    await until('its connections are gone', () => clients.length < LIMIT);
    await until('they are made again', async () => {
      await openMany(3);
      return clients.length === LIMIT;
    });
    expect(await openMany(5)).toBe(0);
  });
});

describe('a quota that three workers share', () => {
  it('counts the sessions of both pods of an owner', async () => {
    const networking = { default: { protocol: 'tcp', port: 7000 } };
    for (const pod_id of ['one', 'two']) {
      await program.createPod({
        pod_id,
        pod_template: 'podgate/process',
        command: ['node', '-e', WELCOMING],
        networking,
      });
    }
    const openPod = (pod: string): Promise<boolean> => open(`${pod}.pods.localhost`, 'welcome');
    await until('all sessions that the owner may have are open', async () => {
      for (const pod of ['one', 'two']) if (clients.length < OWNER_LIMIT) await openPod(pod);
      return clients.length === OWNER_LIMIT;
    });
    expect([await openPod('one'), await openPod('two'), clients.length]).toEqual([false, false, OWNER_LIMIT]);
  });
});
