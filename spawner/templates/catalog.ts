import type { Template, TemplateCatalog } from '../../core/template.ts';
import { helloTemplate } from './hello.ts';
import { neo4jTemplate } from './neo4j.ts';
import { postgresTemplate } from './postgres.ts';
import { processTemplate } from './process.ts';

const TEMPLATES: readonly Template[] = [postgresTemplate, neo4jTemplate, helloTemplate, processTemplate];

/**
 * The templates that come with the program. A new one is a file beside this and an entry above. `images`: by template,
 * the image to take instead of its own, from a registry of the installation's.
 */
export function createTemplateCatalog(images: Readonly<Record<string, string>> = {}): TemplateCatalog {
  const templates = TEMPLATES.map((template) => ({ ...template, image: images[template.name] ?? template.image }));
  const byName = new Map<string, Template>();
  for (const template of templates) {
    for (const name of [template.name, ...template.aliases]) byName.set(name, template);
  }
  return { find: (written) => byName.get(written) ?? null, list: () => templates };
}
