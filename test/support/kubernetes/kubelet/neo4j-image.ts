import { existsSync } from 'node:fs';
import { chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { preparedNeo4jHome } from '../../../../scripts/setup/cache.mjs';
import { initialAuth } from '../../../../spawner/orchestrator/process/recipes/neo4j/auth.ts';
import { endAtOnce, type ContainerContext, type Image, type RunningContainer } from './image.ts';
import { atAddress, exec, startProcess } from './process-container.ts';

/** The official image's user `neo4j`, which its entrypoint becomes when it is started as root. */
const NEO4J = { uid: 7_474, gid: 7_474 };
const TIMEOUT_MS = 30_000;
const HEAP = '512m';
/** Variables of the image itself, which are no settings. */
const NO_SETTINGS = new Set(['AUTH', 'EDITION', 'HOME', 'PLUGINS', 'DEBUG', 'ACCEPT_LICENSE_AGREEMENT']);
const JAVA_OPTIONS = [
  ...['-Xms128m', `-Xmx${HEAP}`, '-XX:+UseSerialGC', '-Dfile.encoding=UTF-8'],
  ...['--add-opens=java.base/java.nio=ALL-UNNAMED', '--add-opens=java.base/java.io=ALL-UNNAMED'],
  ...['--add-opens=java.base/sun.nio.ch=ALL-UNNAMED', '--add-opens=java.base/java.util.concurrent=ALL-UNNAMED'],
];

/** Null: set-up has prepared a Neo4j. */
export const neo4jProblem = (): string | null =>
  existsSync(preparedNeo4jHome()) ? null : 'no Neo4j is prepared: node scripts/setup.mjs --test fetches it';

/**
 * docker.io/library/neo4j:5.26-community with the Neo4j that set-up prepares: NEO4J_AUTH for a new data directory, and
 * settings by variables (NEO4J_server_memory_heap_max__size), as the official entrypoint reads them. What says 0.0.0.0,
 * or nothing, listens on the pod's own address, so `localhost` of a probe becomes that address.
 */
export function neo4jImage(): Image {
  return {
    user: 0,
    async start(context) {
      try {
        return await startNeo4j(context);
      } catch (error) {
        context.print(`${String(error)}\n`);
        return endAtOnce(1);
      }
    },
  };
}

async function startNeo4j(context: ContainerContext): Promise<RunningContainer> {
  const { environment, address, resolve, print } = context;
  const home = preparedNeo4jHome();
  const isRoot = process.getuid?.() === 0;
  const isOwnUser = context.user !== null && context.user.uid !== 0;
  const user = isRoot ? (isOwnUser ? context.user : NEO4J) : null;
  const variables = { PATH: `${home}/bin:/usr/local/bin:/usr/bin:/bin`, LANG: 'C.UTF-8', NEO4J_HOME: home };
  const how = { environment: variables, cwd: '/', user: isOwnUser ? context.user : null };
  const [data, configuration] = [resolve('/data'), resolve('/var/lib/neo4j/conf')];
  const directories = ['/data', '/data/dbms', '/logs', '/import', '/plugins', '/var/lib/neo4j/run'].map(resolve);
  if ((await exec(['mkdir', '-p', configuration, ...directories], how, TIMEOUT_MS)) !== 0) {
    throw new Error('Folder /data is not writable');
  }
  await writePassword(join(data, 'dbms', 'auth.ini'), environment['NEO4J_AUTH'] ?? 'neo4j/neo4j', data);
  if (user !== null && !isOwnUser) {
    await exec(['chown', '-R', `${user.uid}:${user.gid}`, ...directories], { ...how, user: null }, TIMEOUT_MS);
  }
  if (user !== null && existsSync(join(data, 'dbms', 'auth.ini'))) {
    await chown(join(data, 'dbms', 'auth.ini'), user.uid, user.gid);
  }
  await writeFile(join(configuration, 'neo4j.conf'), neo4jConf(environment, address, resolve), { mode: 0o644 });
  const homeDirectory = resolve('/var/lib/neo4j');
  await mkdir(homeDirectory, { recursive: true });
  return startProcess({
    command: [
      ...['java', '-cp', join(home, 'lib', '*'), ...JAVA_OPTIONS, 'org.neo4j.server.CommunityEntryPoint'],
      ...[`--home-dir=${homeDirectory}`, `--config-dir=${configuration}`, '--console-mode'],
    ],
    environment: { ...environment, ...variables },
    cwd: '/',
    user,
    print,
    execCommand: (command) => command.map((word) => atAddress(word, address)),
  });
}

/** What `neo4j-admin dbms set-initial-password` writes; of no effect once there are databases. */
async function writePassword(file: string, auth: string, data: string): Promise<void> {
  if (auth === 'none' || existsSync(file) || existsSync(join(data, 'databases', 'system'))) return;
  const [name = '', ...rest] = auth.split('/');
  const password = rest.join('/');
  if (name !== 'neo4j' || password === '') throw new Error(`Invalid value for NEO4J_AUTH: '${name}/...'`);
  if (password.length < 8) throw new Error('Invalid value for password. The minimum password length is 8 characters.');
  await writeFile(file, initialAuth(name, password), { mode: 0o600 });
}

function neo4jConf(
  environment: Readonly<Record<string, string>>,
  address: string,
  resolve: (path: string) => string,
): string {
  const settings = new Map<string, string>([
    ['server.default_listen_address', address],
    ['server.directories.data', resolve('/data')],
    ['server.directories.logs', resolve('/logs')],
    ['server.directories.import', resolve('/import')],
    ['server.directories.plugins', resolve('/plugins')],
    ['server.directories.run', resolve('/var/lib/neo4j/run')],
    ['server.memory.pagecache.size', '64m'],
    ['server.memory.heap.max_size', HEAP],
    ['server.https.enabled', 'false'],
    ['dbms.usage_report.enabled', 'false'],
    ['dbms.security.auth_enabled', environment['NEO4J_AUTH'] === 'none' ? 'false' : 'true'],
  ]);
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith('NEO4J_') || NO_SETTINGS.has(variable.slice(6))) continue;
    const name = variable.slice(6).replaceAll('__', '\0').replaceAll('_', '.').replaceAll('\0', '_');
    // Neo4j knows no variables of its own; what is none of its settings it refuses, as in the image.
    settings.set(name, value.replace(/^0\.0\.0\.0/, address));
  }
  return [...settings].map(([name, value]) => `${name}=${value}\n`).join('');
}
