import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../../core/finding.ts';
import { systemClock } from '../../../main/system-clock.ts';
import {
  type ClusterToExamine,
  examineCluster,
} from '../../../spawner/orchestrator/kubernetes/doctor/examine-cluster.ts';
import {
  controlPlaneProblem,
  programPath,
  startTestCluster,
  type TestCluster,
} from '../../support/kubernetes/index.ts';
import { run } from '../../support/run.ts';

const problem = controlPlaneProblem();
const DEPLOY = join(import.meta.dirname, '../../../deploy');
const PODS = 'podgate-pods';
const ENFORCE = 'pod-security.kubernetes.io/enforce';

describe.skipIf(problem !== null)(`podgate doctor in a cluster${problem === null ? '' : ` (${problem})`}`, () => {
  let cluster: TestCluster;
  let asAccount: string;
  beforeAll(async () => {
    cluster = await startTestCluster();
    const { controlPlane } = cluster;
    asAccount = join(controlPlane.folder, 'podgate.kubeconfig');
    await kubectl('apply', '--kustomize', DEPLOY);
    writeFileSync(asAccount, await controlPlane.serviceAccountKubeconfig('podgate', 'podgate'));
  });
  afterAll(() => cluster.stop());

  async function kubectl(...args: readonly string[]): Promise<void> {
    const env = { KUBECONFIG: cluster.controlPlane.adminKubeconfigPath };
    const { code, stderr } = await run(programPath('kubectl'), args, { env });
    if (code !== 0) throw new Error(stderr);
  }

  async function examine(change: Partial<ClusterToExamine> = {}): Promise<readonly Finding[]> {
    const findings: Finding[] = [];
    const options: ClusterToExamine = {
      kubeconfig: asAccount,
      namespace: PODS,
      podSecurity: 'restricted',
      storageClass: null,
      egressExcept: [],
      nameServers: [],
      templateImages: {},
      probeImage: null,
      clock: systemClock,
      ...change,
    };
    for await (const finding of examineCluster(options, AbortSignal.timeout(50_000))) findings.push(finding);
    return findings;
  }
  const about = (findings: readonly Finding[], subject: string) =>
    findings.filter((finding) => finding.subject === subject).map(({ level, message }) => `${level}: ${message}`);

  it('accepts an installation by deploy/, and reports what its account cannot see', async () => {
    const findings = await examine();
    expect(about(findings, 'API server')).toEqual([expect.stringMatching(/^ok: Kubernetes v1\.\d+\.\d+ answers\.$/)]);
    expect(about(findings, 'clock')).toEqual(['ok: This clock and that of the API server differ by 0 s.']);
    expect(about(findings, 'nodes')).toEqual(['warn: This account cannot list nodes.']);
    expect(about(findings, 'permissions')).toEqual([
      `ok: This account has all permissions that Podgate needs in ${PODS}.`,
      'ok: It has no other permissions there.',
    ]);
    expect(about(findings, 'pod security')).toEqual([`ok: Pods in ${PODS} must comply with the level restricted.`]);
    expect(about(findings, 'storage')).toEqual(['warn: This account cannot list storage classes.']);
    expect(about(findings, 'network policies')).toEqual([
      `ok: Pods in ${PODS} are isolated unless a policy of their own allows traffic.`,
      'warn: This account cannot see whether they are enforced.',
    ]);
  });

  it('reports that a clock is wrong', async () => {
    const wrong = (byMs: number) => ({ ...systemClock, now: () => Date.now() + byMs });
    for (const [byMs, level] of [
      [12_000, 'warn'],
      [-12_000, 'warn'],
      [43_200_000, 'fail'],
      [-43_200_000, 'fail'],
    ] as const) {
      const [clock] = about(await examine({ clock: wrong(byMs) }), 'clock');
      expect(clock?.split(':')[0]).toBe(level);
    }
  });

  it('reports missing permissions, and excessive ones', async () => {
    await kubectl('-n', PODS, 'delete', 'rolebinding', 'podgate');
    try {
      const [missing] = about(await examine(), 'permissions');
      expect(missing).toMatch(
        /^fail: This account lacks permissions in podgate-pods: get pods, list pods, .*networkpolicies/,
      );
    } finally {
      await kubectl('apply', '--kustomize', DEPLOY);
    }
    await kubectl(
      'create',
      'clusterrolebinding',
      'too-many',
      '--clusterrole=system:node-proxier',
      '--serviceaccount=podgate:podgate',
    );
    try {
      const [, surplus] = about(await examine(), 'permissions');
      expect(surplus).toMatch(/^warn: This account has more permissions than needed: .*list nodes/);
    } finally {
      await kubectl('delete', 'clusterrolebinding', 'too-many');
    }
  });

  it('tests what the namespace enforces, whatever its labels say', async () => {
    const level = async (value: string) => {
      await kubectl('label', '--overwrite', 'namespace', PODS, value === '' ? `${ENFORCE}-` : `${ENFORCE}=${value}`);
      return about(await examine(), 'pod security');
    };
    try {
      expect(await level('baseline')).toEqual([`warn: Pods in ${PODS} only have to comply with the level baseline.`]);
      expect(await level('privileged')).toEqual([`warn: Nothing protects the nodes from pods in ${PODS}.`]);
      expect(await level('')).toEqual([`warn: Nothing protects the nodes from pods in ${PODS}.`]);
    } finally {
      await level('restricted');
    }
    expect(
      (await cluster.controlPlane.client.get<{ items: readonly unknown[] }>(`/api/v1/namespaces/${PODS}/pods`)).items,
    ).toEqual([]);
  });

  it('sees more as an administrator: storage classes, and that this account may do everything', async () => {
    const kubeconfig = cluster.controlPlane.adminKubeconfigPath;
    const findings = await examine({ kubeconfig });
    expect(about(findings, 'permissions')[1]).toMatch(/^warn: This account is an administrator and can do everything/);
    expect(about(findings, 'network policies')[1]).toMatch(/^warn: The network of this cluster is not known/);
    expect(about(await examine({ kubeconfig, storageClass: 'none-such' }), 'storage')).toEqual([
      'fail: There is no storage class none-such.',
    ]);
    const shared = await examine({ kubeconfig, namedVolumes: { storageClass: 'none-such' } });
    expect(about(shared, 'storage')).toContain('fail: There is no storage class none-such.');
    expect(about(findings, 'nodes')).toEqual([expect.stringMatching(/^ok: 1 with kubelet v1\.\d+/)]);
    await cluster.controlPlane.apply({
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'fast' },
      provisioner: 'example.org/none',
    });
    expect(about(await examine({ kubeconfig, storageClass: 'fast' }), 'storage')).toEqual([
      'ok: Volumes are created by the storage class fast (example.org/none).',
      expect.stringMatching(/^warn: fast creates volumes before/),
      expect.stringMatching(/^warn: Volumes of fast cannot be enlarged/),
      expect.stringMatching(/^warn: fast does not use a CSI driver/),
    ]);
  });

  it('tests network policies with pods: here nothing enforces them, and nothing of the test is left', async () => {
    const findings = await examine({ probeImage: 'podgate.test/command' });
    expect(about(findings, 'network policies')[1]).toMatch(
      /^fail: They are not enforced: 15 s after its start, a pod still reaches another pod.*\.$/,
    );
    expect(about(findings, 'name servers')).toHaveLength(1);
    expect(about(findings, 'cgroups')).toHaveLength(1);
    const { items } = await cluster.controlPlane.client.get<{
      items: readonly { metadata: { deletionTimestamp?: string } }[];
    }>(`/api/v1/namespaces/${PODS}/pods`);
    expect(items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)).toEqual([]);
    const policies = await cluster.controlPlane.client.get<{ items: readonly { metadata: { name: string } }[] }>(
      `/apis/networking.k8s.io/v1/namespaces/${PODS}/networkpolicies`,
    );
    expect(policies.items.map(({ metadata }) => metadata.name)).toEqual(['default-deny']);
  });

  it('reports that an image for the test cannot be pulled', async () => {
    const findings = await examine({ probeImage: 'example.invalid/none' });
    expect(about(findings, 'network policies')[1]).toMatch(/^warn: They could not be tested: .*ImagePullBackOff/);
  });

  it('reports that there is no API server, or no account', async () => {
    const gone = join(cluster.controlPlane.folder, 'gone.kubeconfig');
    expect(await examine({ kubeconfig: gone })).toEqual([
      expect.objectContaining({ level: 'fail', subject: 'API server' }),
    ]);
    expect(await examine({ kubeconfig: null })).toEqual([
      expect.objectContaining({ level: 'fail', subject: 'API server' }),
    ]);
  });
});
