import { isKubeError, type KubeClient, MERGE, STRATEGIC_MERGE } from '../kube-client.ts';
import { type Claim, claimPath, type Pod } from './objects.ts';

const PROTECTION = 'kubernetes.io/pvc-protection';

/** Binds a new claim, as a provisioner does; its directory is made when a pod mounts it. */
export async function bindClaim(client: KubeClient, claim: Claim): Promise<void> {
  const { uid } = claim.metadata;
  const { accessModes = [], resources } = claim.spec;
  const volumeName = `pvc-${uid}`;
  await client.call('PATCH', claimPath(claim), {
    body: {
      metadata: { uid, annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } },
      spec: { volumeName },
    },
    contentType: MERGE,
  });
  await client.call('PATCH', `${claimPath(claim)}/status`, {
    body: {
      metadata: { uid },
      status: { phase: 'Bound', accessModes, capacity: { storage: resources?.requests?.['storage'] ?? '1Gi' } },
    },
    contentType: STRATEGIC_MERGE,
  });
}

/** The API server protects each claim by a finalizer; a controller takes it away when no pod uses the claim. */
export async function unprotectClaim(client: KubeClient, claim: Claim): Promise<void> {
  const { uid, resourceVersion, finalizers = [] } = claim.metadata;
  const rest = finalizers.filter((finalizer) => finalizer !== PROTECTION);
  try {
    await client.call('PATCH', claimPath(claim), {
      body: { metadata: { uid, resourceVersion, finalizers: rest } },
      contentType: MERGE,
    });
  } catch (error) {
    // Somebody has changed it: the watch brings the newer version.
    if (!isKubeError(error, 'NotFound', 'Conflict')) throw error;
  }
}

export const isProtected = ({ metadata }: Claim): boolean => metadata.finalizers?.includes(PROTECTION) ?? false;

export function isUsed(claim: Claim, pods: Iterable<Pod>): boolean {
  for (const { metadata, spec, status } of pods) {
    if (metadata.namespace !== claim.metadata.namespace) continue;
    if (status?.phase === 'Succeeded' || status?.phase === 'Failed') continue;
    const isOfPod = spec.volumes?.some((volume) => volume.persistentVolumeClaim?.claimName === claim.metadata.name);
    if (isOfPod === true) return true;
  }
  return false;
}
