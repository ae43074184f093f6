import { afterEach, beforeEach, expect, test } from 'vitest';
import { join } from 'node:path';
import { Program } from '../support/program.ts';
import { RedisServer } from '../support/redis-server.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const PASSWORD = 'geheim%40redis';
const SETTINGS = ['requirepass geheim@redis'];

let server: RedisServer;
let program: Program;
beforeEach(async () => {
  server = await RedisServer.start({ settings: SETTINGS });
  program = await Program.prepare({ env: { PODGATE_REDIS_URL: url() } });
});
afterEach(async () => {
  await program.dispose();
  await server.dispose();
});

const url = (): string => server.url.replace('://', `://:${PASSWORD}@`);

async function hello(): Promise<string> {
  const host = 'hello.pods.localhost';
  const url = `https://${host}:${program.httpsPort}/`;
  const resolve = ['--resolve', `${host}:${program.httpsPort}:127.0.0.1`];
  return (await run('curl', ['-sS', '--max-time', '10', '--cacert', program.caPath, ...resolve, url])).stdout;
}

test('with Redis as the store, pods serve while Redis is away, and no accepted record is lost', async () => {
  await program.start();
  const body = { pod_id: 'hello', pod_template: 'podgate/hello' };
  expect((await program.api('POST', '/v3/pods?wait=routable', body)).status).toBe(200);
  expect(await hello()).toContain('hello');
  const control = program.children('control')[0]?.pid;

  await server.kill();
  const refused = await until('the API says that the store is away', async () => {
    const answer = await program.get('/v3/pods/hello');
    return answer.status === 503 ? answer : null;
  });
  expect(refused.body).toMatchObject({ status: 'error', result: null });
  expect(await hello()).toContain('hello');

  await server.start();
  await until('the API answers again', async () => (await program.get('/v3/pods/hello')).status === 200);
  expect((await program.get('/v3/pods/hello')).body.result).toMatchObject({ status: 'RUNNING' });
  expect(program.children('control')[0]?.pid).toBe(control);
  expect((await program.api('POST', '/v3/pods?wait=routable', { ...body, pod_id: 'second' })).status).toBe(200);

  await program.stop();
  await program.start();
  await program.podStatus('hello', 'RUNNING');
  await until('the pod answers again', async () => (await hello()).includes('hello'));
  expect(program.output).not.toMatch(/geheim/);
});

test('a Redis that could lose records is rejected with what to change', async () => {
  await server.kill();
  await server.start([...SETTINGS, 'appendfsync everysec']);
  const ports = { PODGATE_HTTPS_PORT: '0', PODGATE_HTTP_PORT: '0', PODGATE_CONTROL_PORT: '0' };
  const { code, stderr, stdout } = await run(process.execPath, ['main.ts'], {
    cwd: join(import.meta.dirname, '../..'),
    env: { ...ports, PODGATE_DATA_DIR: program.dataDir, PODGATE_REDIS_URL: url() },
  });
  expect(code).toBe(78);
  expect(stderr).toContain('podgate: cannot start: The Redis at redis://127.0.0.1');
  expect(stderr).toContain('appendfsync is everysec and must be always');
  expect(stdout + stderr).not.toMatch(/geheim/);
});
