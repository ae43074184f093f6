import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { judgeTemplateImages } from '../../../spawner/orchestrator/kubernetes/doctor/judge-images.ts';
import {
  judgeCgroup,
  judgeFence,
  judgeFenceOfUsersPods,
  judgeNameServers,
  type ProbeReport,
} from '../../../spawner/orchestrator/kubernetes/doctor/judge-probe.ts';
import { probeTargets } from '../../../spawner/orchestrator/kubernetes/doctor/probe-script.ts';
import { judgeDnsPrograms } from '../../../spawner/orchestrator/kubernetes/doctor/name-servers.ts';
import { judgeNetworkPrograms } from '../../../spawner/orchestrator/kubernetes/doctor/network-programs.ts';
import { judgeKubelets, judgeNodeClocks } from '../../../spawner/orchestrator/kubernetes/doctor/nodes.ts';
import { NEEDED, permissionName, surplusOf } from '../../../spawner/orchestrator/kubernetes/doctor/permissions.ts';
import { judgeStorage } from '../../../spawner/orchestrator/kubernetes/doctor/storage.ts';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

describe('what the doctor knows of permissions', () => {
  it('are those of the Role in deploy/, no more and no fewer', () => {
    const text = readFileSync(join(import.meta.dirname, '../../../deploy/base/account.yaml'), 'utf8');
    const objects = parseAllDocuments(text).map((document) => document.toJS() as { kind: string; rules?: Rule[] });
    const rules = objects.find(({ kind }) => kind === 'Role')?.rules ?? [];
    const given = rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => permissionName({ group, resource, verb }))),
      ),
    );
    expect(given.toSorted()).toEqual(NEEDED.map(permissionName).toSorted());
  });

  it('reports what an account has beyond them, and not what every account has', () => {
    const rule = (apiGroups: string[], resources: string[], verbs: string[]) => ({ apiGroups, resources, verbs });
    const everybodys = rule(['authorization.k8s.io'], ['selfsubjectaccessreviews'], ['create']);
    const needed = NEEDED.map(({ group, resource, verb }) => rule([group], [resource], [verb]));
    expect(surplusOf({ resourceRules: [everybodys, ...needed] })).toEqual([]);
    const more = rule(['', 'apps'], ['secrets'], ['list', 'get']);
    expect(surplusOf({ resourceRules: [more] }).map(permissionName)).toEqual([
      'list secrets',
      'list secrets.apps',
      'get secrets.apps',
    ]);
    expect(surplusOf({ resourceRules: [rule(['*'], ['*'], ['*'])] }).map(permissionName)).toEqual(['* *.*']);
    expect(surplusOf({})).toEqual([]);
  });
});

