import { sealEnvironment } from '../../../core/environment.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { mapSecrets } from './map-secrets.ts';
import { mountsBy } from './named-mounts.ts';
import type { PodParts } from './pod-parts.ts';
import type { RuleContext } from './rules.ts';

const NO_VOLUMES = 'this installation has no named volumes';

/** What the rules need to know, for a pod of that tenant. `writer`: who writes. */
export function ruleContext(
  parts: PodParts,
  { tenant, uid }: Pick<PodRecord, 'tenant' | 'uid'>,
  writer: string,
): RuleContext {
  return {
    place: { site: parts.site, tenant },
    templates: parts.templates,
    allowsImages: parts.allowsImages,
    imageAllowList: parts.imageAllowList,
    defaultResources: parts.limits.defaultResources,
    sealEnvironment: (values, present) => sealEnvironment(parts.vault, uid, values, present),
    mountProblem: parts.mountProblem === undefined ? NO_VOLUMES : parts.mountProblem,
    mountsBy: (mounts, present) => mountsBy(writer, mounts, present),
    mapSecrets: (references, present) => mapSecrets(parts, { uid, writer }, references, present),
  };
}
