import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Recipe } from './recipe.ts';

const SERVER = 'hello-server.mjs';

/** `nodePath` answers a Node that every user may run. */
export function createHelloRecipe(nodePath: () => Promise<string>): Recipe {
  return {
    stopSignal: 'SIGTERM',
    graceMs: 3_000,
    mayComplete: false,
    refuse: () => Promise.resolve(null),
    // A copy, since the pod's user may not be able to reach the program's own directory.
    prepare: async ({ home }) => {
      await copyFile(join(import.meta.dirname, SERVER), join(home, SERVER));
    },
    launch: async ({ home, workload }) => ({
      command: [await nodePath(), join(home, SERVER)],
      environment: { POD_ID: workload.podId },
    }),
  };
}
