import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import {
  type ControlPlane,
  controlPlaneProblem,
  createKubeClient,
  isKubeError,
  type KubeClient,
  programPath,
  startControlPlane,
} from '../../support/kubernetes/index.ts';
import { copyOverlay, DEPLOY, makeSecrets } from '../../support/deploy-overlay.ts';
import { run } from '../../support/run.ts';

const problem = controlPlaneProblem();
const GATEWAY = 'podgate';
const PODS = 'podgate-pods';
const ACCOUNT = `system:serviceaccount:${GATEWAY}:podgate`;

interface KubeObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly resourceVersion?: string;
  };
  readonly spec?: {
    readonly template?: PodTemplate;
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string }; readonly spec: object }[];
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly rules?: readonly Rule[];
}

interface PodTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly terminationGracePeriodSeconds: number;
    readonly volumes: readonly {
      readonly name: string;
      readonly secret?: { readonly secretName: string };
      readonly configMap?: { readonly name: string };
    }[];
    readonly containers: readonly [
      {
        readonly image: string;
        readonly env?: readonly {
          readonly name: string;
          readonly valueFrom?: { readonly secretKeyRef?: { readonly name: string } };
        }[];
      },
    ];
  };
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

describe.skipIf(problem !== null)(`deploy/${problem === null ? '' : ` (${problem})`}`, () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let folder: string;
  beforeAll(async () => {
    plane = await startControlPlane();
    client = plane.client;
    folder = mkdtempSync(join(tmpdir(), 'podgate-deploy-'));
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    await plane.stop();
  });

  async function kubectl(...args: readonly string[]): Promise<string> {
    const env = { KUBECONFIG: plane.adminKubeconfigPath };
    const { code, stdout, stderr } = await run(programPath('kubectl'), args, { env });
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }
  const apply = (path: string) => kubectl('apply', '--kustomize', path, '--validate=strict');
  const objectsOf = async (path: string) =>
    (JSON.parse(await kubectl('get', '--kustomize', path, '--output', 'json')) as { items: readonly KubeObject[] })
      .items;
  const versions = async (path: string) =>
    (await objectsOf(path)).map(({ kind, metadata }) => `${kind}/${metadata.name} ${metadata.resourceVersion ?? ''}`);

  it('is accepted unchanged, field by field, and a second apply changes nothing', async () => {
    const first = await apply(DEPLOY);
    expect(first).toContain('deployment.apps/podgate created');
    expect(first).toContain('statefulset.apps/podgate-redis created');
    const before = await versions(DEPLOY);
    await apply(DEPLOY);
    expect(await versions(DEPLOY)).toEqual(before);
  });

  it('starts nothing by itself: the pods name Secrets that only an operator can create', async () => {
    await apply(DEPLOY);
    const objects = await objectsOf(DEPLOY);
    expect(objects.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    expect(secretsOf(template(objects, 'Deployment'))).toEqual([
      'podgate-certificate',
      'podgate-keyring',
      // Optional: without it nobody elsewhere reads metrics.
      'podgate-metrics',
      'podgate-redis',
    ]);
    expect(secretsOf(template(objects, 'StatefulSet'))).toEqual(['podgate-redis', 'podgate-redis-tls']);
  });

  it('runs its own and users’ pods at the restricted level of Pod Security', async () => {
    await apply(DEPLOY);
    // A cluster's own controller makes it.
    await plane.serviceAccountKubeconfig(GATEWAY, 'default');
    const objects = await objectsOf(DEPLOY);
    for (const { kind, metadata } of objects.filter(({ kind }) => kind === 'Namespace')) {
      expect({ kind, name: metadata.name, level: metadata.labels?.['pod-security.kubernetes.io/enforce'] }).toEqual({
        kind,
        name: metadata.name,
        level: 'restricted',
      });
    }
    for (const kind of ['Deployment', 'StatefulSet']) {
      const { metadata, spec } = template(objects, kind);
      const claims = objects.find((object) => object.kind === kind)?.spec?.volumeClaimTemplates ?? [];
      const volumes = [
        ...spec.volumes,
        ...claims.map((claim) => ({ name: claim.metadata.name, persistentVolumeClaim: { claimName: 'claim' } })),
      ];
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { ...metadata, name: 'tried' },
        spec: { ...spec, volumes },
      };
      await client.call('POST', `/api/v1/namespaces/${GATEWAY}/pods?dryRun=All&fieldValidation=Strict`, { body: pod });
    }
    const privileged = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'tried' },
      spec: { containers: [{ name: 'main', image: 'any', securityContext: { privileged: true } }] },
    };
    await plane.serviceAccountKubeconfig(PODS, 'default');
    await expect(
      client.call('POST', `/api/v1/namespaces/${PODS}/pods?dryRun=All`, { body: privileged }),
    ).rejects.toThrow(/violates PodSecurity "restricted/);
  });

  it('isolates pods from each other and everything else: each gets its access by its own policy', async () => {
    await apply(DEPLOY);
    const { spec } = await client.get<{ spec: object }>(
      `/apis/networking.k8s.io/v1/namespaces/${PODS}/networkpolicies/default-deny`,
    );
    expect(spec).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
  });

  describe('its account', () => {
    let account: KubeClient;
    beforeAll(async () => {
      await apply(DEPLOY);
      account = createKubeClient(await plane.serviceAccountKubeconfig(GATEWAY, 'podgate'));
    });
    afterAll(() => account.close());

    async function may(verb: string, group: string, resource: string, namespace: string): Promise<boolean> {
      const [name, subresource] = resource.split('/');
      const resourceAttributes = { verb, group, resource: name, subresource, namespace };
      const body = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: { user: ACCOUNT, groups: ['system:authenticated', 'system:serviceaccounts'], resourceAttributes },
      };
      const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
      return (await client.call<{ status: { allowed: boolean } }>('POST', path, { body })).status.allowed;
    }

    it('may do what its Role says in the namespace of the pods, and nothing elsewhere', async () => {
      const rules = (await objectsOf(DEPLOY)).find(({ kind }) => kind === 'Role')?.rules ?? [];
      expect(rules.length).toBeGreaterThan(0);
      for (const [group, resource, verb] of permissionsOf(rules)) {
        const named = `${verb} ${resource}`;
        expect([named, await may(verb, group, resource, PODS)]).toEqual([named, true]);
        for (const elsewhere of [GATEWAY, 'kube-system', 'default']) {
          expect([named, elsewhere, await may(verb, group, resource, elsewhere)]).toEqual([named, elsewhere, false]);
        }
      }
    });

    it('names every verb and kind: no wildcard, nothing cluster-wide', async () => {
      const objects = await objectsOf(DEPLOY);
      expect(objects.filter(({ kind }) => kind.startsWith('ClusterRole'))).toEqual([]);
      const words = objects.flatMap(({ rules = [] }) =>
        rules.flatMap(({ apiGroups, resources, verbs }) => [...apiGroups, ...resources, ...verbs]),
      );
      expect(words).not.toContain('*');
    });

    it.each([
      ['get', '', 'nodes'],
      ['list', '', 'nodes'],
      ['list', '', 'namespaces'],
      ['create', '', 'pods/proxy'],
      ['create', '', 'pods/attach'],
      ['create', '', 'pods/portforward'],
      ['create', '', 'pods/eviction'],
      ['update', '', 'pods/ephemeralcontainers'],
      ['update', '', 'pods/status'],
      ['deletecollection', '', 'pods'],
      ['list', '', 'secrets'],
      ['watch', '', 'secrets'],
      ['get', '', 'configmaps'],
      ['create', '', 'serviceaccounts'],
      ['create', '', 'serviceaccounts/token'],
      ['impersonate', '', 'users'],
      ['deletecollection', '', 'persistentvolumeclaims'],
      ['get', '', 'persistentvolumes'],
      ['get', 'storage.k8s.io', 'storageclasses'],
      ['create', 'rbac.authorization.k8s.io', 'roles'],
      ['update', 'rbac.authorization.k8s.io', 'roles'],
      ['escalate', 'rbac.authorization.k8s.io', 'roles'],
      ['bind', 'rbac.authorization.k8s.io', 'roles'],
      ['create', 'rbac.authorization.k8s.io', 'rolebindings'],
      ['create', 'apps', 'deployments'],
      ['create', 'batch', 'jobs'],
    ])('may not %s %s %s', async (verb, group, resource) => {
      expect(await may(verb, group, resource, PODS)).toBe(false);
    });

    it('is refused by the server itself: Secrets of its own namespace, and a Role with more rights than its own', async () => {
      const forbidden = (error: unknown): boolean => isKubeError(error, 'Forbidden');
      await expect(account.get(`/api/v1/namespaces/${GATEWAY}/secrets/podgate-keyring`)).rejects.toSatisfy(forbidden);
      await expect(account.get(`/api/v1/namespaces/${PODS}/secrets`)).rejects.toSatisfy(forbidden);
      const role = {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'Role',
        metadata: { name: 'more' },
        rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
      };
      const roles = `/apis/rbac.authorization.k8s.io/v1/namespaces/${PODS}/roles`;
      await expect(account.call('POST', roles, { body: role })).rejects.toSatisfy(forbidden);
    });
  });

  it('gives a terminating replica its drain time, and 10 s more', async () => {
    await apply(DEPLOY);
    const { terminationGracePeriodSeconds } = template(await objectsOf(DEPLOY), 'Deployment').spec;
    for (const path of ['base/podgate.yaml', 'overlays/example/podgate.yaml']) {
      const { drain } = parse(readFileSync(join(DEPLOY, path), 'utf8')) as { drain: Record<string, number> };
      const drainMs = (drain['readinessDelayMs'] ?? 0) + (drain['sessionsMs'] ?? 0);
      expect(terminationGracePeriodSeconds * 1_000).toBeGreaterThanOrEqual(drainMs + 10_000);
    }
  });

  describe('the installation from scratch in docs/operations.md', () => {
    it('creates and applies the secrets, and a changed setting creates new pods', async () => {
      const mine = copyOverlay(folder);
      await expect(apply(mine)).rejects.toThrow(/secrets/);
      await makeSecrets(mine);
      expect(await apply(mine)).toMatch(/secret\/podgate-keyring-\w+ created/);

      const objects = await objectsOf(mine);
      expect(template(objects, 'Deployment').spec.containers[0].image).toBe('registry.example.org/podgate:0.1.0');
      const named = ['Deployment', 'StatefulSet'].flatMap((kind) => secretsOf(template(objects, kind)));
      const made = objects.filter(({ kind }) => kind === 'Secret').map(({ metadata }) => metadata.name);
      expect([...new Set(named)].toSorted()).toEqual(made.toSorted());
      expect(named.every((name) => /-[a-z0-9]{10}$/.test(name))).toBe(true);

      writeFileSync(join(mine, 'podgate.yaml'), `${readFileSync(join(mine, 'podgate.yaml'), 'utf8')}\n# changed\n`);
      expect(await apply(mine)).toContain('deployment.apps/podgate configured');
    });
  });
});

function template(objects: readonly KubeObject[], kind: string): PodTemplate {
  const found = objects.find((object) => object.kind === kind)?.spec?.template;
  if (found === undefined) throw new Error(`there is no ${kind}`);
  return found;
}

function secretsOf({ spec }: PodTemplate): readonly string[] {
  const mounted = spec.volumes.flatMap(({ secret }) => secret?.secretName ?? []);
  const read = (spec.containers[0].env ?? []).flatMap(({ valueFrom }) => valueFrom?.secretKeyRef?.name ?? []);
  return [...new Set([...mounted, ...read])].toSorted();
}

function permissionsOf(rules: readonly Rule[]): readonly (readonly [string, string, string])[] {
  return rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => [group, resource, verb] as const)),
    ),
  );
}
