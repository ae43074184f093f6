import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PGJDBC_VERSION, preparedPgjdbc } from './cache.mjs';
import { runCommand, say } from './run-command.mjs';

/**
 * Puts a current pgjdbc from Maven Central into the cache, unless it is there: Debian's is of the line before. It appears
 * whole or not at all.
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export async function preparePgjdbc() {
  const jar = preparedPgjdbc();
  if (await exists(jar)) return null;
  say(`fetching pgjdbc ${PGJDBC_VERSION} for the tests, once (1 MB from Maven Central)`);
  await mkdir(dirname(jar), { recursive: true });
  const fetching = await mkdtemp(`${jar}.`);
  try {
    const copied = await runCommand(
      'mvn',
      [
        ...['--quiet', '--batch-mode', 'dependency:copy', `-DoutputDirectory=${fetching}`],
        `-Dartifact=org.postgresql:postgresql:${PGJDBC_VERSION}`,
      ],
      { cwd: fetching, timeoutMs: 10 * 60_000 },
    );
    if (copied.code !== 0) return `pgjdbc could not be fetched by Maven:\n${copied.output.trim().slice(-500)}`;
    await rename(join(fetching, basename(jar)), jar);
    return null;
  } finally {
    await rm(fetching, { recursive: true, force: true });
  }
}

const exists = (path) =>
  access(path).then(
    () => true,
    () => false,
  );
