import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { copyOverlay, makeSecrets } from '../support/deploy-overlay.ts';
import { controlPlaneProblem, programPath, startTestCluster, type TestCluster } from '../support/kubernetes/index.ts';
import { podgateImage } from '../support/kubernetes/kubelet/podgate-image.ts';
import { Program } from '../support/program.ts';
import { RedisServer } from '../support/redis-server.ts';
import { run } from '../support/run.ts';

const problem = controlPlaneProblem();
const CLI = join(import.meta.dirname, '../../bin/podgate.mjs');
/** Of the containers: what lies there in a cluster lies in the overlay here. */
const MOUNTED = [
  ['/etc/podgate/redis/ca.crt', '/secrets/redis-ca.crt'],
  ['/etc/redis/ca/ca.crt', '/secrets/redis-ca.crt'],
  ['/etc/podgate/config/', '/'],
  ['/etc/podgate/keyring/', '/secrets/'],
  ['/etc/podgate/certificate/', '/secrets/'],
  ['/etc/podgate/metrics/token', '/secrets/metrics.token'],
] as const;
/** Of this machine: pods of one network each in a cluster. */
const OURS = [
  'PODGATE_HOST',
  'PODGATE_DATA_DIR',
  'PODGATE_PUBLIC_HTTPS_PORT',
  'PODGATE_PUBLIC_HTTP_PORT',
  'PODGATE_WORKERS',
];

interface Deployment {
  readonly kind: string;
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly [{ readonly env: readonly { readonly name: string; readonly value?: string }[] }];
      };
    };
  };
}

interface RedisManifest {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly [
          { readonly readinessProbe: { readonly exec: { readonly command: readonly string[] } } },
        ];
      };
    };
  };
}

/**
 * What docs/operations.md has an operator type, from nothing to a pod that answers: manifests, secrets, account, Redis
 * with its settings and its user, and Podgate with the Deployment's own environment. Only the ports are this machine's.
 */
