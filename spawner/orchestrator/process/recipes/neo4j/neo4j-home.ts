import { readdir, realpath } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { distrustOf } from '../../packages/trusted-directory.ts';
import { exists } from '../../runtime-files.ts';
import { findJava, type JavaSettings, systemJavaCommand } from './java.ts';

/** Installs Neo4j and Java, wherever Podgate runs. */
export const INSTALL_COMMAND = 'podgate install neo4j';

export interface Neo4jSettings extends JavaSettings {
  /** NEO4J_HOME, or null. */
  readonly home: string | null;
}

export type Neo4jLookup =
  | {
      readonly kind: 'found';
      readonly home: string;
      readonly java: string;
      /** Podgate's cache, where one of them is in it: pods must not change what other pods run. */
      readonly readOnly: readonly string[];
    }
  /** `reason`: sentences for the user, on what is wrong and what to do. */
  | { readonly kind: 'no-java' | 'no-neo4j' | 'unusable'; readonly reason: string };

/**
 * Finds Neo4j by NEO4J_HOME, else by `neo4j` on the PATH, else in Podgate's cache at `packageHome`, and a Java to run it.
 * Looks anew at each call.
 */
export async function findNeo4j(
  settings: Neo4jSettings,
  packageHome: string,
  forAllUsers: boolean,
): Promise<Neo4jLookup> {
  const java = await findJava(settings, forAllUsers);
  if (java.kind === 'missing') return { kind: 'no-java', reason: await javaReason(java.reason) };
  const home = settings.home ?? (await homeOfProgram(settings.path)) ?? packageHome;
  const libraries = await readdir(join(home, 'lib')).catch(() => []);
  if (libraries.some((name) => name.endsWith('.jar'))) {
    const distrust = home === packageHome ? (distrustOf(home) ?? distrustOf(join(home, 'lib'))) : null;
    if (distrust !== null) return { kind: 'unusable', reason: distrust };
    return { kind: 'found', ...(await placesOf(await realpath(home), java.java, settings.cacheDir)) };
  }
  if (settings.home !== null) {
    const reason =
      'NEO4J_HOME names no Neo4j: its lib directory has no .jar files. Install Neo4j 5.26 Community there, or unset NEO4J_HOME and restart Podgate, which then downloads one.';
    return { kind: 'unusable', reason };
  }
  return {
    kind: 'no-neo4j',
    reason: `No Neo4j is installed on the machine that runs Podgate. Run there: ${INSTALL_COMMAND}.`,
  };
}

async function placesOf(home: string, java: string, cacheDir: string) {
  const cache = await realpath(cacheDir).catch(() => cacheDir);
  const isCached = [home, java].some((path) => path.startsWith(`${cache}/`));
  return { home, java, readOnly: isCached ? [cache] : [] };
}

async function javaReason(reason: string): Promise<string> {
  const command = await systemJavaCommand();
  const alternative = command === null ? '' : ` (or, as an administrator: ${command.join(' ')})`;
  return `Neo4j needs Java 17 or 21, and none is found on the machine that runs Podgate. ${reason} Run there: ${INSTALL_COMMAND}${alternative}.`.replace(
    '  ',
    ' ',
  );
}

/** The installation that `neo4j` on the PATH belongs to: `<home>/bin/neo4j`. */
async function homeOfProgram(path: string): Promise<string | null> {
  for (const directory of path.split(delimiter)) {
    const program = join(directory, 'neo4j');
    if (!isAbsolute(directory) || !(await exists(program))) continue;
    const home = dirname(dirname(await realpath(program)));
    const libraries = await readdir(join(home, 'lib')).catch(() => []);
    // Debian's package has its files elsewhere; a script of the same name has none.
    if (libraries.some((name) => name.endsWith('.jar'))) return home;
  }
  return null;
}
