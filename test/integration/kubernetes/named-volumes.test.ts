import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FilesRef, MountedFiles } from '../../../core/volume.ts';
import { filesClaimName } from '../../../spawner/orchestrator/kubernetes/files/claims.ts';
import { serverName } from '../../../spawner/orchestrator/kubernetes/files/server-manifest.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { controlPlaneProblem, startTestCluster, type TestCluster } from '../../support/kubernetes/index.ts';
import {
  imageSpec,
  type KubernetesOrchestratorHandle,
  openKubernetesOrchestrator,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../../support/kubernetes-orchestrator.ts';
import { until } from '../../support/until.ts';

const NAMESPACE = 'named-volumes';
const CLAIMS = `/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims`;
const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;
const SITE = 'test';
const problem = controlPlaneProblem();

describe.skipIf(problem !== null)(`named volumes on Kubernetes${problem === null ? '' : ` (${problem})`}`, () => {
  let cluster: TestCluster;
  let running: KubernetesOrchestratorHandle;
  beforeAll(async () => {
    cluster = await startTestCluster({ timings: { crashBackOffMs: 20, crashBackOffMaxMs: 100, probePeriodMs: 50 } });
    running = runKubernetesOrchestrator(await preparePodNamespace(cluster, NAMESPACE), {
      settings: { namespace: NAMESPACE },
    });
  });
  afterAll(async () => {
    await running.close();
    await cluster.stop();
  });

  const newRef = (): FilesRef => ({ kind: 'volume', uid: randomUUID(), tenant: 'dev', id: 'data' });
  const mount = (ref: FilesRef, change: Partial<MountedFiles> = {}): MountedFiles => ({
    ...{ ref, name: ref.id, mountPath: '/data', subPath: '', isReadOnly: false, sizeLimitMiB: 32 },
    ...change,
  });
  const pod = (...mounts: MountedFiles[]) => workloadSpec(imageSpec('podgate.test/counts-starts'), { mounts });
  const get = (path: string): Promise<Item | null> =>
    cluster.controlPlane.client.call('GET', path).then(
      (object) => object as Item,
      () => null,
    );
  const claimOf = (ref: FilesRef) => get(`${CLAIMS}/${filesClaimName(SITE, ref)}`);
  const lines = async (ref: FilesRef, path: string): Promise<number> => {
    const file = await running.orchestrator.files.open(ref, path);
    if (file.kind !== 'file') throw new Error('a directory');
    let text = '';
    for await (const bytes of file.read(0, file.sizeBytes)) text += Buffer.from(bytes).toString();
    await file.close();
    return text.trim().split('\n').length;
  };

  it('are separate claims, which pods share, and whose files the API can read', async () => {
    const { orchestrator } = running;
    const ref = newRef();
    const [one, two] = [
      pod(mount(ref, { subPath: 'sub/dir' })),
      pod(mount(ref, { mountPath: '/x', subPath: 'sub/dir' })),
    ];
    await ensured(orchestrator, one);
    await becomes(orchestrator, one, 'ready');
    await ensured(orchestrator, two);
    await becomes(orchestrator, two, 'ready');
    expect(await lines(ref, 'sub/dir/starts')).toBe(2);
    const claim = await claimOf(ref);
    expect(claim?.metadata.labels).toMatchObject({
      'podgate.io/tenant': 'dev',
      'podgate.io/files': 'volume',
      'podgate.io/files-name': 'data',
      'podgate.io/site': SITE,
    });
    expect(claim?.spec).toMatchObject({
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '32Mi' } },
    });
    // What belongs to a pod goes with the pod; the volume is nobody's but its own.
    await orchestrator.remove(one, { data: 'delete', run: one.run }, never());
    expect(await becomesAbsent(orchestrator, one)).toEqual({ kind: 'absent', data: false });
    expect((await claimOf(ref))?.metadata.deletionTimestamp).toBeUndefined();
    expect(await lines(ref, 'sub/dir/starts')).toBe(2);
    // Its removal waits for the pod that mounts it: the claim is protected.
    await orchestrator.files.remove(ref);
    expect((await claimOf(ref))?.metadata.deletionTimestamp).toBeDefined();
    expect((await orchestrator.ensure(pod(mount(ref)), never())).kind).toBe('wait');
    await orchestrator.remove(two, { data: 'delete', run: two.run }, never());
    await until('the claim is gone', async () => (await claimOf(ref)) === null, { timeoutMs: 30_000 });
  });

  it('are mounted read-only if they exist, and a pod reports missing ones', async () => {
    const { orchestrator } = running;
    const ref = newRef();
    const reading = pod(mount(ref, { subPath: 'later', isReadOnly: true }));
    await ensured(orchestrator, reading);
    const waiting = await becomes(orchestrator, reading, 'crashing');
    expect(waiting.message).toBe('A volume of this pod cannot be mounted: path: there is no "later".');
    const manifest = await get(`${PODS}/pods-test-dev-${reading.podId}`);
    expect(manifest?.spec).toMatchObject({ securityContext: { fsGroup: 1000 } });
    expect(manifest?.spec.containers?.[0]?.volumeMounts).toContainEqual(
      expect.objectContaining({ mountPath: '/data', subPath: 'data/later', readOnly: true }),
    );
    async function* content() {
      yield Buffer.from('x');
    }
    await orchestrator.files.write(ref, 'later/file', content(), { sizeLimitMiB: 32 });
    await becomes(orchestrator, reading, 'ready');
    await orchestrator.remove(reading, { data: 'delete', run: 1 }, never());
    await becomesAbsent(orchestrator, reading);
    await orchestrator.files.remove(ref);
  });

  it('report the size of a copy without a file server', async () => {
    const { files } = running.orchestrator;
    const [ref, copy] = [newRef(), { ...newRef(), kind: 'snapshot' as const }];
    async function* content() {
      yield Buffer.from('copied');
    }
    await files.write(ref, 'f', content(), { sizeLimitMiB: 32 });
    await files.copy({ ref, path: '' }, { ref: copy, path: '', sizeLimitMiB: 32 }, never());
    expect(await files.usage(copy)).toEqual({ bytes: 6, files: 1 });
    expect(await get(`${PODS}/${serverName(SITE, { role: 'files', ref: copy })}`)).toBeNull();
    for (const each of [ref, copy]) await files.remove(each);
  });

  it('grow with their limit where the storage class lets them, and a refusal says why not', async () => {
    const { controlPlane } = cluster;
    const storageClass = (name: string, allowVolumeExpansion: boolean) =>
      controlPlane.apply({
        apiVersion: 'storage.k8s.io/v1',
        kind: 'StorageClass',
        metadata: { name },
        ...{ provisioner: 'podgate.test/none', allowVolumeExpansion },
      });
    await storageClass('growing', true);
    await storageClass('fixed', false);
    const kubeconfig = await controlPlane.serviceAccountKubeconfig('podgate', 'podgate');
    const filesOf = (name: string) =>
      openKubernetesOrchestrator(kubeconfig, {
        settings: { namespace: NAMESPACE, namedVolumes: { storageClass: name, accessMode: 'ReadWriteOnce' } },
      }).orchestrator.files;
    const requestOf = async (ref: FilesRef) =>
      (await claimOf(ref))?.spec as { readonly resources: { readonly requests: { readonly storage: string } } };
    const sizeOf = async (ref: FilesRef) => (await requestOf(ref)).resources.requests.storage;
    async function* content() {
      yield Buffer.from('x');
    }
    const [growing, fixed] = [newRef(), newRef()];
    // One that nobody has used has no claim yet: it will have the size that its record says then.
    await filesOf('fixed').grow(fixed, 64, { isTrial: true });
    await filesOf('growing').write(growing, 'f', content(), { sizeLimitMiB: 32 });
    await filesOf('fixed').write(fixed, 'f', content(), { sizeLimitMiB: 32 });

    await filesOf('growing').grow(growing, 64, { isTrial: true });
    expect(await sizeOf(growing)).toBe('32Mi');
    await filesOf('growing').grow(growing, 64, { isTrial: false });
    expect(await sizeOf(growing)).toBe('64Mi');
    // A claim does not shrink; a call that was interrupted before the claim grew is made up for by the next use.
    await filesOf('growing').write(growing, 'g', content(), { sizeLimitMiB: 32 });
    expect(await sizeOf(growing)).toBe('64Mi');
    await filesOf('growing').write(growing, 'g', content(), { sizeLimitMiB: 1_024 });
    expect(await sizeOf(growing)).toBe('1Gi');

    await expect(filesOf('fixed').grow(fixed, 64, { isTrial: true })).rejects.toMatchObject({
      code: 'api.conflict',
      publicMessages: [
        'size_limit: the storage class "fixed" of volume data does not let volumes grow. Create a larger volume and restore a snapshot of this one to it, or ask an operator to set allowVolumeExpansion.',
      ],
    });
    await filesOf('fixed').write(fixed, 'g', content(), { sizeLimitMiB: 64 });
    expect(await sizeOf(fixed)).toBe('32Mi');

    const quota = { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'storage', namespace: NAMESPACE } };
    await controlPlane.apply({ ...quota, spec: { hard: { 'requests.storage': '2Gi' } } });
    const quotaPath = `/api/v1/namespaces/${NAMESPACE}/resourcequotas/storage`;
    // A controller would write this; the API server only compares.
    await controlPlane.client.call('PATCH', `${quotaPath}/status`, {
      body: { status: { hard: { 'requests.storage': '2Gi' }, used: { 'requests.storage': '1100Mi' } } },
      contentType: 'application/merge-patch+json',
    });
    await expect(filesOf('growing').grow(growing, 4_096, { isTrial: true })).rejects.toThrow(/quota of the cluster/);
    await controlPlane.client.call('DELETE', quotaPath);
    for (const ref of [growing, fixed]) await running.orchestrator.files.remove(ref);
  });

  it('ignore a claim that only has the same name, and use nothing of it', async () => {
    const ref = newRef();
    await cluster.controlPlane.client.call('POST', CLAIMS, {
      body: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: filesClaimName(SITE, ref), labels: { 'podgate.io/files-uid': ref.uid } },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
      },
    });
    const why = /not managed by Podgate has the name volume-test-/;
    await expect(running.orchestrator.files.remove(ref)).rejects.toThrow(why);
    await expect(running.orchestrator.files.open(ref, 'f')).rejects.toThrow(why);
    await expect(running.orchestrator.ensure(pod(mount(ref)), never())).rejects.toThrow(why);
    expect((await claimOf(ref))?.metadata.deletionTimestamp).toBeUndefined();
  });

  it('are served by a pod that is created again when it has ended, hangs or vanishes', async () => {
    const ref = newRef();
    const { files } = running.orchestrator;
    async function* content() {
      yield Buffer.from('line\n');
    }
    await files.write(ref, 'f', content(), { sizeLimitMiB: 32 });
    const path = `${PODS}/${serverName(SITE, { role: 'files', ref })}`;
    const first = await get(path);
    expect(first?.spec).toMatchObject({ automountServiceAccountToken: false, restartPolicy: 'Never' });
    cluster.kubelet.crash(NAMESPACE, first?.metadata.name ?? '');
    expect(await lines(ref, 'f')).toBe(1);
    expect((await get(path))?.metadata.uid).not.toBe(first?.metadata.uid);
    await cluster.controlPlane.client.call('DELETE', path);
    expect(await lines(ref, 'f')).toBe(1);
    await files.remove(ref);
    await until('its server is gone', async () => (await get(path)) === null, { timeoutMs: 30_000 });
  });
});

interface Item {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly containers?: readonly { readonly volumeMounts?: readonly object[] }[] };
}
