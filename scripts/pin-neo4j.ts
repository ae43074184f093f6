// Writes the list of files that Podgate downloads for a Neo4j pod, with their sizes and checksums:
//   node scripts/pin-neo4j.ts
// Maven resolves the dependencies here, once for each release of Podgate, so that installing needs no Maven and trusts no
// repository. Needs mvn on the PATH. The version is NEO4J_VERSION of scripts/setup/cache.mjs.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { NEO4J_VERSION } from './setup/cache.mjs';
import { helpIfAsked } from './help.ts';

helpIfAsked(import.meta.filename);

const LIST = join(import.meta.dirname, '..', 'spawner/orchestrator/process/recipes/neo4j/neo4j-files.txt');

/** The database, and its HTTP side. */
const ARTIFACTS = [
  ['org.neo4j', 'neo4j'],
  ['org.neo4j.app', 'neo4j-server'],
] as const;

const dependencies = ARTIFACTS.map(
  ([group, artifact]) =>
    `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${NEO4J_VERSION}</version></dependency>`,
);
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>podgate</groupId><artifactId>neo4j</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>${dependencies.join('')}</dependencies></project>`;

const directory = mkdtempSync(join(tmpdir(), 'podgate-pin-neo4j-'));
try {
  writeFileSync(join(directory, 'pom.xml'), POM);
  const layout = ['-Dmdep.useRepositoryLayout=true', `-DoutputDirectory=${join(directory, 'files')}`];
  const args = ['--batch-mode', '--quiet', 'dependency:copy-dependencies', '-DincludeScope=runtime', ...layout];
  execFileSync('mvn', args, { cwd: directory, stdio: ['ignore', 'inherit', 'inherit'] });
  const lines = readdirSync(join(directory, 'files'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.jar'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => {
      const content = readFileSync(file);
      const sha256 = createHash('sha256').update(content).digest('hex');
      return `${sha256} ${content.length} ${relative(join(directory, 'files'), file)}`;
    });
  const header = [
    `# Neo4j Community ${NEO4J_VERSION} as a Maven repository holds it: SHA-256, bytes, path. Written by scripts/pin-neo4j.ts.`,
    `version ${NEO4J_VERSION}`,
  ];
  writeFileSync(LIST, `${[...header, ...lines].join('\n')}\n`);
  process.stdout.write(`${lines.length} files\n`);
} finally {
  rmSync(directory, { recursive: true });
}