describe.skipIf(problem !== null)(`an installation of deploy/${problem === null ? '' : ` (${problem})`}`, () => {
  let folder: string;
  let overlay: string;
  let cluster: TestCluster;
  let redis: RedisServer;
  let program: Program;
  let env: Record<string, string>;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'podgate-deploy-'));
    overlay = copyOverlay(folder);
    await makeSecrets(overlay);
    cluster = await startTestCluster({ images: new Map([['registry.example.org/podgate:0.1.0', podgateImage()]]) });
    await kubectl('apply', '--kustomize', overlay);
    redis = await RedisServer.start({
      settings: redisSettings(),
      tls: {
        key: read('secrets/redis-tls.key'),
        certificate: read('secrets/redis-tls.crt'),
        ca: read('secrets/redis-ca.crt'),
      },
    });
    env = await environment();
    program = await Program.start({ workers: 1, env });
  });
  afterAll(async () => {
    await program.dispose();
    await redis.dispose();
    await cluster.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const read = (path: string) => readFileSync(join(overlay, path), 'utf8');

  async function kubectl(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await run(programPath('kubectl'), args, {
      env: { KUBECONFIG: cluster.controlPlane.adminKubeconfigPath },
    });
    if (code !== 0) throw new Error(stderr);
    return stdout;
  }

  /** Those of deploy/, but where it listens and keeps its files. */
  function redisSettings(): readonly string[] {
    const lines = read('../../base/redis.conf').split('\n');
    const kept = lines.filter(
      (line) => line !== '' && !/^(#|dir |bind |aclfile |port |tls-port |tls-cert-file |tls-key-file )/.test(line),
    );
    return [...kept, `aclfile ${join(overlay, 'secrets/users.acl')}`];
  }

  const here = (text: string): string =>
    MOUNTED.reduce((path, [mounted, at]) => path.replaceAll(mounted, `${overlay}${at}`), text);

  async function environment(): Promise<Record<string, string>> {
    const { items } = JSON.parse(await kubectl('get', '--kustomize', overlay, '--output', 'json')) as {
      items: readonly Deployment[];
    };
    const deployment = items.find(({ kind }) => kind === 'Deployment');
    const given = deployment?.spec.template.spec.containers[0].env ?? [];
    const values = given.filter(({ name }) => !OURS.includes(name)).map(({ name, value = '' }) => [name, here(value)]);
    writeFileSync(join(overlay, 'podgate.yaml'), here(read('podgate.yaml')));
    const kubeconfig = join(folder, 'kubeconfig');
    const account = await cluster.controlPlane.serviceAccountKubeconfig('podgate', 'podgate');
    writeFileSync(kubeconfig, account, { mode: 0o600 });
    return {
      ...(Object.fromEntries(values) as Record<string, string>),
      PODGATE_REDIS_URL: read('secrets/url').replace('podgate-store:6379', `localhost:${redis.port}`),
      KUBECONFIG: kubeconfig,
    };
  }

  const cli = (...args: readonly string[]) =>
    run(process.execPath, [CLI, ...args], {
      env: {
        ...env,
        PODGATE_DATA_DIR: program.dataDir,
        PODGATE_HTTPS_PORT: String(program.httpsPort),
        PODGATE_HTTP_PORT: String(program.httpPort),
        PODGATE_CONTROL_PORT: String(program.controlPort),
      },
    });

  /** As a client who knows the certificate; the name leads to the gateway. */
  function ask(host: string, path: string, options: { readonly token?: string; readonly body?: object } = {}) {
    return new Promise<{ readonly status: number | undefined; readonly text: string }>((resolve, reject) => {
      const headers = {
        host,
        ...(options.token === undefined ? {} : { 'x-tapis-token': options.token }),
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      };
      const method = options.body === undefined ? 'GET' : 'POST';
      const to = { host: '127.0.0.1', port: program.httpsPort, servername: host, ca: read('secrets/tls.crt') };
      const outgoing = request({ ...to, path, method, headers, timeout: 60_000 }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (piece: string) => (text += piece));
        answer.on('end', () => resolve({ status: answer.statusCode, text }));
        answer.on('error', reject);
      });
      outgoing.on('error', reject);
      outgoing.end(options.body === undefined ? undefined : JSON.stringify(options.body));
    });
  }

  test('a token, a create call and the address of the pod are enough', async () => {
    const token = (await cli('token', '--user', 'admin')).stdout.trim();
    const created = await ask('example.org', '/v3/pods?wait=routable', {
      token,
      body: { pod_id: 'hello', pod_template: 'podgate/hello' },
    });
    expect(created, created.text).toMatchObject({ status: 200 });
    const answer = await ask('hello.pods.example.org', '/');
    expect(answer.status).toBe(200);
    const pods = JSON.parse(await kubectl('get', 'pods', '--namespace', 'podgate-pods', '--output', 'json')) as {
      items: readonly unknown[];
    };
    expect(pods.items).toHaveLength(1);
  });

  test('the doctor finds only what a test setup lacks: DNS records, and a known network', async () => {
    const { stdout } = await cli('doctor');
    const failed = stdout.split('\n').filter((line) => line.startsWith('FAIL'));
    expect(failed.filter((line) => !line.startsWith('FAIL  names:'))).toEqual([]);
    expect(stdout).toMatch(/^ok {4}Redis: Version .*, over TLS/m);
    expect(stdout).toMatch(/^ok {4}Redis TLS: Its certificate is valid until/m);
    expect(stdout).toMatch(/^ok {4}Redis memory: \d+ % of maxmemory/m);
    expect(stdout).toContain('ok    permissions: This account has all permissions that Podgate needs in podgate-pods.');
    expect(stdout).toContain('ok    pod security: Pods in podgate-pods must comply with the level restricted.');
    expect(stdout).toMatch(
      /^WARN {2}certificate: The certificate for podgate-doctor.pods.example.org .*not trusted on this machine/m,
    );
  });

  test('the Redis user of the probes may only ping, and nobody gets in without a user', async () => {
    const asked = (...args: readonly string[]) => run('redis-cli', ['-p', String(redis.port), '-e', ...args]);
    const probe = readinessProbe(here(readFileSync(join(overlay, '../../base/redis.yaml'), 'utf8')));
    expect(await asked(...probe)).toMatchObject({ code: 0, stdout: 'PONG\n' });
    const user = probe.slice(0, -1);
    expect((await asked(...user, 'get', 'podgate:{prod}:meta')).stderr).toMatch(/NOPERM/);
    expect((await asked(...user, 'config', 'get', 'dir')).stderr).toMatch(/NOPERM/);
    const tls = user.slice(0, user.indexOf('--user'));
    expect((await asked(...tls, 'ping')).stderr).toMatch(/NOAUTH/);
    // Without TLS nobody is served.
    expect((await asked('ping')).code).not.toBe(0);
  });
});

/** The command of the readiness probe in redis.yaml, without the program and `-e`. */
function readinessProbe(manifest: string): readonly string[] {
  const { spec } = parse(manifest) as RedisManifest;
  const [program, showsErrors, ...words] = spec.template.spec.containers[0].readinessProbe.exec.command;
  expect([program, showsErrors]).toEqual(['redis-cli', '-e']);
  return words;
}
