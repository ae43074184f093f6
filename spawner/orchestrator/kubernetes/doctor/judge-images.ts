import { type Finding, ok, warn } from '../../../../core/finding.ts';
import type { Template } from '../../../../core/template.ts';

/** Whether what the templates run can change without anybody's doing here. Pure. */
export function judgeTemplateImages(templates: readonly Pick<Template, 'name' | 'image'>[]): Finding {
  const subject = 'images';
  const byTag = templates.filter(({ image }) => image !== null && !image.includes('@sha256:'));
  if (byTag.length === 0) return ok(subject, 'The images of the templates are pinned by digest.');
  const shown = byTag.map(({ name, image }) => `${name} (${image})`).join(', ');
  return warn(
    subject,
    `By tag, not by digest: ${shown}. Anyone who can move the tag in its registry decides what the next start of a pod runs.`,
    'Run pin-images.sh in your overlay, then apply it; see docs/operations.md, "Pin the images".',
  );
}
