import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { preparedSchemathesis, preparedTapipy, SCHEMATHESIS_VERSION, TAPIPY_VERSION } from './cache.mjs';
import { runCommand, say } from './run-command.mjs';

/**
 * Puts tapipy, the Python client of the Tapis APIs, into the cache, unless it is there.
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export function prepareTapipy() {
  return preparePackage(preparedTapipy(), `tapipy==${TAPIPY_VERSION}`, '45 MB');
}

/**
 * The same for Schemathesis, which makes requests from an OpenAPI document.
 * @returns {Promise<string | null>}
 */
export function prepareSchemathesis() {
  return preparePackage(preparedSchemathesis(), `schemathesis==${SCHEMATHESIS_VERSION}`, '70 MB');
}

/**
 * A package of PyPI, and what it needs. It appears whole or not at all.
 * @param {string} home
 * @param {string} requirement
 * @param {string} size
 * @returns {Promise<string | null>}
 */
async function preparePackage(home, requirement, size) {
  if (await isDirectory(home)) return null;
  say(`fetching ${requirement} for the tests, once (${size} from PyPI)`);
  await mkdir(dirname(home), { recursive: true });
  const fetching = await mkdtemp(`${home}.`);
  try {
    const installed = await runCommand(
      'python3',
      [
        ...['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--root-user-action=ignore'],
        ...['--target', fetching, requirement],
      ],
      { timeoutMs: 10 * 60_000 },
    );
    if (installed.code !== 0)
      return `${requirement} could not be installed by pip:\n${installed.output.trim().slice(-500)}`;
    // mkdtemp makes it private.
    await chmod(fetching, 0o755);
    await rename(fetching, home);
    return null;
  } catch (error) {
    // Another set-up of the same machine may have been faster.
    if (await isDirectory(home)) return null;
    throw error;
  } finally {
    await rm(fetching, { recursive: true, force: true });
  }
}

async function isDirectory(path) {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
}
