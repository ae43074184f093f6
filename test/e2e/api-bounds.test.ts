import { readFileSync } from 'node:fs';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, expect, it } from 'vitest';
import { run } from '../support/run.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
/** By default a user's calls are counted up to 64 MiB; the rest is garbage that is not collected yet. */
const GROWTH_MAX_BYTES = 180 * MIB;
const READY_MAX_MS = 2_000;

let program: Program | null = null;
const sockets: TLSSocket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await program?.dispose();
  program = null;
});

function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
  return pages * 4_096;
}

async function tokenOf({ dataDir }: Program, user: string): Promise<string> {
  const env = { PODGATE_DATA_DIR: dataDir };
  const { stdout, stderr } = await run(process.execPath, ['bin/podgate.mjs', 'token', '--user', user], { env });
  if (stdout.trim() === '') throw new Error(stderr);
  return stdout.trim();
}

/** Asks through the gateway and does not read. */
function askUnread({ httpsPort, ca }: Program, path: string, token: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: httpsPort, servername: 'localhost', ca }, () => {
      socket.pause();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost:${httpsPort}\r\nX-Tapis-Token: ${token}\r\n\r\n`);
      resolve();
    });
    socket.on('error', reject);
    sockets.push(socket);
  });
}

async function metricOf({ controlPort }: Program, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${controlPort}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'm').exec(text)?.[1]);
}

/**
 * Of the control child while 150 connections ask for `path`: the growth of its memory, the slowest response of /readyz and
 * the most bytes that calls held. And what they hold once nothing moves any more: nothing, when all responses fit into
 * the buffers of the sockets on the way, which the kernel holds.
 */
async function underUnread(of: Program, path: string, token: string) {
  const [control] = of.children('control');
  if (control === undefined) throw new Error('there is no control child');
  const bytesInFlight = () => metricOf(of, 'podgate_api_bytes_in_flight');
  // What the process needs to serve such a response at all, it keeps: a few that are read come first.
  for (let read = 0; read < 10; read += 1) await of.get(path);
  const before = residentBytes(control.pid);
  let most = before;
  let mostInFlight = 0;
  let slowestMs = 0;
  const over = new AbortController();
  const watching = (async () => {
    while (!over.signal.aborted) {
      const startedMs = performance.now();
      const { status } = await of.get('/readyz');
      expect(status).toBe(200);
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
      most = Math.max(most, residentBytes(control.pid));
      mostInFlight = Math.max(mostInFlight, await bytesInFlight());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  for (let asked = 0; asked < 150; asked += 25) {
    await Promise.all(Array.from({ length: 25 }, () => askUnread(of, path, token)));
  }
  await until('calls hold responses', () => mostInFlight > 0);
  await until('nothing moves any more', async () => {
    const bytes = await bytesInFlight();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return (await bytesInFlight()) === bytes;
  });
  over.abort();
  await watching;
  const active = await metricOf(of, 'podgate_api_calls_active');
  return { growth: most - before, slowestMs, mostInFlight, active, bytes: await bytesInFlight() };
}

it('150 connections that request 10 MB of logs and do not read cost no more than the user may hold', async () => {
  program = await Program.start({ workers: 2 });
  const printing = 'for (let i = 0; i < 2400; i += 1) console.log("\\u0001".repeat(1999));';
  const serving = 'require("http").createServer((q, s) => s.end("hello")).listen(process.env.PORT, "127.0.0.1");';
  await program.createPod({
    pod_id: 'chat',
    pod_template: 'podgate/process',
    command: [process.execPath, '-e', `${printing}${serving}`],
  });
  const path = `/v3/pods/chat/logs?tail_bytes=${10 * MIB}`;
  await until('it has printed', async () => {
    const { body } = await (program as Program).get(path);
    return (body.result as { logs: string }).logs.length > 4 * MIB;
  });
  const { growth, slowestMs, mostInFlight, active, bytes } = await underUnread(program, path, program.token);
  expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
  expect(slowestMs).toBeLessThan(READY_MAX_MS);
  expect(active).toBeLessThanOrEqual(64);
  expect(mostInFlight).toBeLessThanOrEqual(64 * MIB);
  // As text, the logs have 28 MB: no buffer on the way takes them.
  expect(bytes).toBeGreaterThan(0);
});

it('150 connections that request a list of large pods and do not read cost no more than the user may hold', async () => {
  program = await Program.start({ workers: 2 });
  const variables = Object.fromEntries(['A', 'B'].map((name) => [name, name.repeat(30_000)]));
  for (let index = 0; index < 40; index += 1) {
    const { status } = await program.api('POST', '/v3/pods', {
      pod_id: `fat${index}`,
      pod_template: 'podgate/process',
      command: ['sleep', '1'],
      environment_variables: variables,
      status_requested: 'OFF',
    });
    if (status === 403 || status === 429) break;
    expect(status).toBe(200);
  }
  const { growth, slowestMs, mostInFlight } = await underUnread(program, '/v3/pods', program.token);
  expect(growth).toBeLessThan(GROWTH_MAX_BYTES);
  expect(slowestMs).toBeLessThan(READY_MAX_MS);
  expect(mostInFlight).toBeLessThanOrEqual(64 * MIB);
});

it('bodies with 40,000 invalid names affect neither readiness nor other calls', async () => {
  program = await Program.start({ workers: 1 });
  const { controlPort } = program;
  const token = await tokenOf(program, 'mallory').catch(() => (program as Program).token);
  const names = Array.from({ length: 40_000 }, (_, index) => `"${index}!":"v"`).join(',');
  const body = `{"environment_variables":{${names}}}`;
  const over = new AbortController();
  let refused = 0;
  const sending = Array.from({ length: 16 }, async () => {
    while (!over.signal.aborted) {
      const answer = await fetch(`http://127.0.0.1:${controlPort}/v3/pods`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-tapis-token': token },
        body,
      });
      expect([400, 403, 429]).toContain(answer.status);
      await answer.arrayBuffer();
      refused += 1;
    }
  });
  await until('they are at it', () => refused > 16);
  for (let probes = 0; probes < 20; probes += 1) {
    const startedMs = performance.now();
    expect((await program.get('/readyz')).status).toBe(200);
    expect(performance.now() - startedMs).toBeLessThan(READY_MAX_MS);
    expect((await program.get('/v3/pods')).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  over.abort();
  await Promise.all(sending);
});

it('the API log of the program names the client behind the gateway, whatever the client claims', async () => {
  program = await Program.start({ workers: 1 });
  const { httpsPort, caPath } = program;
  await run('curl', [
    ...['-sS', '-o', '/dev/null', '--cacert', caPath, '--resolve', `localhost:${httpsPort}:127.0.0.1`],
    ...['-H', 'X-Forwarded-For: 203.0.113.7', '-H', 'X-Request-Id: mine', `https://localhost:${httpsPort}/v3/pods`],
  ]);
  const line = await until('it is logged', () =>
    (program as Program).output.split('\n').find((one) => one.includes('api request') && one.includes('"status":401')),
  );
  expect(JSON.parse(line)).toMatchObject({ remoteAddress: '127.0.0.1', path: '/pods' });
});
