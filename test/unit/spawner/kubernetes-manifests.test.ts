import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { V1Pod } from '@kubernetes/client-node';
import { parseAllDocuments } from 'yaml';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import type { PodSpec } from '../../../core/pod.ts';
import type { MountedFiles } from '../../../core/volume.ts';
import { standingOf, wantedObjects } from '../../../spawner/orchestrator/kubernetes/make-workload.ts';
import { nameServerRules } from '../../../spawner/orchestrator/kubernetes/manifests/network-policy.ts';
import { parseOwned, parsePod } from '../../../spawner/orchestrator/kubernetes/objects.ts';
import type { KubernetesSettings } from '../../../spawner/orchestrator/kubernetes/options.ts';
import { recipeOf } from '../../../spawner/orchestrator/kubernetes/recipes/recipes.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { workloadSpec } from '../../contract/orchestrator-harness.ts';
import { plainEnvironment } from '../../support/pod-records.ts';
import { kubernetesSettings } from '../../support/kubernetes-orchestrator.ts';

const UID = '7a1d4a3e-5a3c-4c0e-9f4e-0f5f2f0c9d11';
const credentials = { username: 'mypod', password: 'geheim' };

interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

function manifests(
  spec: Partial<PodSpec>,
  change: Partial<WorkloadSpec> = {},
  settings: Partial<KubernetesSettings> = {},
): readonly Manifest[] {
  const workload = workloadSpec(spec, { podId: 'mypod', uid: UID, generation: 3, run: 5, ...change });
  const all = kubernetesSettings(settings);
  const found = recipeOf(workload, createTemplateCatalog(), all);
  if (found.kind === 'refused') throw new Error(found.reason);
  return wantedObjects(
    { workload, settings: all },
    found.recipe,
    plainEnvironment(workload.uid, workload.spec.environmentVariables),
  ).map(({ manifest }) => manifest as Manifest);
}

const postgres: Partial<PodSpec> = {
  template: 'template/postgres',
  writtenTemplate: 'postgres',
  networking: { default: { protocol: 'postgres', port: 5432, ipAllowList: [] } },
};
const neo4j: Partial<PodSpec> = {
  template: 'template/neo4j',
  writtenTemplate: 'neo4j',
  networking: {
    default: { protocol: 'tcp', port: 7687, ipAllowList: [] },
    browser: { protocol: 'http', port: 7474, ipAllowList: [] },
  },
};
const image: Partial<PodSpec> = { template: 'nginx:1.27', writtenTemplate: 'nginx:1.27' };
const volume = (name: string, mountPath: string, change = {}) => ({
  type: 'pvc' as const,
  name,
  mountPath,
  subPath: '',
  readOnly: false,
  keyedBy: 'name' as const,
  ...change,
});
const one = (all: readonly Manifest[], kind: string) => {
  const found = all.filter((each) => each.kind === kind);
  expect(found, kind).toHaveLength(1);
  return found[0];
};