describe('what the doctor says of network policies', () => {
  it.each([
    [['kube-proxy', 'calico-node'], 'ok'],
    [['cilium'], 'ok'],
    [['kube-flannel-ds', 'kube-proxy'], 'fail'],
    // Calico's policies beside flannel's network.
    [['canal'], 'ok'],
    [['aws-node'], 'warn'],
    [[], 'warn'],
    [null, 'warn'],
  ] as const)('by the programs %j: %s', (names, level) => {
    expect(judgeNetworkPrograms(names).level).toBe(level);
  });

  const report = (change: Partial<ProbeReport> = {}): ProbeReport => ({
    fence: { afterMs: 0, reached: [] },
    nameServers: [{ address: '10.96.0.10', afterMs: 40 }],
    cgroup: { version: 2, controllers: ['cpuset', 'cpu', 'io', 'memory', 'pids'] },
    nowMs: 0,
    ...change,
  });
  const fence = (afterMs: number | null, ...reached: readonly string[]) =>
    judgeFence(report({ fence: { afterMs, reached } }));

  it('distinguishes a pod that is fenced shortly after its start from one that never is', () => {
    expect(fence(0)).toMatchObject({ level: 'ok', message: expect.stringContaining('from the start') as unknown });
    expect(fence(880, 'pod', 'api')).toEqual({
      level: 'ok',
      subject: 'network policies',
      message: 'They are enforced 0.9 s after the start of a pod; until then, it reaches another pod, the API server.',
      remedy: '',
    });
    expect(fence(9_800, 'metadata')).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('9.8 s') as unknown,
    });
    expect(fence(null, 'pod', 'api')).toMatchObject({
      level: 'fail',
      message: 'They are not enforced: 15 s after its start, a pod still reaches another pod, the API server.',
    });
    expect(judgeFence(null).level).toBe('warn');
  });

  it('tries every address of a pod, and reports policies that hold for one IP family only', () => {
    expect(probeTargets(['fd00::7'])).toMatchObject({ pod: ['fd00::7', 8080] });
    expect(probeTargets(['10.1.0.7', 'fd00::7'])).toMatchObject({
      'pod-ipv4': ['10.1.0.7', 8080],
      'pod-ipv6': ['fd00::7', 8080],
    });
    expect(fence(null, 'pod-ipv6')).toEqual({
      level: 'fail',
      subject: 'network policies',
      message: 'They are enforced over IPv4 alone: 15 s after its start, a pod still reaches another pod over IPv6.',
      remedy: expect.stringContaining('give pods addresses of IPv4 alone') as unknown,
    });
    expect(fence(null, 'pod-ipv4', 'pod-ipv6').message).toContain('They are not enforced');
  });

  it('reports templates whose image is a tag without a digest', () => {
    const digest = `@sha256:${'a'.repeat(64)}`;
    const pinned = { name: 'template/postgres', image: `docker.io/library/postgres:18${digest}` };
    expect(judgeTemplateImages([pinned, { name: 'podgate/process', image: null }]).level).toBe('ok');
    expect(judgeTemplateImages([pinned, { name: 'podgate/hello', image: 'podgate' }])).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('By tag, not by digest: podgate/hello (podgate).') as unknown,
      remedy: expect.stringContaining('pin-images.sh') as unknown,
    });
  });

  it('says what to set where users’ pods reach a public API server', () => {
    expect(judgeFenceOfUsersPods(report({ fence: { afterMs: 500, reached: ['api'] } }))).toBeNull();
    expect(judgeFenceOfUsersPods(report({ fence: { afterMs: null, reached: ['api'] } }))).toMatchObject({
      level: 'fail',
      remedy: expect.stringContaining('kubernetes.egressExcept') as unknown,
    });
  });

  it('says what to set where pods do not reach their name servers', () => {
    expect(judgeNameServers(report(), true).level).toBe('ok');
    const silent = report({
      nameServers: [
        { address: '10.96.0.10', afterMs: null },
        { address: 'fd00::a', afterMs: null },
      ],
    });
    expect(judgeNameServers(silent, true)).toMatchObject({
      level: 'fail',
      remedy: expect.stringContaining('kubernetes.nameServers: [10.96.0.10/32, fd00::a/128]') as unknown,
    });
    expect(judgeNameServers(silent, false).remedy).toContain('No policy blocks it');
    expect(judgeNameServers(report({ nameServers: [] }), true).level).toBe('warn');
  });

  it.each([
    [{ daemonSets: [], labeledPods: 2, nameServers: [] }, 'ok'],
    [{ daemonSets: [], labeledPods: 0, nameServers: [] }, 'warn'],
    [{ daemonSets: ['dns-default'], labeledPods: 0, nameServers: [] }, 'ok'],
    [{ daemonSets: ['node-local-dns'], labeledPods: 2, nameServers: [] }, 'warn'],
    [{ daemonSets: ['node-local-dns'], labeledPods: 2, nameServers: ['10.96.0.10/32'] }, 'ok'],
  ] as const)('by the cluster’s DNS %j: %s', (seen, level) => {
    expect(judgeDnsPrograms(seen).level).toBe(level);
  });
});

