import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { existsSync } from 'node:fs';
import {
  controlPlaneProblem,
  createKubeClient,
  isKubeError,
  type KubeClient,
  programPath,
  startTestCluster,
  type TestCluster,
} from '../../support/kubernetes/index.ts';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';
import { type PodCalls, podCalls, SERVES, talk } from './pod-calls.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'environment';

describe.skipIf(problem !== null)(`the Kubernetes test environment${problem === null ? '' : ` (${problem})`}`, () => {
  let cluster: TestCluster;
  let client: KubeClient;
  let pods: PodCalls;
  beforeAll(async () => {
    cluster = await startTestCluster({ timings: { crashBackOffMs: 50, crashBackOffMaxMs: 200 } });
    client = cluster.controlPlane.client;
    pods = podCalls(client, NAMESPACE);
    await cluster.controlPlane.createNamespace(NAMESPACE);
  });
  afterAll(() => cluster.stop());

  it('makes a pod ready, which serves at its own address', async () => {
    await pods.create('ready', SERVES);
    const { status } = await pods.becomesReady('ready');
    expect(status.phase).toBe('Running');
    expect(status.conditions?.map(({ type, status: value }) => `${type}=${value}`)).toEqual(
      expect.arrayContaining(['PodScheduled=True', 'Initialized=True', 'ContainersReady=True', 'Ready=True']),
    );
    const answer = (await (await fetch(`http://${String(status.podIP)}:8080/x`)).json()) as { uid: string };
    expect(answer.uid).toBe('uid-of-ready');
    expect(await talk(String(status.podIP), 8080, 'hello')).toMatch(/^\{.*"uid":"uid-of-ready".*\}\nhello$/);
    await pods.remove('ready');
  });

  it('returns logs by the API server, with a limit, and those of the previous run', async () => {
    await pods.create('logs', {
      image: 'podgate.test/command',
      command: ['sh', '-c', 'for n in 1 2 3; do echo line $n; done; exit 3'],
    });
    await pods.becomes('logs', 'has been restarted', (_pod, container) => (container?.restartCount ?? 0) > 0);
    expect(await client.get(`${pods.path('logs')}/log?previous=true`)).toBe('line 1\nline 2\nline 3\n');
    expect(await client.get(`${pods.path('logs')}/log?previous=true&tailLines=1`)).toBe('line 3\n');
    expect(await client.get(`${pods.path('logs')}/log?previous=true&limitBytes=4`)).toBe('line');
    await pods.remove('logs');
  });

  it('respects the grace period of a deletion, then kills', async () => {
    await pods.create('polite', { ...SERVES, env: [{ name: 'STOP_AFTER_MS', value: '300' }] });
    await pods.create('stubborn', { ...SERVES, env: [{ name: 'STOP_AFTER_MS', value: 'never' }] });
    const [polite] = await Promise.all(['polite', 'stubborn'].map((name) => pods.becomesReady(name)));
    const startedMs = performance.now();
    await client.call('DELETE', pods.path('polite'));
    await client.call('DELETE', `${pods.path('stubborn')}?gracePeriodSeconds=1`);
    expect((await pods.get('polite')).metadata).toMatchObject({
      uid: polite?.metadata.uid,
      deletionTimestamp: expect.any(String) as string,
    });
    await pods.isGone('polite');
    expect(performance.now() - startedMs).toBeGreaterThan(290);
    await pods.isGone('stubborn');
    expect(performance.now() - startedMs).toBeGreaterThan(990);
  });

  it('reuses the address of a pod at once', async () => {
    await pods.create('first', SERVES);
    const first = await pods.becomesReady('first');
    await pods.remove('first', '?gracePeriodSeconds=0');
    await until('its address is free', () => cluster.kubelet.pods().every(({ name }) => name !== 'first'));
    await pods.create('second', SERVES);
    expect((await pods.becomesReady('second')).status.podIP).toBe(first.status.podIP);
    await pods.remove('second');
  });

  it('restarts failed containers with back-off, and completes others', async () => {
    await pods.create('crashes', { image: 'podgate.test/exits', env: [{ name: 'EXIT_CODE', value: '7' }] });
    const looping = await pods.becomes(
      'crashes',
      'is in a crash loop',
      (_pod, container) => container?.state.waiting?.reason === 'CrashLoopBackOff',
    );
    expect(looping.status.phase).toBe('Running');
    expect(looping.status.containerStatuses?.[0]?.lastState.terminated).toMatchObject({ exitCode: 7, reason: 'Error' });
    await pods.create('completes', { image: 'podgate.test/exits' }, { restartPolicy: 'OnFailure' });
    await pods.becomes('completes', 'has succeeded', ({ status }) => status.phase === 'Succeeded');
    await pods.create(
      'fails',
      { image: 'podgate.test/exits', env: [{ name: 'EXIT_CODE', value: '1' }] },
      { restartPolicy: 'Never' },
    );
    await pods.becomes('fails', 'has failed', ({ status }) => status.phase === 'Failed');
    await Promise.all(['crashes', 'completes', 'fails'].map((name) => pods.remove(name)));
  });

  it('reports images that cannot be pulled, pods that cannot be scheduled, and missing configuration', async () => {
    await pods.create('unknown', { image: 'example.invalid/none' });
    await pods.becomes(
      'unknown',
      'waits for its image',
      (_pod, container) => container?.state.waiting?.reason === 'ImagePullBackOff',
    );
    await pods.create('huge', { ...SERVES, resources: { requests: { memory: '999Ti' } } });
    const huge = await pods.becomes('huge', 'is unschedulable', ({ status }) => (status.conditions ?? []).length > 0);
    expect(huge.status.conditions?.[0]).toMatchObject({
      type: 'PodScheduled',
      status: 'False',
      message: '0/1 nodes are available: 1 Insufficient memory.',
    });
    const secretKeyRef = { name: 'none', key: 'password' };
    await pods.create('unset', { ...SERVES, env: [{ name: 'PASSWORD', valueFrom: { secretKeyRef } }] });
    const unset = await pods.becomes(
      'unset',
      'lacks a secret',
      (_pod, container) => container?.state.waiting?.reason === 'CreateContainerConfigError',
    );
    expect(unset.status.containerStatuses?.[0]?.state.waiting?.message).toBe('secret "none" not found');
    await Promise.all(['unknown', 'huge', 'unset'].map((name) => pods.remove(name)));
  });

  it('evicts, kills for memory and crashes on demand', async () => {
    await pods.create('victim', SERVES);
    await pods.becomesReady('victim');
    cluster.kubelet.outOfMemory(NAMESPACE, 'victim');
    const killed = await pods.becomes(
      'victim',
      'was killed',
      (_pod, container) => container?.restartCount === 1 && container.ready,
    );
    expect(killed.status.containerStatuses?.[0]?.lastState.terminated).toMatchObject({
      exitCode: 137,
      reason: 'OOMKilled',
    });
    await cluster.kubelet.evict(NAMESPACE, 'victim');
    // As a real kubelet (1.34): it ended well when it was told to, so only the event says why.
    const { metadata, status } = await pods.get('victim');
    expect(status).toMatchObject({ phase: 'Succeeded' });
    expect(status).not.toHaveProperty('reason');
    const query = `fieldSelector=involvedObject.uid%3D${metadata.uid},reason%3DEvicted`;
    const events = await cluster.controlPlane.client.get<{ items: { message: string }[] }>(
      `/api/v1/namespaces/${NAMESPACE}/events?${query}`,
    );
    expect(events.items.map(({ message }) => message)).toEqual(['The node was low on resource: memory.']);
    await pods.remove('victim');
  });

  it('really runs probes', async () => {
    const readinessProbe = { httpGet: { path: '/', port: 'web' }, periodSeconds: 1 };
    const startupProbe = { tcpSocket: { port: 8080 }, periodSeconds: 1 };
    const ports = [{ name: 'web', containerPort: 8080 }];
    const env = [{ name: 'START_AFTER_MS', value: '400' }];
    await pods.create('probed', { ...SERVES, ports, env, readinessProbe, startupProbe });
    await pods.becomes(
      'probed',
      'runs unready',
      (_pod, container) => container?.state.running !== undefined && !container.ready,
    );
    await pods.becomesReady('probed');
    await pods.remove('probed');
  });

  it('keeps the data of a claim across pods, and removes it with the claim', async () => {
    const claims = `/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims`;
    const { metadata } = await client.call<{ metadata: { uid: string } }>('POST', claims, {
      body: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
      },
    });
    const container = {
      ...SERVES,
      image: 'podgate.test/counts-starts',
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
    };
    const spec = { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }] };
    for (const starts of [1, 2]) {
      await pods.create('keeper', container, spec);
      await pods.becomesReady('keeper');
      expect(String(await client.get(`${pods.path('keeper')}/log`)).match(/^start$/gm)).toHaveLength(starts);
      if (starts === 1) await pods.remove('keeper');
    }
    await client.call('DELETE', `${claims}/data`);
    expect(existsSync(cluster.kubelet.claimDirectory(metadata.uid))).toBe(true);
    await client.get(`${claims}/data`);
    await pods.remove('keeper');
    await until('the claim is gone', () =>
      client.get(`${claims}/data`).then(
        () => false,
        (error: unknown) => isKubeError(error, 'NotFound'),
      ),
    );
    await until('its data is gone', () => !existsSync(cluster.kubelet.claimDirectory(metadata.uid)));
  });

  it('runs init containers first, and provides secrets as variables and files', async () => {
    await client.call('POST', `/api/v1/namespaces/${NAMESPACE}/secrets`, {
      body: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'words' }, stringData: { password: 'open sesame' } },
    });
    const secretKeyRef = { name: 'words', key: 'password' };
    const environment = [
      { name: 'PASSWORD', valueFrom: { secretKeyRef } },
      { name: 'SENTENCE', value: 'say $(PASSWORD) for $(NOBODY)' },
      { name: 'ADDRESS', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    ];
    const command = ['sh', '-c', 'echo "$SENTENCE at $ADDRESS"; exit 4'];
    const main = {
      image: 'podgate.test/command',
      command,
      env: environment,
      terminationMessagePolicy: 'FallbackToLogsOnError',
    };
    const initContainers = [
      { name: 'before', image: 'podgate.test/exits', env: [{ name: 'EXIT_LINE', value: 'first' }] },
    ];
    await pods.create('words', main, { initContainers, restartPolicy: 'Never' });
    const { status } = await pods.becomes('words', 'has ended', (pod) => pod.status.phase === 'Failed');
    const message = `say open sesame for $(NOBODY) at ${String(status.podIP)}\n`;
    expect(status.containerStatuses?.[0]?.state.terminated).toMatchObject({ exitCode: 4, message });
    expect(await client.get(`${pods.path('words')}/log?container=before`)).toBe('first\n');
    await pods.remove('words');
  });

  it('enforces the restricted Pod Security level', async () => {
    const namespace = 'restricted';
    await cluster.controlPlane.createNamespace(namespace, { 'pod-security.kubernetes.io/enforce': 'restricted' });
    const restricted = podCalls(client, namespace);
    await until('the namespace takes pods', () =>
      client.get(`/api/v1/namespaces/${namespace}/serviceaccounts/default`),
    );
    await expect(restricted.create('loose', SERVES)).rejects.toThrow(/violates PodSecurity "restricted/);
    const securityContext = {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    };
    await restricted.create('strict', { ...SERVES, securityContext });
    await restricted.becomesReady('strict');
  });

  it('continues with the same data after the API server was away', async () => {
    await pods.create('steady', SERVES);
    const { status } = await pods.becomesReady('steady');
    await cluster.controlPlane.killApiServer();
    expect((await fetch(`http://${String(status.podIP)}:8080/`)).status).toBe(200);
    await cluster.controlPlane.startApiServer();
    expect((await pods.get('steady')).status.podIP).toBe(status.podIP);
    await pods.create('later', SERVES);
    await pods.becomesReady('later');
    await Promise.all(['steady', 'later'].map((name) => pods.remove(name)));
  });

  it('gives a ServiceAccount only the rights of its roles', async () => {
    const kubeconfig = await cluster.controlPlane.serviceAccountKubeconfig(NAMESPACE, 'reader');
    const reader = createKubeClient(kubeconfig);
    await expect(reader.get(`/api/v1/namespaces/${NAMESPACE}/pods`)).rejects.toThrow(/403 Forbidden/);
    const [apiGroup, metadata] = ['rbac.authorization.k8s.io', { name: 'reader', namespace: NAMESPACE }];
    const apiVersion = `${apiGroup}/v1`;
    const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }];
    await cluster.controlPlane.apply({ apiVersion, kind: 'Role', metadata, rules });
    await cluster.controlPlane.apply({
      apiVersion,
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup, kind: 'Role', name: 'reader' },
      subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace: NAMESPACE }],
    });
    await until('the role counts', () => reader.get(`/api/v1/namespaces/${NAMESPACE}/pods`));
    reader.close();
  });

  it('works with kubectl', async () => {
    const { stdout, stderr } = await run(programPath('kubectl'), [
      'get',
      'nodes',
      '-o',
      'name',
      '--kubeconfig',
      cluster.controlPlane.adminKubeconfigPath,
    ]);
    expect(stderr).toBe('');
    expect(stdout).toBe('node/node-1\n');
  });
});