describe('the objects of a workload', () => {
  it('come in an order in which nothing runs before what it needs and what fences it', () => {
    const kinds = manifests({ ...postgres, persistentVolume: true }, { credentials }).map(({ kind }) => kind);
    expect(kinds).toEqual(['Service', 'NetworkPolicy', 'PersistentVolumeClaim', 'Secret', 'Pod']);
    expect(manifests(image).map(({ kind }) => kind)).toEqual(['Service', 'NetworkPolicy', 'Pod']);
  });

  it('name their installation, tenant, pod, uid, store, generation and run', () => {
    for (const { kind, metadata } of manifests({ ...postgres, persistentVolume: true }, { credentials })) {
      expect(metadata.labels, kind).toMatchObject({
        'app.kubernetes.io/managed-by': 'podgate',
        'podgate.io/site': 'test',
        'podgate.io/tenant': 'dev',
        'podgate.io/pod-id': 'mypod',
        'podgate.io/uid': UID,
        'podgate.io/store': 'store-1',
        // Data belongs to the uid, whatever the run.
        ...(kind === 'PersistentVolumeClaim' ? {} : { 'podgate.io/generation': '3', 'podgate.io/run': '5' }),
      });
      const name =
        kind === 'Secret' || kind === 'PersistentVolumeClaim' ? `pods-test-dev-mypod-${UID}` : 'pods-test-dev-mypod';
      expect(metadata.name).toBe(name);
    }
  });

  it('are read back as they were written, and what is not ours is not read', () => {
    const [service] = manifests(image);
    const object = { ...service, metadata: { ...service?.metadata, uid: 'o1', resourceVersion: '9' } };
    expect(parseOwned(object)).toMatchObject({
      tenant: 'dev',
      podId: 'mypod',
      uid: UID,
      generation: 3,
      run: 5,
      storeId: 'store-1',
      commit: 7,
      objectUid: 'o1',
      resourceVersion: '9',
      isDeleting: false,
    });
    expect(parseOwned({ metadata: { name: 'pods-test-dev-mypod', labels: {} } })).toBeNull();
    const strange = {
      ...object,
      metadata: { ...object.metadata, labels: { ...service?.metadata.labels, 'podgate.io/run': 'x' } },
    };
    expect(parseOwned(strange)?.run).toBe(-1);
    expect(parsePod(one(manifests(image), 'Pod') as object as Record<string, unknown>)?.stanzas).toEqual({
      default: 5000,
    });
  });

  it('hold the password in the Secret alone', () => {
    for (const manifest of manifests(postgres, { credentials })) {
      expect(JSON.stringify(manifest).includes('geheim'), manifest.kind).toBe(false);
      const encoded = Buffer.from('geheim').toString('base64');
      expect(JSON.stringify(manifest).includes(encoded), manifest.kind).toBe(manifest.kind === 'Secret');
    }
  });

  it('carry the record and the sealed credential, for recovery', () => {
    const annotations = { storeId: 's', commit: 12, record: '{"a":1}', credential: 'sealed' };
    expect(one(manifests(image, { annotations }), 'Pod')?.metadata.annotations).toMatchObject({
      'podgate.io/commit': '12',
      'podgate.io/record': '{"a":1}',
      'podgate.io/credential': 'sealed',
    });
    expect(one(manifests(image), 'Pod')?.metadata.annotations).not.toHaveProperty('podgate.io/credential');
  });
});

