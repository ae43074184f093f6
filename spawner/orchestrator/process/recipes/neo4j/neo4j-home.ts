import { readdir, realpath } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { exists, isReachableByAll } from '../../runtime-files.ts';

export interface Neo4jSettings {
  /** NEO4J_HOME, or null. */
  readonly home: string | null;
  /** JAVA_HOME, or null: then `java` on the PATH. */
  readonly javaHome: string | null;
  readonly path: string;
}

export type Neo4jLookup =
  | { readonly kind: 'found'; readonly home: string; readonly java: string }
  /** `reason` is a sentence for the user: what to install and which variable to set. */
  | { readonly kind: 'missing'; readonly reason: string };

const INSTALL =
  'Install Neo4j 5.26 Community (https://neo4j.com/deployment-center/) and Java 17 or 21, set NEO4J_HOME to its directory, restart Podgate, and start the pod again.';

/** Finds Neo4j by NEO4J_HOME, else by `neo4j` on the PATH, and a Java to run it. Looks anew at each call. */
export async function findNeo4j(settings: Neo4jSettings, forAllUsers: boolean): Promise<Neo4jLookup> {
  const missing = (reason: string): Neo4jLookup => ({ kind: 'missing', reason });
  const home = settings.home ?? (await homeOfProgram(settings.path));
  if (home === null) return missing(`No Neo4j is installed on this machine: NEO4J_HOME is not set. ${INSTALL}`);
  const libraries = await readdir(join(home, 'lib')).catch(() => []);
  if (!libraries.some((name) => name.endsWith('.jar'))) {
    return missing(`NEO4J_HOME names no Neo4j: its lib directory has no .jar files. ${INSTALL}`);
  }
  const java =
    settings.javaHome === null
      ? await findOnPath('java', settings.path)
      : await realpath(join(settings.javaHome, 'bin', 'java')).catch(() => null);
  if (java === null) return missing(`Neo4j needs Java, and none is on the PATH or at JAVA_HOME. ${INSTALL}`);
  if (forAllUsers && !(await isReachableByAll(java))) {
    return missing(
      'Pods run as users of their own, and these may not read the Java of this machine: install one for all users.',
    );
  }
  return { kind: 'found', home: await realpath(home), java };
}

/** The installation that `neo4j` on the PATH belongs to: `<home>/bin/neo4j`. */
async function homeOfProgram(path: string): Promise<string | null> {
  const program = await findOnPath('neo4j', path);
  return program === null ? null : dirname(dirname(program));
}

async function findOnPath(program: string, path: string): Promise<string | null> {
  for (const directory of path.split(delimiter)) {
    if (!isAbsolute(directory)) continue;
    const file = join(directory, program);
    if (await exists(file)) return realpath(file);
  }
  return null;
}
