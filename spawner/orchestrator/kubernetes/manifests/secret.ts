import type { V1Secret } from '@kubernetes/client-node';
import { secretName } from '../objects.ts';
import { commitAnnotation, type ManifestContext, runLabels } from './metadata.ts';

/** What the program needs to know and nobody else: its name contains the uid, so it is never another pod's. */
export function secretManifest(context: ManifestContext, values: Readonly<Record<string, string>>): V1Secret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: secretName(context.settings.site, context.workload),
      labels: runLabels(context),
      annotations: commitAnnotation(context),
    },
    type: 'Opaque',
    immutable: true,
    data: Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, Buffer.from(value, 'utf8').toString('base64')]),
    ),
  };
}
