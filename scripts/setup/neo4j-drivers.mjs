import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { preparedNeo4jDrivers } from './cache.mjs';
import { findGo, goEnvironment } from './go.mjs';
import { runCommand, say } from './run-command.mjs';

const PYTHON_DRIVER = 'neo4j==6.4.1';
/** The line that runs on Java 17. */
const JAVA_DRIVER = '5.28.5';
/** Its go.mod names the driver's version, its go.sum the checksum. */
const GO_CLIENT = fileURLToPath(new URL('../../test/e2e/clients/neo4j-go', import.meta.url));
const TIMEOUT_MS = 15 * 60_000;

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>podgate.test</groupId>
  <artifactId>neo4j-driver</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.neo4j.driver</groupId>
      <artifactId>neo4j-java-driver</artifactId>
      <version>${JAVA_DRIVER}</version>
    </dependency>
  </dependencies>
</project>
`;

/**
 * Puts the drivers of Neo4j for Python, Java and Go into the cache, unless they are there: `python/` and `java/` hold the
 * drivers, `go-client` is the client of the tests, built. They appear all together or not at all.
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export async function prepareNeo4jDrivers() {
  const home = preparedNeo4jDrivers(contentHash());
  if (await isDirectory(home)) return null;
  say('fetching drivers of Neo4j for Python, Java and Go for the tests, once (20 MB)');
  await mkdir(dirname(home), { recursive: true });
  const building = await mkdtemp(`${home}.`);
  try {
    const problem = (await addPython(building)) ?? (await addJava(building)) ?? (await addGo(building));
    if (problem !== null) return problem;
    // mkdtemp makes it private.
    await chmod(building, 0o755);
    await rename(building, home);
    return null;
  } catch (error) {
    // Another set-up of the same machine may have been faster.
    if (await isDirectory(home)) return null;
    throw error;
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

/** Where they are for this checkout: what is built changes with these. */
export function neo4jDriversHome() {
  return preparedNeo4jDrivers(contentHash());
}

function contentHash() {
  const hash = createHash('sha256').update(PYTHON_DRIVER).update(POM);
  for (const name of ['main.go', 'go.mod', 'go.sum']) hash.update(readFileSync(join(GO_CLIENT, name)));
  return hash.digest('hex').slice(0, 12);
}

async function addPython(home) {
  const options = [
    '--quiet',
    '--disable-pip-version-check',
    '--root-user-action=ignore',
    '--target',
    join(home, 'python'),
  ];
  const installed = await runCommand('python3', ['-m', 'pip', 'install', ...options, PYTHON_DRIVER], {
    timeoutMs: TIMEOUT_MS,
  });
  return installed.code === 0 ? null : failed('Python', installed.output);
}

async function addJava(home) {
  const work = join(home, 'maven');
  await mkdir(work);
  await writeFile(join(work, 'pom.xml'), POM);
  const options = ['-DincludeScope=runtime', `-DoutputDirectory=${join(home, 'java')}`];
  const copied = await runCommand('mvn', ['--quiet', '--batch-mode', 'dependency:copy-dependencies', ...options], {
    cwd: work,
    timeoutMs: TIMEOUT_MS,
  });
  await rm(work, { recursive: true, force: true });
  return copied.code === 0 ? null : failed('Java', copied.output);
}

async function addGo(home) {
  const found = await findGo();
  if ('problem' in found) return found.problem;
  const work = join(home, 'go');
  await cp(GO_CLIENT, work, { recursive: true });
  const args = ['build', '-mod=readonly', '-trimpath', '-buildvcs=false', `-o=${join(home, 'go-client')}`, '.'];
  const built = await runCommand(found.go, args, { cwd: work, env: goEnvironment(), timeoutMs: TIMEOUT_MS });
  await rm(work, { recursive: true, force: true });
  return built.code === 0 ? null : failed('Go', built.output);
}

const failed = (language, output) =>
  `The Neo4j driver for ${language} could not be prepared:\n${output.trim().slice(-500)}`;

async function isDirectory(path) {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
}
