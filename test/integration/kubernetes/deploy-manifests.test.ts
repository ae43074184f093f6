import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { copyOverlay, DEPLOY, makeSecrets } from '../../support/deploy-overlay.ts';
import { controlPlaneProblem, programPath } from '../../support/kubernetes/index.ts';
import { run } from '../../support/run.ts';

const problem = controlPlaneProblem();
const DIGEST = /@sha256:[0-9a-f]{64}$/;

interface Resources {
  readonly requests: Readonly<Record<'cpu' | 'memory', string>>;
}

interface Container {
  readonly image: string;
  readonly resources: Resources;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec?: {
    readonly replicas?: number;
    readonly ipFamilyPolicy?: string;
    readonly minReplicas?: number;
    readonly podSelector?: unknown;
    readonly policyTypes?: readonly string[];
    readonly egress?: readonly { readonly to?: readonly object[]; readonly ports?: readonly object[] }[];
    readonly strategy?: { readonly rollingUpdate: { readonly maxSurge: number; readonly maxUnavailable: number } };
    readonly metrics?: readonly { readonly resource: { readonly target: Readonly<Record<string, unknown>> } }[];
    readonly template?: {
      readonly spec: { readonly containers: readonly [Container] };
    };
  };
}

/** What the manifests say once they are put together; whether a server takes them is deploy.test.ts. */
describe.skipIf(problem !== null)(`the manifests of deploy/${problem === null ? '' : ` (${problem})`}`, () => {
  let folder: string;
  let overlay: string;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'podgate-manifests-'));
    overlay = copyOverlay(folder);
    await makeSecrets(overlay);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  async function rendered(path: string): Promise<readonly Manifest[]> {
    const { code, stdout, stderr } = await run(programPath('kubectl'), ['kustomize', path]);
    if (code !== 0) throw new Error(stderr);
    return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
  }
  const read = (name: string) => readFileSync(join(overlay, name), 'utf8');

  it('request so little that two replicas, the third of an update, and Redis fit on two cores', async () => {
    const manifests = await rendered(overlay);
    const { strategy } = specOf(manifests, 'Deployment');
    const replicas = specOf(manifests, 'HorizontalPodAutoscaler').minReplicas ?? 0;
    expect(replicas).toBe(2);
    // Otherwise an update would need no room, or cut a replica before the next is ready.
    expect(strategy?.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    const gateway = requestsOf(manifests, 'Deployment');
    const redis = requestsOf(manifests, 'StatefulSet');
    expect(specOf(manifests, 'StatefulSet').replicas).toBe(1);
    const atOnce = replicas + 1;
    // Of two cores and 4 GiB: the kubelet, cluster DNS, kube-proxy and the network of usual clusters, and one default pod.
    const [systemMilliCpu, podMilliCpu, systemMiB, podMiB] = [700, 250, 1_024, 256];
    expect(atOnce * gateway.milliCpu + redis.milliCpu + systemMilliCpu + podMilliCpu).toBeLessThanOrEqual(2_000);
    expect(atOnce * gateway.mebibytes + redis.mebibytes + systemMiB + podMiB).toBeLessThanOrEqual(4_096);
  });

  it('scale by the CPU use of a replica, not by its share of so small a request', async () => {
    const [metric] = specOf(await rendered(overlay), 'HorizontalPodAutoscaler').metrics ?? [];
    expect(metric?.resource.target).toEqual({ type: 'AverageValue', averageValue: '700m' });
  });

  it('allow no traffic in or out of either namespace by default, and none out of Redis', async () => {
    const policies = (await rendered(overlay)).filter(({ kind }) => kind === 'NetworkPolicy');
    for (const namespace of ['podgate', 'podgate-pods']) {
      const deny = policies.find(
        ({ metadata }) => metadata.namespace === namespace && metadata.name === 'default-deny',
      );
      expect(deny?.spec).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
    }
    const named = (name: string) => policies.find(({ metadata }) => metadata.name === name)?.spec?.egress;
    expect(named('redis')).toBeUndefined();
    // A rule without `to` or without addresses is a rule for everywhere.
    for (const name of ['gateway-egress', 'gateway-outbound']) {
      const rules = named(name) ?? [];
      expect(rules.length).toBeGreaterThan(0);
      for (const { to = [] } of rules) expect(to).not.toEqual([]);
    }
  });

  it('exclude the outside of the cluster with one line less', async () => {
    const names = async () => (await rendered(overlay)).map(({ metadata }) => metadata.name);
    expect(await names()).toContain('gateway-outbound');
    writeFileSync(join(overlay, 'kustomization.yaml'), read('kustomization.yaml').replace(/^components:\n.*\n/m, ''));
    expect(await names()).not.toContain('gateway-outbound');
    expect(await names()).toContain('gateway-egress');
  });

  it('serve IPv6 too with one line more', async () => {
    const served = async () => {
      const all = await rendered(overlay);
      const named = (kind: string) => all.find(({ kind: is, metadata }) => is === kind && metadata.name === 'podgate');
      const env = named('Deployment')?.spec?.template?.spec.containers[0].env ?? [];
      const hosts = env.filter(({ name }) => name === 'PODGATE_HOST').map(({ value }) => value);
      return { hosts, families: named('Service')?.spec?.ipFamilyPolicy };
    };
    expect(await served()).toEqual({ hosts: ['0.0.0.0'], families: undefined });
    const more = read('kustomization.yaml').replace(/^components:\n/m, '$&  - ../../components/ipv6\n');
    writeFileSync(join(overlay, 'kustomization.yaml'), more);
    expect(await served()).toEqual({ hosts: ['::'], families: 'PreferDualStack' });
  });

  it('pin Redis by digest, and with one command also the images of an overlay', async () => {
    const imagesOf = async (path: string) =>
      (await rendered(path)).flatMap(({ spec }) => spec?.template?.spec.containers.map(({ image }) => image) ?? []);
    const [, redis = ''] = await imagesOf(overlay);
    expect(redis).toMatch(/^redis:\d+\.\d+\.\d+-bookworm@sha256:[0-9a-f]{64}$/);
    // A registry is not at hand; its answer is the digest of the name.
    const programs = join(folder, 'programs');
    mkdirSync(programs);
    writeFileSync(
      join(programs, 'docker'),
      '#!/bin/sh\nfor image; do :; done\necho "sha256:$(printf %s "$image" | sha256sum | cut -d" " -f1)"\n',
    );
    chmodSync(join(programs, 'docker'), 0o755);
    const env = { PATH: `${programs}${delimiter}${process.env['PATH'] ?? ''}` };
    const pin = () => run('sh', [join(overlay, '../../pin-images.sh')], { cwd: overlay, env });
    expect(await pin()).toMatchObject({ code: 0, stderr: '' });
    const pinned = await imagesOf(overlay);
    expect(pinned).toHaveLength(2);
    expect(pinned.every((image) => DIGEST.test(image))).toBe(true);
    expect(pinned[0]).toMatch(/^registry\.example\.org\/podgate@/);
    expect(pinned[1]).toBe(redis);
    for (const image of [
      'podgate/hello: registry.example.org/podgate:0.1.0',
      'template/postgres: docker.io/library/postgres:18',
      'template/neo4j: docker.io/library/neo4j:5.26-community',
    ]) {
      expect(read('podgate.yaml').split(`${image}@`)[1]).toMatch(/^sha256:[0-9a-f]{64}\n/);
    }
    const once = [read('kustomization.yaml'), read('podgate.yaml')];
    expect(await pin()).toMatchObject({ code: 0, stdout: '' });
    expect([read('kustomization.yaml'), read('podgate.yaml')]).toEqual(once);
    // Another release: its tag in place of the digest, of Redis as well.
    const upgrade = read('kustomization.yaml')
      .replace(/digest: .*/, 'newTag: 0.2.0')
      .replace(/^images:\n/m, 'images:\n  - name: redis\n    newName: redis\n    newTag: 8.2.99-bookworm\n');
    writeFileSync(join(overlay, 'kustomization.yaml'), upgrade);
    expect(await imagesOf(overlay)).toEqual(['registry.example.org/podgate:0.2.0', 'redis:8.2.99-bookworm']);
    expect(await pin()).toMatchObject({ code: 0 });
    const again = await imagesOf(overlay);
    expect(again.every((image) => DIGEST.test(image))).toBe(true);
    expect(again).not.toContain(pinned[0]);
  });

  it('reject a pin that is not a digest', async () => {
    const programs = join(folder, 'programs');
    mkdirSync(programs);
    writeFileSync(join(programs, 'docker'), '#!/bin/sh\necho "ERROR: not found"\n');
    chmodSync(join(programs, 'docker'), 0o755);
    const before = read('kustomization.yaml');
    const env = { PATH: `${programs}${delimiter}${process.env['PATH'] ?? ''}` };
    const { code, stderr } = await run('sh', [join(overlay, '../../pin-images.sh')], { cwd: overlay, env });
    expect(code).not.toBe(0);
    expect(stderr).toContain('no digest for registry.example.org/podgate:0.1.0');
    expect(read('kustomization.yaml')).toBe(before);
  });

  it('make Redis use only TLS, with a certificate for the names under which it is reached', async () => {
    const conf = readFileSync(join(DEPLOY, 'base/redis.conf'), 'utf8');
    expect(conf).toMatch(/^port 0$/m);
    expect(conf).toMatch(/^tls-port 6379$/m);
    expect(read('secrets/url')).toMatch(/^rediss:\/\/podgate:[0-9a-f]+@podgate-store:6379$/);
    const verify = (host: string) =>
      run(
        'openssl',
        ['verify', '-CAfile', 'redis-ca.crt', '-verify_hostname', host, '-purpose', 'sslserver', 'redis-tls.crt'],
        {
          cwd: join(overlay, 'secrets'),
        },
      );
    for (const host of ['podgate-store', 'podgate-store.podgate.svc', 'podgate-redis-0.podgate-redis']) {
      expect(await verify(host)).toMatchObject({ code: 0 });
    }
    expect((await verify('example.org')).code).not.toBe(0);
  });

  it('renew the certificate of Redis, and its CA, while each step is trusted by the earlier ones', async () => {
    const secrets = join(overlay, 'secrets');
    const renew = async (...args: readonly string[]) => {
      const result = await run('sh', [join(overlay, '../../redis-certificate.sh'), ...args], { cwd: overlay });
      expect(result).toMatchObject({ code: 0, stderr: '' });
    };
    const isTrusted = async (ca: string) => {
      writeFileSync(join(secrets, 'trusted'), ca);
      const { code } = await run('openssl', ['verify', '-CAfile', 'trusted', 'redis-tls.crt'], { cwd: secrets });
      return code === 0;
    };
    const [first, firstCa] = [read('secrets/redis-tls.crt'), read('secrets/redis-ca.crt')];
    await renew();
    expect(read('secrets/redis-tls.crt')).not.toBe(first);
    expect(read('secrets/redis-ca.crt')).toBe(firstCa);
    expect(await isTrusted(firstCa)).toBe(true);
    const second = read('secrets/redis-tls.crt');
    await renew('new-ca');
    const bothCas = read('secrets/redis-ca.crt');
    expect(read('secrets/redis-tls.crt')).toBe(second);
    expect(await isTrusted(bothCas)).toBe(true);
    await renew();
    expect(await isTrusted(bothCas)).toBe(true);
    expect(await isTrusted(firstCa)).toBe(false);
    expect(await isTrusted(read('secrets/redis-signer.crt'))).toBe(true);
  });
});

function specOf(manifests: readonly Manifest[], kind: string): NonNullable<Manifest['spec']> {
  const spec = manifests.find((manifest) => manifest.kind === kind)?.spec;
  if (spec === undefined) throw new Error(`there is no ${kind}`);
  return spec;
}

function requestsOf(manifests: readonly Manifest[], kind: string) {
  const requests = specOf(manifests, kind).template?.spec.containers[0].resources.requests;
  const milliCpu = /^(\d+)m$/.exec(requests?.cpu ?? '')?.[1];
  const mebibytes = /^(\d+)Mi$/.exec(requests?.memory ?? '')?.[1];
  if (milliCpu === undefined || mebibytes === undefined) throw new Error(`unexpected requests of the ${kind}`);
  return { milliCpu: Number(milliCpu), mebibytes: Number(mebibytes) };
}
