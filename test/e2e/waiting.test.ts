import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { controlPlaneProblem, startTestCluster } from '../support/kubernetes/index.ts';
import { preparePodNamespace } from '../support/kubernetes-orchestrator.ts';
import { watchAsKubelet } from '../support/deployed-probes.ts';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { RedisServer } from '../support/redis-server.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

/** By then every back-off has grown to its largest. Longer by PODGATE_AWAY_MS. */
const AWAY_MS = Number(process.env['PODGATE_AWAY_MS'] ?? 10_000);
/** What docs/operations.md says. */
const BACK_MS = 3_000;
const NAME = 'podgate-store.podgate.test';

async function took(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function readiness(program: Program) {
  const { status, body } = await program.get('/readyz');
  return { status, detail: body.result as Readonly<Record<string, unknown>> };
}

/** Everything that the kubelet would see while what a new replica needs is away. */
async function waitsUnharmed(program: Program, during: (detail: Readonly<Record<string, unknown>>) => void) {
  const kubelet = watchAsKubelet(program);
  await until('probes are answered', async () => {
    const { status, detail } = await readiness(program);
    expect(status).toBe(503);
    during(detail);
    return true;
  });
  const pid = program.children('control')[0]?.pid;
  await delay(AWAY_MS);
  const { status, detail } = await readiness(program);
  expect(status).toBe(503);
  during(detail);
  expect(kubelet.verdict()).toBeNull();
  expect(program.children('control')[0]?.pid).toBe(pid);
  return kubelet;
}

const mountProblem =
  spawnSync('unshare', ['--mount', 'true']).status === 0 ? null : 'no mount namespace: run the tests as root';
describe.skipIf(mountProblem !== null)(`Redis${mountProblem === null ? '' : ` (${mountProblem})`}`, () => {
  let folder: string;
  let hosts: string;
  let redis: RedisServer;
  let program: Program;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'podgate-waiting-'));
    hosts = join(folder, 'hosts');
    writeFileSync(hosts, '127.0.0.1 localhost\n');
    // Names of this file alone: no name server is asked.
    writeFileSync(join(folder, 'nsswitch.conf'), 'hosts: files\n');
    redis = await RedisServer.start({ settings: ['requirepass right'] });
    program = await Program.prepare({
      env: { PODGATE_REDIS_URL: `redis://:right@${NAME}:${redis.port}` },
      inPlaceOf: { '/etc/hosts': hosts, '/etc/nsswitch.conf': join(folder, 'nsswitch.conf') },
    });
  });
  afterEach(async () => {
    await program.dispose();
    await redis.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const resolves = (): void => writeFileSync(hosts, `127.0.0.1 localhost ${NAME}\n`);

  async function hello(): Promise<string> {
    const host = 'hello.pods.localhost';
    const url = `https://${host}:${program.httpsPort}/`;
    const resolve = ['--resolve', `${host}:${program.httpsPort}:127.0.0.1`];
    return (await run('curl', ['-sS', '--max-time', '10', '--cacert', program.caPath, ...resolve, url])).stdout;
  }

  const create = async (podId: string) =>
    (await program.api('POST', '/v3/pods?wait=routable', { pod_id: podId, pod_template: 'podgate/hello' })).status;

  test('that is away when a replica starts is waited for; later, the API is back within 3 s of it', async () => {
    await redis.kill();
    program.launch();
    const kubelet = await waitsUnharmed(program, ({ store }) =>
      expect(store).toBe('waiting for Redis, which does not respond'),
    );
    expect(program.output).toMatch(/ENOTFOUND/);
    // The name is there before the server is, as that of a Service.
    resolves();
    await until('it has noticed', () => program.output.includes('ECONNREFUSED'));
    await redis.start();
    await program.ready();
    kubelet.stop();
    expect(await create('hello')).toBe(200);

    await redis.kill();
    await until('the API says so', async () => (await program.get('/v3/pods/hello')).status === 503);
    const before = program.children('control')[0]?.pid;
    await delay(AWAY_MS);
    expect(await hello()).toContain('hello');
    await redis.start();
    const backMs = await took(() =>
      until('reads and writes are answered', async () => {
        if ((await program.get('/v3/pods/hello')).status !== 200) return false;
        return (await program.api('PUT', '/v3/pods/hello', { description: 'changed' })).status === 200;
      }),
    );
    expect(backMs).toBeLessThan(BACK_MS);
    expect(program.children('control')[0]?.pid).toBe(before);
    expect(await create('second')).toBe(200);

    // A control process that is started again while Redis is away takes no pod off the air.
    await redis.kill();
    process.kill(before ?? 0, 'SIGKILL');
    const waiting = await until('the next one waits', async () => {
      const { status, detail } = await readiness(program);
      expect(status).toBe(200);
      return String(detail['store']).startsWith('waiting') ? detail : null;
    });
    expect(waiting).toMatchObject({ gateway: '2 of 2 accept' });
    expect(await hello()).toContain('hello');
    await redis.start();
    await until('the API answers', async () => (await program.get('/v3/pods/second')).status === 200);
    expect(program.output).not.toContain('right');
  });

  test('that comes late and rejects the password ends a waiting replica with a message', async () => {
    resolves();
    await redis.kill();
    program.launch();
    await until('it waits', () => program.output.includes('waiting for Redis'));
    await redis.start(['requirepass another']);
    await program.ended();
    expect(program.output).toMatch(
      /podgate: cannot start: The Redis at redis:\/\/podgate-store.podgate.test:\d+ refuses the user of PODGATE_REDIS_URL \(WRONGPASS/,
    );
  });

  test('that is waited for does not keep a replica from ending, and commands say so', async () => {
    await redis.kill();
    program.launch();
    await until('it waits', () => program.output.includes('waiting for Redis'));
    expect(await podgateCommand(program, ['recover'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('it is starting or waiting for Redis') as string,
    });
    const tookMs = await took(() => program.stop());
    expect(tookMs).toBeLessThan(4_000);
    expect(program.exitCode).toBe(0);
  });
});

const problem = controlPlaneProblem();
describe.skipIf(problem !== null)(`the API server of Kubernetes${problem === null ? '' : ` (${problem})`}`, () => {
  test('that is away when a replica starts is waited for', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'podgate-waiting-'));
    const cluster = await startTestCluster();
    const kubeconfig = join(folder, 'kubeconfig');
    writeFileSync(kubeconfig, await preparePodNamespace(cluster, 'waiting'), { mode: 0o600 });
    const program = await Program.prepare({
      env: { PODGATE_ORCHESTRATOR: 'kubernetes', PODGATE_NAMESPACE: 'waiting', KUBECONFIG: kubeconfig },
    });
    try {
      await cluster.controlPlane.killApiServer();
      program.launch();
      await until('it has asked', async () => 'orchestrator' in (await readiness(program)).detail);
      const kubelet = await waitsUnharmed(program, ({ orchestrator }) =>
        expect(orchestrator).toBe('does not respond; pods are as last observed'),
      );
      await cluster.controlPlane.startApiServer();
      expect(await took(() => program.ready())).toBeLessThan(2 * BACK_MS);
      kubelet.stop();
    } finally {
      await program.dispose();
      await cluster.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