describe('the Pod', () => {
  const podOf = (...args: Parameters<typeof manifests>) => one(manifests(...args), 'Pod');

  it.each([
    ['a Postgres', postgres, 999],
    ['a Neo4j', neo4j, 7474],
    ['podgate/hello', { template: 'podgate/hello', writtenTemplate: 'hello' }, 10_001],
    ['an image', image, undefined],
  ] as const)('of %s has no rights in the cluster and as few as can be on its node', (_what, spec, user) => {
    expect(podOf(spec, { credentials })).toMatchObject({
      spec: {
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        securityContext: {
          runAsNonRoot: true,
          seccompProfile: { type: 'RuntimeDefault' },
          ...(user === undefined ? {} : { runAsUser: user, runAsGroup: user }),
        },
        containers: [{ securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } }],
      },
    });
  });

  it('of an image is unrestricted when the configuration says so', () => {
    const spec = podOf(image, {}, { podSecurity: 'baseline' }) as unknown as { spec: { securityContext: object } };
    expect(spec.spec.securityContext).toEqual({ seccompProfile: { type: 'RuntimeDefault' } });
    expect(podOf(postgres, { credentials }, { podSecurity: 'baseline' })).toMatchObject({
      spec: { securityContext: { runAsNonRoot: true } },
    });
  });

  it('starts again what fails; only an image may end well', () => {
    expect(podOf(image)).toMatchObject({ spec: { restartPolicy: 'OnFailure' } });
    expect(podOf(postgres, { credentials })).toMatchObject({ spec: { restartPolicy: 'Always' } });
  });

  it('asks for what the pod asks for', () => {
    const resources = { cpuRequest: 250, cpuLimit: 2000, memRequest: 256, memLimit: 3072, gpus: 2 };
    expect(podOf({ ...image, resources, command: ['serve'], arguments: ['--fast'] })).toMatchObject({
      spec: {
        containers: [
          {
            image: 'nginx:1.27',
            command: ['serve'],
            args: ['--fast'],
            resources: {
              requests: { cpu: '250m', memory: '256Mi' },
              limits: { cpu: '2000m', memory: '3072Mi', 'nvidia.com/gpu': '2' },
            },
          },
        ],
      },
    });
  });

  it.each([
    ['an image', image, 2_048],
    ['Postgres with a volume: its scratch directories are added', { ...postgres, persistentVolume: true }, 4_096],
    ['Postgres without one: its data is added, too', postgres, 4_160],
    ['Neo4j with a volume', { ...neo4j, persistentVolume: true }, 3_072],
    ['hello', { template: 'podgate/hello', writtenTemplate: 'hello' }, 2_048],
  ] as const)('may fill so much of the disk of its node and no more: %s', (_what, spec, limitMiB) => {
    expect(podOf(spec, { credentials })).toMatchObject({
      spec: {
        containers: [
          {
            resources: {
              requests: { 'ephemeral-storage': '128Mi' },
              limits: { 'ephemeral-storage': `${limitMiB}Mi` },
            },
          },
        ],
      },
    });
  });

  it.each([
    ['an image', image],
    ['Postgres', postgres],
    ['Neo4j', neo4j],
  ] as const)('has shared memory up to its memory limit: %s', (_what, spec) => {
    const resources = { cpuRequest: 250, cpuLimit: 2000, memRequest: 256, memLimit: 1_234, gpus: 0 };
    const pod = podOf({ ...spec, resources }, { credentials }) as unknown as {
      spec: { volumes: object[]; containers: { volumeMounts: object[] }[]; securityContext: object };
    };
    expect(pod.spec.volumes).toContainEqual({
      name: 'shared-memory',
      emptyDir: { medium: 'Memory', sizeLimit: '1234Mi' },
    });
    expect(pod.spec.containers[0]?.volumeMounts).toContainEqual({ name: 'shared-memory', mountPath: '/dev/shm' });
    // It changes no group of an image that has no volume of its own.
    if (spec === image) expect(pod.spec.securityContext).not.toHaveProperty('fsGroup');
  });

  it('has what its user mounts in place of shared memory', () => {
    const pod = podOf({ ...image, volumeMounts: [volume('mine', '/dev/shm')] }) as unknown as {
      spec: { volumes: { name: string }[] };
    };
    expect(pod.spec.volumes.map(({ name }) => name)).toEqual(['volume-mine']);
  });

  it('gives users’ words to the program as they are, their values from the Secret alone', () => {
    const longName = 'L'.repeat(256);
    const environmentVariables = { A: 'costs $5, $(PORT) and $$(PORT) $', PORT: '1', [longName]: 'long' };
    const made = manifests({ ...image, environmentVariables, command: ['echo', '$(PORT)'] });
    const pod = made.find(({ kind }) => kind === 'Pod') as unknown as {
      spec: {
        containers: {
          env: { name: string; value?: string; valueFrom?: { secretKeyRef: { name: string; key: string } } }[];
          command: string[];
        }[];
      };
    };
    const secret = made.find(({ kind }) => kind === 'Secret') as unknown as {
      metadata: { name: string };
      data: Record<string, string>;
    };
    const env = new Map(pod.spec.containers[0]?.env.map((variable) => [variable.name, variable]));
    for (const [name, value] of Object.entries(environmentVariables)) {
      const reference = env.get(name)?.valueFrom?.secretKeyRef;
      expect(env.get(name)?.value).toBeUndefined();
      expect(reference?.name).toBe(secret.metadata.name);
      expect(reference?.key.length).toBeLessThanOrEqual(253);
      // The kubelet puts nothing in the place of `$(NAME)` in what comes from a Secret.
      expect(Buffer.from(secret.data[reference?.key ?? ''] ?? '', 'base64').toString()).toBe(value);
    }
    expect(env.get('PORT_DEFAULT')?.value).toBe('5000');
    expect(pod.spec.containers[0]?.command).toEqual(['echo', '$$(PORT)']);
  });

  it('of a template lets no variable of its user replace what the template sets', () => {
    const environmentVariables = { POSTGRES_USER: 'root', POSTGRES_PASSWORD: 'x', NEO4J_AUTH: 'none' };
    for (const spec of [postgres, neo4j]) {
      const text = JSON.stringify(podOf({ ...spec, environmentVariables }, { credentials }));
      if (spec === postgres) expect(text).not.toContain('"value":"root"');
      expect(text.match(/"POSTGRES_PASSWORD"/g)?.length ?? 0).toBeLessThanOrEqual(1);
      if (spec === neo4j) expect(text).not.toContain('"value":"none"');
    }
  });

  it('of Neo4j advertises its outside names', () => {
    const hosts = { default: 'mypod.pods.example.org', browser: 'mypod-browser.pods.example.org' };
    expect(podOf(neo4j, { credentials, hosts, publicHttpsPort: 443 })).toMatchObject({
      spec: {
        containers: [
          {
            env: expect.arrayContaining([
              { name: 'NEO4J_server_bolt_advertised__address', value: 'mypod.pods.example.org:443' },
              { name: 'NEO4J_server_http_advertised__address', value: 'mypod-browser.pods.example.org:443' },
            ]) as unknown,
          },
        ],
      },
    });
  });

  it('keeps its data on a claim when asked, and only then', () => {
    const volumesOf = (spec: Partial<PodSpec>) => {
      const pod = podOf(spec, { credentials }) as unknown as {
        spec: { volumes: object[]; containers: { volumeMounts: { mountPath: string }[] }[]; securityContext: object };
      };
      return {
        volumes: pod.spec.volumes,
        mounts: pod.spec.containers[0]?.volumeMounts,
        security: pod.spec.securityContext,
      };
    };
    const claim = { claimName: `pods-test-dev-mypod-${UID}` };
    const kept = volumesOf({ ...postgres, persistentVolume: true });
    expect(kept.volumes).toContainEqual({ name: 'own-data', persistentVolumeClaim: claim });
    expect(kept.mounts).toContainEqual({ name: 'own-data', mountPath: '/var/lib/postgresql' });
    expect(kept.security).toMatchObject({ fsGroup: 999 });
    const lost = volumesOf(postgres);
    expect(JSON.stringify(lost.volumes)).not.toContain('persistentVolumeClaim');
    expect(lost.mounts).toContainEqual({ name: 'own-data', mountPath: '/var/lib/postgresql' });
    const mounted = volumesOf({ ...postgres, volumeMounts: [volume('db', '/var/lib/postgresql', { subPath: 'a' })] });
    expect(mounted.mounts?.filter(({ mountPath }) => mountPath === '/var/lib/postgresql')).toEqual([
      { name: 'volume-db', mountPath: '/var/lib/postgresql', subPath: 'a' },
    ]);
  });

  it('shows one volume at several paths with one claim', () => {
    const volumeMounts = [
      volume('files', '/a', { subPath: 'x' }),
      volume('files', '/b', { readOnly: true }),
      volume('more', '/c'),
    ];
    const all = manifests({ ...image, volumeMounts });
    const claims = all.filter(({ kind }) => kind === 'PersistentVolumeClaim').map(({ metadata }) => metadata.name);
    expect(claims).toEqual([`pods-test-dev-mypod-${UID}-files`, `pods-test-dev-mypod-${UID}-more`]);
    expect(one(all, 'Pod')).toMatchObject({ spec: { securityContext: { fsGroup: 1000 } } });
  });
});

