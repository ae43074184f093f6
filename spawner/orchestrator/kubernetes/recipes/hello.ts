import { type RecipeContext, type RecipeResult } from './recipe.ts';

const PORT = 8080;

/** Podgate's own image holds the program. */
export function helloRecipe({ image }: RecipeContext): RecipeResult {
  return {
    kind: 'recipe',
    recipe: {
      image,
      command: ['node', '/app/spawner/orchestrator/process/recipes/hello-server.mjs'],
      args: [],
      user: 10_001,
      hasReadOnlyRoot: true,
      scratch: [],
      dataPath: null,
      environment: [{ name: 'HOST', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
      secret: null,
      probe: { httpGet: { path: '/healthz', port: PORT }, timeoutSeconds: 3 },
      startSeconds: 300,
      graceSeconds: 10,
      mayComplete: false,
      isRestricted: true,
    },
  };
}
