import { afterEach, expect, it } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

let program: Program | null = null;
afterEach(async () => {
  await program?.dispose();
  program = null;
});

it('the control port tells what every process has counted; the public side does not', async () => {
  program = await Program.start({ workers: 2 });
  const { controlPort, httpsPort, caPath } = program;
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${controlPort}/metrics`)).text();
  await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
  const curl = (host: string, path: string) =>
    run('curl', [
      ...['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '20', '--cacert', caPath],
      ...['--resolve', `${host}:${httpsPort}:127.0.0.1`, `https://${host}:${httpsPort}${path}`],
    ]);
  expect((await curl('hello.pods.localhost', '/')).stdout).toBe('200');
  expect((await curl('nobody.pods.localhost', '/')).stdout).toBe('404');
  expect((await curl('localhost', '/metrics')).stdout).toBe('404');
  const text = await until('both workers have told, the refusal among it', async () => {
    const seen = await metrics();
    const accepted = [...seen.matchAll(/^podgate_connections_accepted_total\{worker="\d"\} (\d+)$/gm)];
    const total = accepted.reduce((sum, [, count]) => sum + Number(count), 0);
    return accepted.length === 2 && total >= 3 ? seen : null;
  });
  expect(text).toMatch(/^podgate_refusals_total\{worker="\d",code="route.unknown"\} 1$/m);
  expect(text).toContain('podgate_pods{status="RUNNING"} 1\n');
  expect(text).toContain('podgate_store_healthy 1\n');
  expect(text).toContain('podgate_gateway_workers 2\n');
  expect(text).toMatch(/^podgate_queue_keys\{state="due"\} 0$/m);
  expect(text).toMatch(/^podgate_process_resident_memory_bytes\{process="control"\} \d+$/m);
});
