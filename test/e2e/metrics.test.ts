import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

let program: Program | null = null;
afterEach(async () => {
  await program?.dispose();
  program = null;
});

it('the control port reports the metrics of every process; the public ports do not', async () => {
  program = await Program.start({ workers: 2 });
  const { controlPort, httpsPort, caPath } = program;
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${controlPort}/metrics`)).text();
  // Counters are there from the first scrape on, so that what happens next is an increase.
  const atFirst = await metrics();
  for (const worker of [0, 1]) expect(atFirst).toContain(`\npodgate_connections_accepted_total{worker="${worker}"} `);
  await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
  const curl = (host: string, path: string) =>
    run('curl', [
      ...['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '20', '--cacert', caPath],
      ...['--resolve', `${host}:${httpsPort}:127.0.0.1`, `https://${host}:${httpsPort}${path}`],
    ]);
  expect((await curl('hello.pods.localhost', '/')).stdout).toBe('200');
  expect((await curl('nobody.pods.localhost', '/')).stdout).toBe('404');
  expect((await curl('localhost', '/metrics')).stdout).toBe('404');
  const { body } = await program.get('/v3/pods/hello/connections');
  expect(body).toMatchObject({ status: 'success', metadata: {} });
  expect(body.result).toMatchObject({
    ...{ sessions_now: 0, requests_now: 0, refusals: [] },
    stanzas: { default: { requests_total: 1, sessions_total: 0, refusals_total: 0, bytes_in: 0 } },
    replicas: [{ workers: [{ worker: 0 }, { worker: 1 }] }],
  });
  const logged = await until('the log has them', () => {
    const lines = readFileSync(join(program?.dataDir ?? '', 'access.log'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    return lines.length >= 3 ? lines : null;
  });
  expect(logged).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ kind: 'request', pod: 'hello', status: 200, end: 'answered' }),
      expect.objectContaining({ serverName: 'nobody.pods.localhost', status: 404, refused: 'route.unknown' }),
    ]),
  );
  const text = await until('both workers have told, the refusal among it', async () => {
    const seen = await metrics();
    const accepted = [...seen.matchAll(/^podgate_connections_accepted_total\{worker="\d"\} (\d+)$/gm)];
    const total = accepted.reduce((sum, [, count]) => sum + Number(count), 0);
    return accepted.length === 2 && total >= 3 ? seen : null;
  });
  expect(text).toMatch(/^podgate_handshake_seconds_bucket\{worker="\d",le="\+Inf"\} [1-9]\d*$/m);
  expect(text).toMatch(/^podgate_http_requests_total\{worker="\d",status="2xx"\} 1$/m);
  expect(text).toMatch(/^podgate_refusals_total\{worker="\d",code="route.unknown"\} 1$/m);
  expect(text).toContain('podgate_pods{status="RUNNING"} 1\n');
  expect(text).toContain('podgate_store_healthy 1\n');
  expect(text).toContain('podgate_gateway_workers 2\n');
  expect(text).toMatch(/^podgate_queue_keys\{state="due"\} 0$/m);
  expect(text).toMatch(/^podgate_process_resident_memory_bytes\{process="control"\} \d+$/m);
});
