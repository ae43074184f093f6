import { preparedSchemathesis, preparedTapipy, SCHEMATHESIS_VERSION, TAPIPY_VERSION } from './cache.mjs';
import { runCommand, say } from './run-command.mjs';
import { wholeDirectory } from './whole-directory.mjs';

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
function preparePackage(home, requirement, size) {
  return wholeDirectory(home, async (directory) => {
    say(`fetching ${requirement} for the tests, once (${size} from PyPI)`);
    const output = await installFromPypi(directory, [requirement]);
    return output === null ? null : `${requirement} could not be installed by pip:\n${output}`;
  });
}

/**
 * @param {string} directory
 * @param {readonly string[]} requirements
 * @returns {Promise<string | null>} the end of what pip says about its failure, or null
 */
export async function installFromPypi(directory, requirements) {
  const installed = await runCommand(
    'python3',
    [
      ...['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--root-user-action=ignore'],
      ...['--target', directory, ...requirements],
    ],
    { timeoutMs: 10 * 60_000 },
  );
  return installed.code === 0 ? null : installed.output.trim().slice(-500);
}
