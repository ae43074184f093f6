import { chmod, mkdir, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { NEO4J_VERSION, preparedNeo4jHome, stableNeo4jHome } from './cache.mjs';
import { runCommand, say } from './run-command.mjs';
import { wholeDirectory } from './whole-directory.mjs';

/** `org.neo4j:neo4j` holds the database and the start-up commands, `org.neo4j.app:neo4j-server` the HTTP side. */
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>podgate.test</groupId>
  <artifactId>neo4j-home</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.neo4j</groupId>
      <artifactId>neo4j</artifactId>
      <version>${NEO4J_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.neo4j.app</groupId>
      <artifactId>neo4j-server</artifactId>
      <version>${NEO4J_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.neo4j</groupId>
      <artifactId>cypher-shell</artifactId>
      <version>${NEO4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
`;

const CONFIGURATION = `server.default_listen_address=127.0.0.1
server.https.enabled=false
dbms.usage_report.enabled=false
`;

/** The programs of the distribution that Neo4j publishes, with the same commands and variables. */
const launcher = (mainClass) => `#!/bin/sh
: "\${NEO4J_HOME:=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd -P)}"
export NEO4J_HOME
exec "\${JAVA_HOME:+$JAVA_HOME/bin/}java" -Xmx128m -XX:+UseSerialGC -cp "$NEO4J_HOME/lib/*" \\
  -Dbasedir="$NEO4J_HOME" ${mainClass} "$@"
`;

/**
 * Puts a real Neo4j Community from Maven Central into the cache, unless it is there. It appears whole or not at all.
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export async function prepareNeo4j() {
  const home = preparedNeo4jHome();
  await linkStable(home);
  return await wholeDirectory(home, async (directory) => {
    say(`fetching Neo4j ${NEO4J_VERSION} for the tests, once (120 MB from Maven Central)`);
    await writeFile(join(directory, 'pom.xml'), POM);
    const copied = await runCommand(
      'mvn',
      [
        ...['--quiet', '--batch-mode', '-Dmaven.artifact.threads=10', 'dependency:copy-dependencies'],
        ...['-DincludeScope=runtime', `-DoutputDirectory=${join(directory, 'lib')}`],
      ],
      { cwd: directory, timeoutMs: 30 * 60_000 },
    );
    if (copied.code !== 0) return `Neo4j could not be fetched by Maven: ${lastLine(copied.output)}`;
    await makeHome(directory);
    return null;
  });
}

/** `neo4j` in the user's cache leads to the prepared version, so that nobody needs to know its number. */
async function linkStable(home) {
  const stable = stableNeo4jHome();
  if ((await readlink(stable).catch(() => null)) === home) return;
  await mkdir(dirname(stable), { recursive: true });
  await rm(stable, { recursive: true, force: true });
  await symlink(home, stable);
}

async function makeHome(directory) {
  for (const name of ['bin', 'conf', 'data', 'logs', 'plugins', 'import', 'run']) await mkdir(join(directory, name));
  await writeFile(join(directory, 'conf', 'neo4j.conf'), CONFIGURATION);
  await writeFile(join(directory, 'bin', 'neo4j'), launcher('org.neo4j.server.startup.Neo4jCommand'), { mode: 0o755 });
  await writeFile(join(directory, 'bin', 'neo4j-admin'), launcher('org.neo4j.server.startup.Neo4jAdminCommand'), {
    mode: 0o755,
  });
  await writeFile(join(directory, 'bin', 'cypher-shell'), launcher('org.neo4j.shell.Main'), {
    mode: 0o755,
  });
  for (const jar of await readdir(join(directory, 'lib'))) await chmod(join(directory, 'lib', jar), 0o644);
}

const lastLine = (text) =>
  text
    .trim()
    .split('\n')
    .find((line) => line.includes('ERROR')) ?? text.trim().slice(-300);
