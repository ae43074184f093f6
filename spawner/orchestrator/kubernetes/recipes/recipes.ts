import type { WorkloadSpec } from '../../../../core/workloads.ts';
import type { TemplateCatalog } from '../../../../core/template.ts';
import { secretName } from '../objects.ts';
import type { KubernetesSettings } from '../options.ts';
import { helloRecipe } from './hello.ts';
import { imageRecipe } from './image.ts';
import { neo4jRecipe } from './neo4j.ts';
import { POSTGRES_USE_COMMAND, postgresRecipe } from './postgres.ts';
import type { RecipeContext, RecipeResult } from './recipe.ts';

const BY_TEMPLATE: ReadonlyMap<string, (context: RecipeContext) => RecipeResult> = new Map([
  ['template/postgres', postgresRecipe],
  ['template/neo4j', neo4jRecipe],
  ['podgate/hello', helloRecipe],
]);
/** Prints a reason in each line. Templates without one cannot tell. */
const USE_COMMANDS: ReadonlyMap<string, readonly string[]> = new Map([['template/postgres', POSTGRES_USE_COMMAND]]);
/** As registries take them: no name that could be mistaken for something else gets to the API server. */
const IMAGE = /^[a-z0-9][\w.:/@-]*$/i;

/** How this workload is run as a container, or why it cannot be: pure. */
export function recipeOf(
  workload: WorkloadSpec,
  templates: TemplateCatalog,
  settings: KubernetesSettings,
): RecipeResult {
  const { spec } = workload;
  const template = templates.find(spec.template);
  const context = (image: string): RecipeContext => ({
    workload,
    image,
    secretName: secretName(settings.site, workload),
  });
  if (template === null) {
    // A name of a template that is gone, or that somebody made up: those of this installation have none before the slash.
    if (!IMAGE.test(spec.template)) {
      return { kind: 'refused', reason: `"${spec.writtenTemplate}" is neither a template nor the name of an image.` };
    }
    return imageRecipe(context(spec.template), settings.podSecurity);
  }
  const recipe = BY_TEMPLATE.get(template.name);
  if (template.image === null || recipe === undefined) {
    return {
      kind: 'refused',
      reason: `This installation runs pods as containers, and "${spec.writtenTemplate}" requires pods that are processes.`,
    };
  }
  return recipe(context(template.image));
}

/** Run in the container, tells what uses it beside gateways; null: its template has no such command. */
export function useCommandOf(template: string, templates: TemplateCatalog): readonly string[] | null {
  return USE_COMMANDS.get(templates.find(template)?.name ?? '') ?? null;
}
