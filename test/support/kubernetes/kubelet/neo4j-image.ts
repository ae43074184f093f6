import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { preparedNeo4jHome } from '../../../../scripts/setup/cache.mjs';
import { initialAuth } from '../../../../spawner/orchestrator/process/recipes/neo4j/auth.ts';
import { endAtOnce, type ContainerContext, type Image } from './image.ts';
import { type OverlayImage, overlayProblem, startOverlayContainer } from './overlay-container.ts';

/** The official image's user `neo4j`, which its entrypoint becomes when it is started as root. */
const NEO4J = { uid: 7_474, gid: 7_474 };
const HEAP = '512m';
/** Variables of the image itself, which are no settings. */
const NO_SETTINGS = new Set(['AUTH', 'EDITION', 'HOME', 'PLUGINS', 'DEBUG', 'ACCEPT_LICENSE_AGREEMENT']);
const JAVA_OPTIONS = [
  ...['-Xms128m', `-Xmx${HEAP}`, '-XX:+UseSerialGC', '-Dfile.encoding=UTF-8'],
  ...['--add-opens=java.base/java.nio=ALL-UNNAMED', '--add-opens=java.base/java.io=ALL-UNNAMED'],
  ...['--add-opens=java.base/sun.nio.ch=ALL-UNNAMED', '--add-opens=java.base/java.util.concurrent=ALL-UNNAMED'],
];

/** Null: it can be run here. */
export function neo4jProblem(): string | null {
  if (!existsSync(preparedNeo4jHome())) return 'no Neo4j is prepared: node scripts/setup.mjs --test fetches it';
  return overlayProblem();
}

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
        return await startOverlayContainer(imageFor(context), context);
      } catch (error) {
        context.print(`${String(error)}\n`);
        return endAtOnce(1);
      }
    },
  };
}

function imageFor({ environment, address }: ContainerContext): OverlayImage {
  const home = preparedNeo4jHome();
  const java = [
    ...['java', '-cp', `'${join(home, 'lib', '*')}'`, ...JAVA_OPTIONS, 'org.neo4j.server.CommunityEntryPoint'],
    ...['--home-dir=/var/lib/neo4j', '--config-dir=/var/lib/neo4j/conf', '--console-mode'],
  ];
  const auth = authOf(environment['NEO4J_AUTH'] ?? 'neo4j/neo4j');
  return {
    entrypoint: ['tini', '-g', '--', '/startup/docker-entrypoint.sh'],
    cmd: ['neo4j'],
    environment: { PATH: `${home}/bin:/usr/local/bin:/usr/bin:/bin`, LANG: 'C.UTF-8' },
    user: NEO4J,
    stopSignal: 'SIGTERM',
    directories: [home],
    build: String.raw`
mkdir -p "$root/startup" "$root/data" "$root/logs" "$root/import" "$root/plugins" "$root/var/lib/neo4j/conf" "$root/var/lib/neo4j/run"
chmod 777 "$root/data" "$root/logs" "$root/import" "$root/plugins" "$root/var/lib/neo4j" "$root/var/lib/neo4j/run"
cat >"$root/var/lib/neo4j/conf/neo4j.conf" <<'CONF'
${neo4jConf(environment, address)}CONF
cat >"$root/startup/auth.ini" <<'AUTH'
${auth}AUTH
cat >"$root/startup/docker-entrypoint.sh" <<'ENTRYPOINT'
#!/bin/sh
set -e
mkdir -p /data/dbms
if [ -s /startup/auth.ini ] && [ ! -e /data/dbms/auth.ini ] && [ ! -e /data/databases/system ]; then
  cp /startup/auth.ini /data/dbms/auth.ini
fi
exec ${java.join(' ')}
ENTRYPOINT
chmod 755 "$root/startup/docker-entrypoint.sh"
`,
  };
}

/** What `neo4j-admin dbms set-initial-password` writes; of no effect once there are databases. */
function authOf(auth: string): string {
  if (auth === 'none') return '';
  const [name = '', ...rest] = auth.split('/');
  const password = rest.join('/');
  if (name !== 'neo4j' || password === '') throw new Error(`Invalid value for NEO4J_AUTH: '${name}/...'`);
  if (password.length < 8) throw new Error('Invalid value for password. The minimum password length is 8 characters.');
  return initialAuth(name, password);
}

function neo4jConf(environment: Readonly<Record<string, string>>, address: string): string {
  const settings = new Map<string, string>([
    ['server.default_listen_address', address],
    ['server.directories.data', '/data'],
    ['server.directories.logs', '/logs'],
    ['server.directories.import', '/import'],
    ['server.directories.plugins', '/plugins'],
    ['server.directories.run', '/var/lib/neo4j/run'],
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
