import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';

let program: Program;
beforeAll(async () => {
  program = await Program.start({ workers: 1 });
});
afterAll(async () => {
  await program.dispose();
});

/** The status of a call of the API at the base host, through the gateway. */
async function throughGateway(path: string): Promise<string> {
  const { stdout } = await run('curl', [
    ...['-sS', '-m', '5', '-o', '/dev/null', '-w', '%{http_code}', '--cacert', program.caPath],
    ...['--resolve', `localhost:${program.httpsPort}:127.0.0.1`, `https://localhost:${program.httpsPort}${path}`],
  ]);
  return stdout;
}

test.each([
  ['api.sock alone', ['api.sock']],
  ['every socket file', ['api.sock', 'feed.sock', 'control.sock', 'operator.sock']],
  ['the directory of the socket files', ['']],
])('%s is created again after it was deleted', async (_what, names) => {
  expect(await throughGateway('/healthz')).toBe('200');
  for (const name of names) rmSync(join(program.dataDir, 'run', name), { recursive: true });
  await until('calls through the gateway are answered', async () => (await throughGateway('/healthz')) === '200');
  expect((await program.get('/v3/healthcheck')).status).toBe(200);
  // A worker finds the feed again, and so can accept.
  const [worker] = program.children('worker');
  process.kill(worker?.pid ?? 0, 'SIGKILL');
  await until('the next worker accepts', async () => (await throughGateway('/healthz')) === '200', {
    timeoutMs: 30_000,
  });
  await until('it is ready', async () => (await program.get('/readyz')).status === 200);
});