describe('the Service', () => {
  it('leads to this run alone, by each port once', () => {
    const networking = {
      default: { protocol: 'http' as const, port: 80, ipAllowList: [] },
      again: { protocol: 'tcp' as const, port: 80, ipAllowList: [] },
      admin: { protocol: 'local_only' as const, port: 81, ipAllowList: [] },
    };
    expect(one(manifests({ ...image, networking }), 'Service')).toMatchObject({
      spec: {
        selector: { 'podgate.io/uid': UID, 'podgate.io/run': '5' },
        ports: [{ port: 80 }, { port: 81 }],
      },
    });
  });

  it('of a pod without ports has no address', () => {
    expect(one(manifests({ ...image, networking: {} }), 'Service')).toMatchObject({
      spec: { clusterIP: 'None', ports: [] },
    });
  });
});

describe('the NetworkPolicy', () => {
  const policyOf = (networking: PodSpec['networking'], settings: Partial<KubernetesSettings> = {}) =>
    one(manifests({ ...image, networking }, {}, settings), 'NetworkPolicy') as unknown as {
      spec: { ingress: object[]; egress: object[]; policyTypes: string[]; podSelector: object };
    };

  it('admits gateways only, and gives the pod no access to the cluster', () => {
    const { spec } = policyOf(
      { default: { protocol: 'http', port: 5000, ipAllowList: [] } },
      { egressExcept: ['203.0.113.7/32', '2001:db8::/32', 'fd00::/8'] },
    );
    expect(spec.podSelector).toMatchObject({ matchLabels: { 'podgate.io/uid': UID } });
    expect(spec.policyTypes).toEqual(['Ingress', 'Egress']);
    expect(spec.ingress).toEqual([
      {
        from: [
          {
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'podgate' } },
            podSelector: {
              matchLabels: { 'app.kubernetes.io/name': 'podgate', 'app.kubernetes.io/component': 'gateway' },
            },
          },
        ],
        ports: [{ protocol: 'TCP', port: 5000 }],
      },
    ]);
    expect(spec.egress).toContainEqual({
      to: [
        {
          ipBlock: {
            cidr: '0.0.0.0/0',
            except: expect.arrayContaining([
              '10.0.0.0/8',
              '127.0.0.0/8',
              '169.254.0.0/16',
              '172.16.0.0/12',
              '203.0.113.7/32',
            ]) as unknown,
          },
        },
        { ipBlock: { cidr: '2000::/3', except: ['2002::/16', '2001:db8::/32'] } },
      ],
    });
  });

  it('lets the pod ask the name servers of usual clusters and the given ones, as deploy/ lets the replicas', () => {
    const { spec } = policyOf({}, { nameServers: ['10.96.0.10/32'] });
    const ports = (port: number) => [
      { protocol: 'UDP', port },
      { protocol: 'TCP', port },
    ];
    expect(spec.egress).toContainEqual({
      to: [
        { namespaceSelector: {}, podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } } },
        { ipBlock: { cidr: '169.254.20.10/32' } },
        { ipBlock: { cidr: '10.96.0.10/32' } },
      ],
      ports: ports(53),
    });
    expect(spec.egress).toContainEqual({
      to: [
        {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'openshift-dns' } },
          podSelector: { matchLabels: { 'dns.operator.openshift.io/daemonset-dns': 'default' } },
        },
      ],
      ports: ports(5353),
    });
    const text = readFileSync(join(import.meta.dirname, '../../../deploy/base/network-policies.yaml'), 'utf8');
    const own = parseAllDocuments(text)
      .map((document) => document.toJS() as { metadata: { name: string }; spec: { egress?: object[] } })
      .find(({ metadata }) => metadata.name === 'gateway-egress');
    for (const rule of nameServerRules([])) expect(own?.spec.egress).toContainEqual(rule);
  });

  it('lets pods of the same tenant reach what is local_only, and gateways not', () => {
    const { spec } = policyOf({ inner: { protocol: 'local_only', port: 9000, ipAllowList: [] } });
    expect(spec.ingress).toEqual([
      {
        from: [
          {
            podSelector: {
              matchLabels: {
                'app.kubernetes.io/managed-by': 'podgate',
                'podgate.io/site': 'test',
                'podgate.io/tenant': 'dev',
              },
            },
          },
        ],
        ports: [{ protocol: 'TCP', port: 9000 }],
      },
    ]);
    const pod = one(
      manifests({ ...image, networking: { inner: { protocol: 'local_only', port: 1, ipAllowList: [] } } }),
      'Pod',
    );
    expect(pod?.metadata.labels['podgate.io/local-service']).toBe('yes');
    expect(one(manifests(image), 'Pod')?.metadata.labels).not.toHaveProperty('podgate.io/local-service');
  });
});

