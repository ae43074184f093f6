import type { V1PersistentVolumeClaim, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import type { WorkloadSpec } from '../../../../core/orchestrator.ts';
import { claimName, LABEL } from '../objects.ts';
import type { KubernetesSettings } from '../options.ts';
import type { Recipe } from '../recipes/recipe.ts';
import { type ManifestContext, uidLabels } from './metadata.ts';

/** Of each directory that is written for a while only: a pod that fills one is evicted, not its node's others. */
const SCRATCH_SIZE = '1Gi';

/** The pod's volumes by name; '' is that of persistent_volume, at the template's data path. */
export function claimedVolumes(workload: WorkloadSpec, recipe: Pick<Recipe, 'dataPath'>): readonly string[] {
  const names = workload.spec.volumeMounts.map(({ name }) => name);
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
      accessModes: ['ReadWriteOnce'],
      ...(settings.storageClass === null ? {} : { storageClassName: settings.storageClass }),
      resources: { requests: { storage: `${settings.volumeSizeMiB}Mi` } },
    },
  };
}

export interface PodVolumes {
  readonly volumes: V1Volume[];
  readonly mounts: V1VolumeMount[];
}

/** Claims where the pod asks for them; what it need not keep goes with it. */
export function podVolumes(workload: WorkloadSpec, recipe: Recipe, settings: KubernetesSettings): PodVolumes {
  const { spec } = workload;
  const volumes: V1Volume[] = claimedVolumes(workload, recipe).map((name) => ({
    name: volumeName(name),
    persistentVolumeClaim: { claimName: claimName(settings.site, workload, name) },
  }));
  const mounts: V1VolumeMount[] = spec.volumeMounts.map(({ name, mountPath, subPath, readOnly }) => ({
    name: volumeName(name),
    mountPath,
    ...(subPath === '' ? {} : { subPath }),
    ...(readOnly ? { readOnly } : {}),
  }));
  const isMounted = (path: string): boolean => mounts.some(({ mountPath }) => mountPath === path);
  const { dataPath } = recipe;
  if (dataPath !== null && !isMounted(dataPath)) {
    if (!spec.persistentVolume)
      volumes.push({ name: volumeName(''), emptyDir: { sizeLimit: `${settings.volumeSizeMiB}Mi` } });
    mounts.push({ name: volumeName(''), mountPath: dataPath });
  }
  for (const [index, mountPath] of recipe.scratch.entries()) {
    if (isMounted(mountPath)) continue;
    volumes.push({ name: `scratch-${index}`, emptyDir: { sizeLimit: SCRATCH_SIZE } });
    mounts.push({ name: `scratch-${index}`, mountPath });
  }
  return { volumes, mounts };
}

/** Users' names hold no hyphen. */
function volumeName(volume: string): string {
  return volume === '' ? 'own-data' : `volume-${volume}`;
}
