import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findGo, goEnvironment } from './go.mjs';
import { installFromPypi } from './pypi.mjs';
import { runCommand, say } from './run-command.mjs';
import { wholeDirectory } from './whole-directory.mjs';

const TIMEOUT_MS = 15 * 60_000;

/**
 * Drivers of one server in other languages than ours, as tests use them.
 * @typedef {object} Drivers
 * @property {string} of the server, for messages
 * @property {string} size of what is fetched, for the same
 * @property {readonly string[]} python requirements of pip
 * @property {string} pom of Maven, whose dependencies are the drivers for Java
 * @property {string} goClient the directory of a client: its go.mod names the driver's version, its go.sum the checksum
 * @property {(hash: string) => string} homeOf
 */

/**
 * Puts them into the cache, unless they are there: `python/` and `java/` hold the drivers, `go-client` is the client of the
 * tests, built. They appear all together or not at all.
 * @param {Drivers} drivers
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export function prepareDrivers(drivers) {
  return wholeDirectory(driversHome(drivers), async (directory) => {
    say(`fetching drivers of ${drivers.of} for Python, Java and Go for the tests, once (${drivers.size})`);
    return (
      (await addPython(directory, drivers)) ?? (await addJava(directory, drivers)) ?? (await addGo(directory, drivers))
    );
  });
}

/**
 * Where they are for this checkout: what is built changes with these.
 * @param {Drivers} drivers
 */
export function driversHome({ python, pom, goClient, homeOf }) {
  const hash = createHash('sha256').update(python.join(' ')).update(pom);
  for (const name of ['main.go', 'go.mod', 'go.sum']) hash.update(readFileSync(join(goClient, name)));
  return homeOf(hash.digest('hex').slice(0, 12));
}

/**
 * @param {string} artifactId of the whole
 * @param {readonly string[]} dependencies each as `group:artifact:version`
 */
export function pomOf(artifactId, dependencies) {
  const items = dependencies.map((dependency) => {
    const [group, artifact, version] = dependency.split(':');
    return `    <dependency>
      <groupId>${group}</groupId>
      <artifactId>${artifact}</artifactId>
      <version>${version}</version>
    </dependency>
`;
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>podgate.test</groupId>
  <artifactId>${artifactId}</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
${items.join('')}  </dependencies>
</project>
`;
}

async function addPython(home, drivers) {
  const output = await installFromPypi(join(home, 'python'), drivers.python);
  return output === null ? null : failed(drivers, 'Python', output);
}

async function addJava(home, drivers) {
  const work = join(home, 'maven');
  await mkdir(work);
  await writeFile(join(work, 'pom.xml'), drivers.pom);
  const options = ['-DincludeScope=runtime', `-DoutputDirectory=${join(home, 'java')}`];
  const copied = await runCommand('mvn', ['--quiet', '--batch-mode', 'dependency:copy-dependencies', ...options], {
    cwd: work,
    timeoutMs: TIMEOUT_MS,
  });
  await rm(work, { recursive: true, force: true });
  return copied.code === 0 ? null : failed(drivers, 'Java', copied.output);
}

async function addGo(home, drivers) {
  const found = await findGo();
  if ('problem' in found) return found.problem;
  const work = join(home, 'go');
  await cp(drivers.goClient, work, { recursive: true });
  const args = ['build', '-mod=readonly', '-trimpath', '-buildvcs=false', `-o=${join(home, 'go-client')}`, '.'];
  const built = await runCommand(found.go, args, { cwd: work, env: goEnvironment(), timeoutMs: TIMEOUT_MS });
  await rm(work, { recursive: true, force: true });
  return built.code === 0 ? null : failed(drivers, 'Go', built.output);
}

const failed = (drivers, language, output) =>
  `The drivers of ${drivers.of} for ${language} could not be prepared:\n${output.trim().slice(-500)}`;
