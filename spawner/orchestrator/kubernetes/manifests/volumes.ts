import type { V1PersistentVolumeClaim, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import { ownVolumesOf } from '../../../../core/pod.ts';
import type { WorkloadSpec } from '../../../../core/workloads.ts';
import type { NamedMounts } from '../files/server-manifest.ts';
import { claimName, LABEL } from '../objects.ts';
import type { Recipe } from '../recipes/recipe.ts';
import { type ManifestContext, uidLabels } from './metadata.ts';

/** Of each directory that is written for a while only: a pod that fills one is evicted, not its node's others. */
const SCRATCH_SIZE_MIB = 1_024;
const SHARED_MEMORY = '/dev/shm';

/** The pod's volumes by name; '' is that of persistent_volume, at the template's data path. */
export function claimedVolumes(workload: WorkloadSpec, recipe: Pick<Recipe, 'dataPath'>): readonly string[] {
  const names = ownVolumesOf(workload.spec);
  return [...new Set([...(workload.spec.persistentVolume && recipe.dataPath !== null ? [''] : []), ...names])];
}

/** Its name contains the uid: no other pod ever mounts it. */
export function claimManifest(context: ManifestContext, volume: string): V1PersistentVolumeClaim {
  const { workload, settings } = context;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name: claimName(settings.site, workload, volume),
      labels: { ...uidLabels(context), ...(volume === '' ? {} : { [LABEL.volume]: volume }) },
    },
    spec: {
      accessModes: [settings.volumeAccessMode],
      ...(settings.storageClass === null ? {} : { storageClassName: settings.storageClass }),
      resources: { requests: { storage: `${settings.volumeSizeMiB}Mi` } },
    },
  };
}

export interface PodVolumes {
  readonly volumes: V1Volume[];
  readonly mounts: V1VolumeMount[];
  /** Somebody other than root has to be able to write to one of them. */
  readonly needsGroup: boolean;
  /** What its directories on the node's disk may hold together. */
  readonly scratchMiB: number;
}

/** Claims where the pod asks for them; what it need not keep goes with it. */
export function podVolumes({ workload, settings }: ManifestContext, recipe: Recipe, named: NamedMounts): PodVolumes {
  const { spec } = workload;
  const volumes: V1Volume[] = [
    ...claimedVolumes(workload, recipe).map((name) => ({
      name: volumeName(name),
      persistentVolumeClaim: { claimName: claimName(settings.site, workload, name) },
    })),
    ...named.volumes,
  ];
  const own: V1VolumeMount[] = spec.volumeMounts.flatMap(({ type, name, mountPath, subPath, readOnly }) =>
    type === 'pvc'
      ? [
          {
            name: volumeName(name),
            mountPath,
            ...(subPath === '' ? {} : { subPath }),
            ...(readOnly ? { readOnly } : {}),
          },
        ]
      : [],
  );
  const mounts = [...own, ...named.mounts];
  const isMounted = (path: string): boolean => mounts.some(({ mountPath }) => mountPath === path);
  let scratchMiB = 0;
  const addScratch = (name: string, sizeMiB: number): void => {
    volumes.push({ name, emptyDir: { sizeLimit: `${sizeMiB}Mi` } });
    scratchMiB += sizeMiB;
  };
  const { dataPath } = recipe;
  if (dataPath !== null && !isMounted(dataPath)) {
    if (!spec.persistentVolume) addScratch(volumeName(''), settings.volumeSizeMiB);
    mounts.push({ name: volumeName(''), mountPath: dataPath });
  }
  for (const [index, mountPath] of recipe.scratch.entries()) {
    if (isMounted(mountPath)) continue;
    addScratch(`scratch-${index}`, SCRATCH_SIZE_MIB);
    mounts.push({ name: `scratch-${index}`, mountPath });
  }
  const needsGroup = volumes.length > 0;
  if (!isMounted(SHARED_MEMORY)) {
    // A container runtime gives 64 MiB, too little for a parallel hash join. What is in it counts as memory of the pod.
    const sizeLimit = `${spec.resources.memLimit}Mi`;
    volumes.push({ name: 'shared-memory', emptyDir: { medium: 'Memory', sizeLimit } });
    mounts.push({ name: 'shared-memory', mountPath: SHARED_MEMORY });
  }
  return { volumes, mounts, needsGroup, scratchMiB };
}

/** Users' names hold no hyphen. */
function volumeName(volume: string): string {
  return volume === '' ? 'own-data' : `volume-${volume}`;
}
