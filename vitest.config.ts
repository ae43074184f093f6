import { defineConfig } from 'vitest/config';

/**
 * Tests with real servers meet a machine that others slow down. In CI such a test gets one second try, and the run names
 * every one that needed it (scripts/check.ts): a flaw to mend, but not a failure of the change at hand.
 */
const isCi = process.env['CI'] === 'true';
const REAL_SERVERS = ['contract', 'integration', 'e2e', 'real-node'];

const project = (name: string, testTimeout: number, fileParallelism = true) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    // The first time, programs and images are built in a hook.
    hookTimeout: name === 'real-node' ? 1_800_000 : 60_000,
    fileParallelism,
    retry: isCi && REAL_SERVERS.includes(name) ? 1 : 0,
    // Of the tests of a file that may run at the same time: pods of a real node share the cores of this machine.
    maxConcurrency: 3,
  },
});

/** One project a kind of test; what each is for stands in ARCHITECTURE.md. */
export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      project('unit', 60_000),
      project('contract', 60_000),
      project('sim', 120_000),
      project('integration', 60_000),
      project('e2e', 180_000, false),
      // On a cluster of its own, which takes root and minutes: `.ci/run` asks for it, `npm test` alone does not.
      project('real-node', 300_000, false),
    ],
  },
});
