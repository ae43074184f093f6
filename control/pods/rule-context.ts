import type { PodParts } from './pod-parts.ts';
import type { RuleContext } from './pod-rules.ts';

/** What the rules need to know, for pods of that tenant. */
export function ruleContext(parts: PodParts, tenant: string): RuleContext {
  return {
    place: { site: parts.site, tenant },
    templates: parts.templates,
    allowsImages: parts.allowsImages,
    imageAllowList: parts.imageAllowList,
    defaultResources: parts.limits.defaultResources,
  };
}