describe('what cannot run is refused with a sentence', () => {
  it.each([
    [
      'a template for processes',
      { template: 'podgate/process', writtenTemplate: 'podgate/process' },
      {},
      'requires pods that are processes',
    ],
    [
      'what is no image',
      { template: 'a b', writtenTemplate: 'a b' },
      {},
      'neither a template nor the name of an image',
    ],
    ['a Postgres without credentials', postgres, {}, 'needs credentials'],
    [
      'a Postgres of a user that cannot be',
      postgres,
      { credentials: { username: 'public', password: 'x' } },
      'choose another pod_id',
    ],
  ] as const)('%s', (_what, spec, change, said) => {
    const found = recipeOf(workloadSpec(spec, change), createTemplateCatalog(), kubernetesSettings());
    expect(found).toMatchObject({ kind: 'refused', reason: expect.stringMatching(/^[A-Z"].*\.$/) as unknown });
    if (found.kind === 'refused') expect(found.reason).toContain(said);
  });
});

describe('a pod with named volumes', () => {
  const mounted = (uid: string, mountPath: string, change: Partial<MountedFiles> = {}): MountedFiles => ({
    ref: { kind: 'volume', uid, tenant: 'dev', id: 'data' },
    ...{ name: 'data', mountPath, subPath: '', isReadOnly: false, sizeLimitMiB: 5 },
    ...change,
  });
  const podOf = (mounts: readonly MountedFiles[], settings: Partial<KubernetesSettings> = {}) =>
    one(manifests(image, { mounts }, settings), 'Pod') as unknown as V1Pod;

  it('has each claim once, prepared as a whole, and mounts of what is in it alone', () => {
    const { spec } = podOf([mounted('a', '/one', { subPath: 'x/y', isReadOnly: true }), mounted('a', '/two')]);
    const claims = spec?.volumes?.filter(({ persistentVolumeClaim }) => persistentVolumeClaim !== undefined);
    expect(claims).toEqual([{ name: 'volume-a', persistentVolumeClaim: { claimName: 'volume-test-a' } }]);
    expect(spec?.containers[0]?.volumeMounts).toEqual(
      expect.arrayContaining([
        { name: 'volume-a', mountPath: '/one', subPath: 'data/x/y', readOnly: true },
        { name: 'volume-a', mountPath: '/two', subPath: 'data' },
      ]),
    );
    const [prepare] = spec?.initContainers ?? [];
    expect(prepare).toMatchObject({
      image: 'podgate',
      volumeMounts: [{ name: 'volume-a', mountPath: '/volumes/a' }],
      securityContext: { runAsNonRoot: true, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
    });
    expect(prepare?.command?.slice(2)).toEqual(['/volumes/a', 'ro', 'x/y', '/volumes/a', 'rw', '']);
    expect(spec?.securityContext?.fsGroup).toBe(1000);
  });

  it('comes to the node of others that use the volume, where a node at a time can', () => {
    const pod = podOf([mounted('a', '/one')]);
    expect(pod.metadata?.labels).toMatchObject({ 'files.podgate.io/a': 'yes' });
    expect(pod.spec?.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution).toEqual([
      { labelSelector: { matchLabels: { 'files.podgate.io/a': 'yes' } }, topologyKey: 'kubernetes.io/hostname' },
    ]);
    const several = podOf([mounted('a', '/one'), mounted('b', '/two')]);
    expect(several.spec?.affinity?.podAffinity?.preferredDuringSchedulingIgnoredDuringExecution).toHaveLength(2);
    const anywhere = podOf([mounted('a', '/one')], {
      namedVolumes: { storageClass: 'nfs', accessMode: 'ReadWriteMany' },
    });
    expect(anywhere.spec?.affinity).toBeUndefined();
  });
});

describe('what is there already', () => {
  const wanted = workloadSpec({}, { uid: UID, generation: 3, run: 5 });
  const present = {
    ...{ tenant: 'dev', podId: wanted.podId, uid: UID, generation: 3, run: 5, storeId: 'store-1', commit: 7 },
    ...{ name: 'x', objectUid: 'o', resourceVersion: '1', createdAtMs: 0, isDeleting: false },
  };

  it.each([
    ['the same', {}, false, 'same'],
    ['the same, being deleted', { isDeleting: true }, false, 'wait'],
    ['an earlier run', { run: 4 }, false, 'older'],
    ['an earlier generation', { generation: 2 }, false, 'older'],
    ['a later run', { run: 6 }, false, 'wait'],
    ['of another uid', { uid: 'other' }, false, 'older'],
    ['of another uid, made at a later commit', { uid: 'other', commit: 8 }, false, 'wait'],
    ['of another uid and another store', { uid: 'other', commit: 8, storeId: 'another' }, false, 'older'],
    ['data of an earlier run', { run: 1, generation: 1 }, true, 'same'],
    ['data that is being deleted', { isDeleting: true }, true, 'wait'],
  ] as const)('%s', (_what, change, isData, kind) => {
    expect(standingOf({ ...present, ...change }, wanted, isData).kind).toBe(kind);
  });
});
