import type { V1Service } from '@kubernetes/client-node';
import { LABEL, objectName } from '../objects.ts';
import { commitAnnotation, type ManifestContext, portsOf, runLabels, uidLabels } from './metadata.ts';

/**
 * Leads to this run's pod alone. It is made first and removed last: as long as anything of a workload is there, so is
 * its Service.
 */
export function serviceManifest(context: ManifestContext): V1Service {
  const { workload, settings } = context;
  const ports = portsOf(context);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: objectName(settings.site, workload),
      labels: runLabels(context),
      annotations: commitAnnotation(context),
    },
    spec: {
      // Without a port there is nothing to have an address for.
      ...(ports.length === 0 ? { clusterIP: 'None' } : { type: 'ClusterIP' }),
      selector: { ...uidLabels(context), [LABEL.run]: String(workload.run) },
      ports: ports.map((port) => ({ name: `port-${port}`, port, targetPort: port, protocol: 'TCP' })),
    },
  };
}
