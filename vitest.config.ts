import { defineConfig } from 'vitest/config';

const project = (name: string, testTimeout: number, fileParallelism = true) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout, hookTimeout: 60_000, fileParallelism },
});

/** One project a kind of test; what each is for stands in ARCHITECTURE.md. */
export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      project('unit', 10_000),
      project('contract', 60_000),
      project('sim', 120_000),
      project('integration', 60_000),
      project('e2e', 180_000, false),
    ],
  },
});
