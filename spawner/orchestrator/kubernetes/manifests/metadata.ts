import type { WorkloadSpec } from '../../../../core/workloads.ts';
import { ANNOTATION, LABEL, MANAGED_BY } from '../objects.ts';
import type { KubernetesSettings } from '../options.ts';

/** What every manifest of a workload is made from. */
export interface ManifestContext {
  readonly workload: WorkloadSpec;
  readonly settings: KubernetesSettings;
}

/** Of whatever belongs to one run. */
export function runLabels({ workload, settings }: ManifestContext): Record<string, string> {
  return {
    ...uidLabels({ workload, settings }),
    [LABEL.generation]: String(workload.generation),
    [LABEL.run]: String(workload.run),
  };
}

/** Of volume claims, which are the uid's and outlive its runs. */
export function uidLabels({ workload, settings }: ManifestContext): Record<string, string> {
  return {
    [MANAGED_BY]: 'podgate',
    'app.kubernetes.io/name': 'podgate-pod',
    [LABEL.site]: settings.site,
    [LABEL.store]: workload.annotations.storeId,
    [LABEL.tenant]: workload.tenant,
    [LABEL.podId]: workload.podId,
    [LABEL.uid]: workload.uid,
  };
}

/** Of every object, so that each can be told to be older or newer than another. */
export function commitAnnotation({ workload }: ManifestContext): Record<string, string> {
  return { [ANNOTATION.commit]: String(workload.annotations.commit) };
}

/** Of the Pod: what a store is judged by and rebuilt from. */
export function podAnnotations(context: ManifestContext): Record<string, string> {
  const { annotations, spec } = context.workload;
  return {
    ...commitAnnotation(context),
    [ANNOTATION.record]: annotations.record,
    ...(annotations.credential === null ? {} : { [ANNOTATION.credential]: annotations.credential }),
    [ANNOTATION.stanzas]: JSON.stringify(
      Object.fromEntries(Object.entries(spec.networking).map(([stanza, { port }]) => [stanza, port])),
    ),
  };
}

/** Each once: two stanzas may name one port. */
export function portsOf({ workload }: Pick<ManifestContext, 'workload'>): readonly number[] {
  return [...new Set(Object.values(workload.spec.networking).map(({ port }) => port))];
}