describe('what the doctor says of nodes', () => {
  const node = (kubeletVersion: string) => ({
    status: { nodeInfo: { kubeletVersion, containerRuntimeVersion: 'containerd://2.1' } },
  });
  const lease = (name: string, renewedMs: number) => ({
    metadata: { name },
    spec: { renewTime: new Date(renewedMs).toISOString() },
  });

  it('by the skew of their kubelets', () => {
    expect(judgeKubelets([node('v1.34.4'), node('v1.31.0')], 34)).toEqual([
      { level: 'ok', subject: 'nodes', message: '2 with kubelet v1.31.0, v1.34.4 and containerd://2.1.', remedy: '' },
    ]);
    expect(judgeKubelets([node('v1.30.9')], 34)[0]?.level).toBe('warn');
    expect(judgeKubelets([node('v1.35.0')], 34)[0]?.level).toBe('warn');
  });

  it('by their clocks, the one that is furthest off', () => {
    const now = 1_800_000_000_000;
    expect(judgeNodeClocks([lease('a', now - 8_000), lease('b', now - 9_999)], now)[0]?.level).toBe('ok');
    expect(judgeNodeClocks([lease('a', now), lease('b', now + 7_000)], now)[0]).toMatchObject({
      level: 'warn',
      message: 'This clock and that of the node b differ by 7 s.',
    });
    expect(judgeNodeClocks([lease('a', now + 90_000)], now)[0]?.level).toBe('fail');
    // A node that is away says nothing.
    expect(judgeNodeClocks([lease('a', now - 3_600_000)], now)).toEqual([]);
  });

  it('by the version of their control groups', () => {
    expect(judgeCgroup({ version: 2, controllers: ['cpu', 'memory', 'pids'] }, 'It')).toMatchObject({
      level: 'ok',
      message: 'It uses version 2 with the controllers cpu, memory, pids.',
    });
    expect(judgeCgroup({ version: 2, controllers: ['hugetlb', 'cpu'] }, 'It')).toMatchObject({
      level: 'warn',
      message: 'It uses version 2 without the controllers memory, pids: limits on these have no effect.',
    });
    expect(judgeCgroup({ version: 1, controllers: [] }, 'It').level).toBe('warn');
    expect(judgeCgroup(null, 'It').level).toBe('warn');
  });
});

describe('what the doctor says of storage', () => {
  const storageClass = (name: string, change: object = {}, isDefault = true) => ({
    metadata: {
      name,
      creationTimestamp: '2026-01-01T00:00:00Z',
      annotations: { 'storageclass.kubernetes.io/is-default-class': String(isDefault) },
    },
    provisioner: 'ebs.csi.aws.com',
    volumeBindingMode: 'WaitForFirstConsumer',
    reclaimPolicy: 'Delete',
    allowVolumeExpansion: true,
    ...change,
  });
  const judged = (...args: Parameters<typeof judgeStorage>) =>
    judgeStorage(...args).map(({ level, message }) => `${level}: ${message}`);
  const csi = ['ebs.csi.aws.com'];
  const fine = 'ok: Volumes are created by the storage class fast (ebs.csi.aws.com).';

  it('by the default class, or the one that is set', () => {
    expect(judged([storageClass('slow', {}, false), storageClass('fast')], null, csi)).toEqual([fine]);
    expect(judged([storageClass('fast', {}, false)], 'fast', null)).toEqual([fine]);
    expect(judged([storageClass('fast', {}, false)], null, csi)).toEqual([
      expect.stringMatching(/^fail: .*no default/),
    ]);
    expect(judged([], 'fast', csi)).toEqual(['fail: There is no storage class fast.']);
    const newer = storageClass('fast', {
      metadata: {
        name: 'fast',
        creationTimestamp: '2026-02-01T00:00:00Z',
        annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
      },
    });
    expect(judged([storageClass('slow'), newer], null, csi)).toEqual([
      fine,
      expect.stringMatching(/^warn: 2 storage classes/),
    ]);
  });

  it.each([
    [{ volumeBindingMode: 'Immediate' }, /volumeBindingMode Immediate/],
    [{ volumeBindingMode: undefined }, /volumeBindingMode Immediate/],
    [{ reclaimPolicy: 'Retain' }, /reclaimPolicy Retain/],
    [{ allowVolumeExpansion: undefined }, /cannot be enlarged/],
    [{ provisioner: 'rancher.io/local-path' }, /ReadWriteOncePod/],
  ])('warns of %j', (change, message) => {
    const [first, second, ...rest] = judged([storageClass('fast', change)], null, csi);
    expect(first).toMatch(/^ok: /);
    expect(second).toMatch(message);
    expect(second).toMatch(/^warn: /);
    expect(rest).toEqual([]);
  });
});
