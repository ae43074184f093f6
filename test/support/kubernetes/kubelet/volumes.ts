import { chmod, chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { filesOf, type References } from './environment.ts';
import type { Mount } from './image.ts';
import type { Claim, Container, Pod } from './objects.ts';

/** Directories of one stand-in: claims by uid, what belongs to a pod by the pod's uid. */
export interface Volumes {
  /** Makes the pod's volumes. Throws while a claim is not bound or a secret is missing. */
  prepare(pod: Pod, claim: (name: string) => Claim | undefined, references: References): Promise<void>;
  mountsOf(pod: Pod, container: Container): Promise<readonly Mount[]>;
  /** A directory for what a container writes outside its mounts, gone with the pod. */
  scratch(pod: Pod, container: Container, restarts: number): Promise<string>;
  removePod(uid: string): Promise<void>;
  removeClaim(uid: string): Promise<void>;
  claimDirectory(uid: string): string;
}

export class VolumeNotReady extends Error {}

export function createVolumes(root: string, isRoot: boolean): Volumes {
  const claimDirectory = (uid: string) => join(root, 'claims', uid);
  const podDirectory = (uid: string) => join(root, 'pods', uid);
  const volumeDirectory = (pod: Pod, name: string) => join(podDirectory(pod.metadata.uid), 'volumes', name);
  const claims = new Map<string, string>();

  /** Like the kubelet's ownership management: the group of the volume may write, and what it writes stays its own. */
  async function giveToGroup(directory: string, pod: Pod): Promise<void> {
    const group = pod.spec.securityContext?.fsGroup;
    if (group === undefined || !isRoot) return;
    await chown(directory, 0, group);
    await chmod(directory, 0o2775);
  }

  return {
    claimDirectory,
    async prepare(pod, claim, references) {
      for (const volume of pod.spec.volumes ?? []) {
        const { name, persistentVolumeClaim, emptyDir } = volume;
        if (persistentVolumeClaim !== undefined) {
          const bound = claim(persistentVolumeClaim.claimName);
          if (bound?.status?.phase !== 'Bound' || bound.metadata.deletionTimestamp !== undefined) {
            throw new VolumeNotReady(`persistentvolumeclaim "${persistentVolumeClaim.claimName}" is not bound`);
          }
          const directory = claimDirectory(bound.metadata.uid);
          await mkdir(directory, { recursive: true, mode: 0o755 });
          await giveToGroup(directory, pod);
          claims.set(`${pod.metadata.uid}/${name}`, directory);
          continue;
        }
        const directory = volumeDirectory(pod, name);
        await mkdir(directory, { recursive: true, mode: 0o755 });
        if (emptyDir !== undefined) await chmod(directory, 0o777);
        for (const [path, content] of await filesOf(volume, references)) {
          await mkdir(dirname(join(directory, path)), { recursive: true });
          await writeFile(join(directory, path), content, { mode: 0o644 });
        }
        await giveToGroup(directory, pod);
      }
    },
    async mountsOf(pod, container) {
      const mounts: Mount[] = [];
      for (const { name, mountPath, subPath = '', readOnly = false } of container.volumeMounts ?? []) {
        const base = claims.get(`${pod.metadata.uid}/${name}`) ?? volumeDirectory(pod, name);
        const directory = join(base, subPath);
        if (subPath !== '') {
          await mkdir(directory, { recursive: true, mode: 0o755 });
          await giveToGroup(directory, pod);
        }
        mounts.push({ mountPath, directory, readOnly });
      }
      return mounts;
    },
    async scratch(pod, container, restarts) {
      const directory = join(podDirectory(pod.metadata.uid), 'scratch', `${container.name}-${restarts}`);
      await mkdir(directory, { recursive: true, mode: 0o755 });
      await chmod(directory, 0o777);
      return directory;
    },
    async removePod(uid) {
      for (const key of [...claims.keys()]) if (key.startsWith(`${uid}/`)) claims.delete(key);
      await rm(podDirectory(uid), { recursive: true, force: true });
    },
    removeClaim: (uid) => rm(claimDirectory(uid), { recursive: true, force: true }),
  };
}

/** Where a path of the container is on this machine. */
export function resolvePath(path: string, mounts: readonly Mount[], scratch: string): string {
  const under = mounts
    .filter(({ mountPath }) => path === mountPath || path.startsWith(mountPath.replace(/\/?$/, '/')))
    .sort((a, b) => b.mountPath.length - a.mountPath.length)[0];
  return under === undefined ? join(scratch, path) : join(under.directory, path.slice(under.mountPath.length));
}
