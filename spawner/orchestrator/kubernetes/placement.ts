import type { V1PodSpec } from '@kubernetes/client-node';
import type { KubernetesSettings } from './options.ts';

/** Where a Pod may run, and how its images are pulled. */
export function placement({
  imagePullSecrets,
  nodeSelector,
  tolerations,
}: KubernetesSettings): Pick<V1PodSpec, 'imagePullSecrets' | 'nodeSelector' | 'tolerations'> {
  return {
    ...(imagePullSecrets.length === 0 ? {} : { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) }),
    ...(Object.keys(nodeSelector).length === 0 ? {} : { nodeSelector: { ...nodeSelector } }),
    ...(tolerations.length === 0 ? {} : { tolerations: tolerations.map((each) => ({ ...each })) }),
  };
}
