import type { Recipe } from './recipe.ts';

/** Runs the user's command (`podgate/process`). */
export function createCommandRecipe(): Recipe {
  return {
    stopSignal: 'SIGTERM',
    graceMs: 3_000,
    mayComplete: true,
    keepsHome: true,
    refuse: ({ spec }) =>
      Promise.resolve(
        (spec.command?.[0] ?? '') === '' ? `A ${spec.writtenTemplate} pod needs a command: the program to run.` : null,
      ),
    prepare: () => Promise.resolve(),
    launch: ({ workload: { spec }, volume }) =>
      Promise.resolve({
        command: [...(spec.command ?? []), ...(spec.arguments ?? [])],
        environment: volume === null ? {} : { DATA_DIR: volume },
      }),
  };
}
