import { randomUUID } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import type { FilesRef, MountedFiles } from '../../core/volume.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../contract/orchestrator-harness.ts';
import {
  imageSpec,
  type KubernetesOrchestratorHandle,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../support/kubernetes-orchestrator.ts';
import { FOR_GROUPS_CLASS } from '../support/real-node/add-ons.ts';
import { PODGATE_IMAGE, PROGRAMS_IMAGE } from '../support/real-node/images.ts';
import type { RealCluster } from '../support/real-node/real-cluster.ts';
import { until } from '../support/until.ts';

const NAMESPACE = 'named-volumes';
const CLAIMS = `/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims`;

/**
 * What the stand-in, which has no containers, cannot show: users, read-only mounts, an image without a shell, claims that
 * wait for a pod, volumes that the kubelet gives to a group. In a namespace of its own.
 */
export function testNamedVolumes(clusterOf: () => RealCluster): void {
  test('files go to and from a volume by exec, pods of other users share it, and a snapshot of it is read-only', async () => {
    const { controlPlane } = clusterOf();
    const running = runKubernetesOrchestrator(await preparePodNamespace(clusterOf(), NAMESPACE), {
      settings: {
        ...{ namespace: NAMESPACE, filesImage: PODGATE_IMAGE },
        namedVolumes: { storageClass: FOR_GROUPS_CLASS, accessMode: 'ReadWriteOnce' },
      },
    });
    onTestFinished(() => running.close());
    const { orchestrator } = running;
    const { files } = orchestrator;
    const ref = (kind: FilesRef['kind']): FilesRef => ({ kind, uid: randomUUID(), tenant: 'dev', id: 'data' });
    const [volume, snapshot] = [ref('volume'), ref('snapshot')];
    const pod = (change: Partial<MountedFiles>) =>
      workloadSpec(
        imageSpec(PROGRAMS_IMAGE, { command: ['node', '/programs/main.mjs', 'podgate.test/counts-starts'] }),
        {
          mounts: [
            {
              ...{
                ref: volume,
                name: 'data',
                mountPath: '/counter',
                subPath: 'sub',
                isReadOnly: false,
                sizeLimitMiB: 32,
              },
              ...change,
            },
          ],
        },
      );
    async function* content() {
      yield Buffer.from('hello');
    }
    await files.write(volume, 'from-api/file', content(), { sizeLimitMiB: 32 });
    const [one, two] = [pod({}), pod({})];
    await ensured(orchestrator, one);
    await becomes(orchestrator, one, 'ready');
    await ensured(orchestrator, two);
    await becomes(orchestrator, two, 'ready');
    expect((await textOf(running, volume, 'sub/starts')).trim().split('\n')).toHaveLength(2);
    // What a pod made is the group's; what the API makes there, pods may change.
    async function* more() {
      yield Buffer.from('more');
    }
    await files.write(volume, 'sub/more', more(), { sizeLimitMiB: 32 });

    await files.copy({ ref: volume, path: '' }, { ref: snapshot, path: '', sizeLimitMiB: 32 }, never());
    expect(await textOf(running, snapshot, 'from-api/file')).toBe('hello');
    // As a restore does: the files of a snapshot become those of a new claim.
    const restored = ref('volume');
    const beganMs = performance.now();
    await files.copy({ ref: snapshot, path: '' }, { ref: restored, path: '', sizeLimitMiB: 32 }, never());
    console.log(`a copy to a new claim took ${((performance.now() - beganMs) / 1_000).toFixed(1)} s`);
    expect(await textOf(running, restored, 'sub/more')).toBe('more');
    await files.removeFile(restored, 'sub/more');
    await expect(files.open(restored, 'sub/more')).rejects.toMatchObject({ code: 'api.not-found' });
    const reading = pod({ ref: snapshot, isReadOnly: true });
    await ensured(orchestrator, reading);
    expect((await becomes(orchestrator, reading, 'crashing')).message).toMatch(/EROFS|read-only file system/);

    for (const each of [one, two, reading]) await orchestrator.remove(each, { data: 'delete', run: 1 }, never());
    for (const each of [one, two, reading]) await becomesAbsent(orchestrator, each);
    for (const each of [volume, snapshot, restored]) await files.remove(each);
    const left = async () => (await controlPlane.client.call<{ items: readonly object[] }>('GET', CLAIMS)).items.length;
    await until('the claims are gone', async () => (await left()) === 0, { timeoutMs: 60_000, everyMs: 500 });
  });
}

async function textOf({ orchestrator }: KubernetesOrchestratorHandle, ref: FilesRef, path: string): Promise<string> {
  const file = await orchestrator.files.open(ref, path);
  if (file.kind !== 'file') throw new Error('a directory');
  let text = '';
  for await (const bytes of file.read(0, file.sizeBytes)) text += Buffer.from(bytes).toString();
  await file.close();
  return text;
}
