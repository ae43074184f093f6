// Makes a fresh clone runnable: `npm start` and `npm test` call this first. It needs nothing but Node 20 or later, and
// does nothing when everything is there. With --test it also prepares the real programs that tests run against.
import { fileURLToPath } from 'node:url';
import { prepareDebianPackages } from './setup/debian-packages.mjs';
import { prepareH2spec } from './setup/h2spec.mjs';
import { prepareKubernetes } from './setup/kubernetes.mjs';
import { prepareNeo4j } from './setup/neo4j.mjs';
import { preparePgjdbc } from './setup/pgjdbc.mjs';
import { prepareNeo4jDrivers } from './setup/neo4j-drivers.mjs';
import { preparePostgresDrivers } from './setup/postgres-drivers.mjs';
import { prepareNodeModules } from './setup/node-modules.mjs';
import { prepareTapipy } from './setup/pypi.mjs';
import { say } from './setup/run-command.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Ends the process: without the dependencies nothing can go on. */
function fail(problem) {
  say(problem);
  process.exit(1);
}

/** One after the other: Maven's own cache is not made for two at a time. */
async function prepareByMaven() {
  return [await prepareNeo4j(), await preparePgjdbc(), await prepareNeo4jDrivers(), await preparePostgresDrivers()];
}

/** One after the other: each may have to install Go. */
async function prepareByGo() {
  return [await prepareKubernetes(), await prepareH2spec()];
}

async function prepareTestPrograms() {
  // The first brings what the others are made with.
  const packagesProblem = await prepareDebianPackages();
  const others = await Promise.all([prepareByMaven(), prepareByGo(), prepareTapipy()]);
  const problems = [packagesProblem, ...others.flat()].filter((problem) => problem !== null);
  for (const problem of problems) say(problem);
  if (problems.length > 0 && process.env.PODGATE_TEST_REQUIRE_ALL === '1')
    fail('PODGATE_TEST_REQUIRE_ALL=1: that is an error.');
}

const [nodeModulesProblem] = await Promise.all([
  prepareNodeModules(root),
  process.argv.includes('--test') ? prepareTestPrograms() : null,
]);
if (nodeModulesProblem !== null) fail(nodeModulesProblem);
