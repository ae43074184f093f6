import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { preparedH2spec } from './cache.mjs';
import { findGo, goEnvironment } from './go.mjs';
import { oneAtATime } from './one-at-a-time.mjs';
import { runCommand, say } from './run-command.mjs';

const TIMEOUT_MS = 10 * 60_000;
/** A go.mod that names the versions of all modules, and a go.sum with their checksums. */
const MODULE = fileURLToPath(new URL('../../test/support/h2spec/build', import.meta.url));

/**
 * Builds h2spec, the conformance tests of HTTP/2, from the module proxy into the cache, unless it is there.
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export async function prepareH2spec() {
  const program = preparedH2spec();
  if (process.platform !== 'linux' || (await isThere(program))) return null;
  await mkdir(dirname(program), { recursive: true });
  return await oneAtATime(`${program}.lock`, async () => ((await isThere(program)) ? null : await build(program)));
}

async function build(program) {
  const found = await findGo();
  if ('problem' in found) return found.problem;
  say('building h2spec for the tests, once (a minute)');
  const building = await mkdtemp(`${program}.`);
  try {
    const output = join(building, 'h2spec');
    const built = await runCommand(
      found.go,
      [
        ...['build', '-mod=readonly', '-trimpath', '-buildvcs=false', '-ldflags=-s -w', `-o=${output}`],
        'github.com/summerwind/h2spec/cmd/h2spec',
      ],
      { cwd: MODULE, env: goEnvironment(), timeoutMs: TIMEOUT_MS },
    );
    if (built.code !== 0) return `h2spec could not be built for the tests:\n${built.output.trim().slice(-1_000)}`;
    await rename(output, program);
    return null;
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

async function isThere(path) {
  return stat(path).then(
    () => true,
    () => false,
  );
}
