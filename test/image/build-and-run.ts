// node test/image/build-and-run.ts
// Builds the two images of the Dockerfile and runs them as a cluster would: as a user without rights, on a root that
// cannot be written to. Everything it needs it makes here; see container-engine.ts and base-images.ts.
import { join } from 'node:path';
import { installDebianPackages } from '../../scripts/setup/debian-packages.mjs';
import { isOnPath } from '../../scripts/setup/run-command.mjs';
import { BUILD, makeBaseImages } from './base-images.ts';
import { startContainerEngine } from './container-engine.ts';
import { checkEmbedded, checkFiles, checkRun, checkSize } from './image-checks.ts';
import { helpIfAsked } from '../../scripts/help.ts';

helpIfAsked(import.meta.filename);

const ROOT = join(import.meta.dirname, '../..');
const BUILD_MS = 600_000;

process.exitCode = await main();

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) {
    console.error('it starts a container engine of its own, which takes root');
    return 1;
  }
  const missing = (await isOnPath('dockerd')) ? [] : ['docker.io'];
  if (!(await isOnPath('debootstrap'))) missing.push('debootstrap');
  if (missing.length > 0) {
    const problem = await installDebianPackages(missing, 'for the image test');
    if (problem !== null) {
      console.error(problem);
      return 1;
    }
  }
  const engine = await startContainerEngine();
  try {
    await step('base images are made', () => makeBaseImages(engine));
    await step('the image for clusters is built', () =>
      engine.docker([...BUILD, '--quiet', '--tag', 'podgate', ROOT], { timeoutMs: BUILD_MS }),
    );
    const embedded = ['--target', 'embedded', '--tag', 'podgate:embedded'];
    await step('the image for process pods is built', () =>
      engine.docker([...BUILD, '--quiet', ...embedded, ROOT], { timeoutMs: BUILD_MS }),
    );
    await step('the image for clusters is small', () => checkSize(engine));
    await step('it holds no shell, and nothing that gives rights', () => checkFiles(engine));
    await step('it runs read-only, without any right, and is healthy', () => checkRun(engine));
    await step('the image for process pods runs a web server and a database', () => checkEmbedded(engine));
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error : String(error));
    return 1;
  } finally {
    await engine.stop();
  }
}

async function step(name: string, work: () => Promise<string>): Promise<void> {
  const startedMs = performance.now();
  try {
    const told = await work();
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    console.log(`  ok      ${name}: ${told} (${seconds} s)`);
  } catch (error) {
    console.log(`  FAILED  ${name}`);
    throw error;
  }
}
