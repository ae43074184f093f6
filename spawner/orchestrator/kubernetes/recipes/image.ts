import { DEFAULT_STANZA } from '../../../../core/ids.ts';
import type { RecipeContext, RecipeResult } from './recipe.ts';

/** An image that a user has chosen: it listens where its networking says, and is ready when it does. */
export function imageRecipe({ workload, image }: RecipeContext, podSecurity: 'restricted' | 'baseline'): RecipeResult {
  const { spec } = workload;
  const stanza = spec.networking[DEFAULT_STANZA] ?? Object.values(spec.networking)[0];
  return {
    kind: 'recipe',
    recipe: {
      image,
      command: spec.command ?? [],
      args: spec.arguments ?? [],
      user: null,
      hasReadOnlyRoot: false,
      scratch: [],
      dataPath: null,
      environment: [],
      secret: null,
      probe: stanza === undefined ? null : { tcpSocket: { port: stanza.port }, timeoutSeconds: 2 },
      startSeconds: 3_600,
      graceSeconds: 30,
      mayComplete: true,
      isRestricted: podSecurity === 'restricted',
    },
  };
}
