import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';

let program: Program;
const opened: Socket[] = [];
beforeAll(async () => {
  program = await Program.start({
    workers: 1,
    env: {
      NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, '../../support/misbehave.mjs')).href}`,
    },
  });
});
afterAll(async () => {
  await program.dispose();
});
afterEach(() => {
  for (const socket of opened.splice(0)) socket.destroy();
});

/** The whole answer to these bytes, which are not ended. */
function said(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: program.controlPort });
    opened.push(socket);
    let text = '';
    socket.setEncoding('latin1').on('data', (more: string) => (text += more));
    socket.on('end', () => resolve(text)).on('error', reject);
    socket.write(bytes, 'latin1');
  });
}

test('probes get responses while the control process is busy, and calls wait for it', async () => {
  const [control] = program.children('control');
  process.kill(control?.pid ?? 0, 'SIGWINCH');
  const call = program.get('/v3/healthcheck');
  // Once its report is too old, 15 s later, it is not ready; the supervisor replaces it after 30.
  expect((await program.get('/readyz')).status).toBe(200);
  expect((await program.get('/healthz')).status).toBe(200);
  await until(
    'its silence shows',
    async () => JSON.stringify((await program.get('/readyz')).body.result).includes('no report for'),
    { timeoutMs: 30_000 },
  );
  expect((await program.get('/healthz')).status).toBe(200);
  process.kill(control?.pid ?? 0, 'SIGKILL');
  // What it had taken is lost with it; what waited is answered by the next one.
  await call.catch(() => undefined);
  expect((await program.get('/v3/healthcheck')).status).toBe(200);
  await until('it is ready', async () => (await program.get('/readyz')).status === 200);
});

test('silent connections do not block probes, and are closed', async () => {
  for (let count = 0; count < 400; count++) opened.push(connect({ host: '127.0.0.1', port: program.controlPort }));
  for (const socket of opened) socket.on('error', () => undefined);
  expect((await program.get('/readyz')).status).toBe(200);
  await until('the oldest made room', () => opened.filter((socket) => socket.closed).length >= 100);
});

test('a probe process that is killed is replaced, and calls wait for it', async () => {
  const [probe] = program.children('probe');
  process.kill(probe?.pid ?? 0, 'SIGKILL');
  expect((await program.get('/v3/healthcheck')).status).toBe(200);
  expect((await program.get('/readyz')).status).toBe(200);
});

test('several requests on one connection all get responses, also a probe after a call', async () => {
  const head = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;
  const text = await said(`${head('/v3/healthcheck')}${head('/readyz', 'Connection: close\r\n')}`);
  expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  expect(text).toContain('Ready.');
});

test('anything but HTTP gets an error from the control process', async () => {
  expect(await said('what is this\r\n\r\n')).toContain('HTTP/1.1 400');
});
