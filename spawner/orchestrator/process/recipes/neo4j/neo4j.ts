import { randomBytes } from 'node:crypto';
import { chown, cp, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { podHost } from '../../../../../core/ids.ts';
import { exists, isReachableByAll, makeOnce } from '../../runtime-files.ts';
import type { Recipe, RecipeContext } from '../recipe.ts';
import { initialAuth } from './auth.ts';
import { cloneData, FIRST_START, FIRST_START_OF_CLONE, NEO4J_DATA } from './clone.ts';
import type { Neo4jProvider } from './neo4j-provider.ts';

const HEAP = '512m';
const PAGE_CACHE = '64m';
/** What Neo4j's own neo4j.conf gives its Java (server.jvm.additional). */
const JAVA_OPTIONS = [
  `-Xms128m`,
  `-Xmx${HEAP}`,
  // For a heap this small: 50 MB less than G1, and no slower.
  '-XX:+UseSerialGC',
  '-XX:-OmitStackTraceInFastThrow',
  '-XX:+DisableExplicitGC',
  '-Dio.netty.tryReflectionSetAccessible=true',
  '-Dlog4j2.disable.jmx=true',
  '-Dfile.encoding=UTF-8',
  '--add-opens=java.base/java.nio=ALL-UNNAMED',
  '--add-opens=java.base/java.io=ALL-UNNAMED',
  '--add-opens=java.base/sun.nio.ch=ALL-UNNAMED',
  '--add-opens=java.base/java.util.concurrent=ALL-UNNAMED',
];
const DATA = NEO4J_DATA.name;
/**
 * A first start that was killed is started over, with the password of its `dbms/auth.ini`. Neo4j does not go on with what it
 * leaves at some moments: a `server_id` that is made and not yet written (EOFException), or a database that has no
 * transaction logs yet ("recovery is not possible"). As the pod's user, in its data directory.
 */
const START = `
[ ! -e "$0/${FIRST_START}" ] || command -p rm -rf "$0/server_id" "$0/databases" "$0/transactions" || exit
[ ! -e "$0/${FIRST_START_OF_CLONE}" ] || command -p rm -rf "$0/server_id" "$0/databases/system" "$0/transactions/system" || exit
exec "$@"
`;
const MAIN_CLASS = 'org.neo4j.server.CommunityEntryPoint';

/** Runs the Neo4j of this machine, each pod with a configuration, data and logs of its own. */
export function createNeo4jRecipe(provider: Neo4jProvider, runtimeRoot: string, asRoot: boolean): Recipe {
  return {
    stopSignal: 'SIGTERM',
    graceMs: 5_000,
    mayComplete: false,
    ...(process.platform === 'linux' && { copier: NEO4J_DATA }),
    refuse: () => Promise.resolve(null),
    provide: (say, signal) => provider.provide(say, signal),
    prepare: async (context, credentials, signal) => {
      const { osUser } = context;
      const data = dataOf(context);
      if (await exists(data)) return;
      if (credentials === null) throw new Error('a new Neo4j needs credentials');
      if (context.source !== null) {
        await cloneData({ context, source: context.source, credentials }, signal);
        return;
      }
      // The directory appears with its password or not at all: a Neo4j without that file lets in a known one.
      const made = join(context.staging, randomBytes(16).toString('hex'));
      const file = join(made, 'dbms', 'auth.ini');
      const mark = join(made, FIRST_START);
      try {
        await mkdir(join(made, 'dbms'), { recursive: true, mode: 0o700 });
        await writeFile(file, initialAuth(credentials.username, credentials.password), { mode: 0o600 });
        await writeFile(mark, '', { mode: 0o600 });
        if (osUser !== null) {
          for (const path of [made, join(made, 'dbms'), file, mark]) await chown(path, osUser.uid, osUser.gid);
        }
        await rename(made, data);
      } finally {
        await rm(made, { recursive: true, force: true });
      }
    },
    letIn: async (context) => {
      for (const mark of [FIRST_START, FIRST_START_OF_CLONE]) await rm(join(dataOf(context), mark), { force: true });
    },
    launch: async (context) => {
      const lookup = await provider.find();
      if (lookup.kind !== 'found') throw new Error(lookup.reason);
      const home = await reachableHome(lookup.home, runtimeRoot, asRoot);
      await writeFile(join(context.config, 'neo4j.conf'), neo4jConf(context), { mode: 0o644 });
      const start = ['/bin/sh', '-c', START, dataOf(context)];
      const command = [...start, lookup.java, '-cp', join(home, 'lib', '*'), ...JAVA_OPTIONS, MAIN_CLASS];
      return {
        command: [...command, `--home-dir=${context.home}`, `--config-dir=${context.config}`, '--console-mode'],
        environment: {},
        readOnly: lookup.readOnly,
      };
    },
  };
}

function dataOf({ volume }: RecipeContext): string {
  if (volume === null) throw new Error('a Neo4j needs a volume');
  return join(volume, DATA);
}

async function reachableHome(home: string, runtimeRoot: string, asRoot: boolean): Promise<string> {
  if (!asRoot || (await isReachableByAll(join(home, 'lib')))) return home;
  const { mtimeMs } = await stat(join(home, 'lib'));
  return makeOnce(runtimeRoot, `${basename(home)}-${Math.round(mtimeMs)}`, (made) =>
    cp(join(home, 'lib'), join(made, 'lib'), { recursive: true, dereference: true }),
  );
}

/** Settings of Neo4j 5 (Operations Manual, "Configuration settings"). */
export function neo4jConf(context: Pick<RecipeContext, 'workload' | 'home' | 'volume' | 'ports'>): string {
  const { workload, home, volume, ports } = context;
  const advertised = (stanza: string) =>
    `${workload.hosts[stanza] ?? podHost(workload.podId, stanza, 'localhost')}:${workload.publicHttpsPort}`;
  const bolt = String(ports['default']);
  const browser = ports['browser'];
  const lines = [
    `server.directories.data=${String(volume)}/data`,
    `server.directories.transaction.logs.root=${String(volume)}/data/transactions`,
    `server.directories.import=${String(volume)}/import`,
    `server.directories.plugins=${home}/plugins`,
    `server.directories.logs=${home}/logs`,
    `server.directories.run=${home}/run`,
    'server.default_listen_address=127.0.0.1',
    'server.bolt.enabled=true',
    `server.bolt.listen_address=127.0.0.1:${bolt}`,
    `server.bolt.advertised_address=${advertised('default')}`,
    'server.bolt.tls_level=DISABLED',
    `server.http.enabled=${browser === undefined ? 'false' : 'true'}`,
    ...(browser === undefined
      ? []
      : [`server.http.listen_address=127.0.0.1:${browser}`, `server.http.advertised_address=${advertised('browser')}`]),
    'server.https.enabled=false',
    'dbms.security.auth_enabled=true',
    'dbms.usage_report.enabled=false',
    `server.memory.heap.max_size=${HEAP}`,
    `server.memory.pagecache.size=${PAGE_CACHE}`,
  ];
  return `${lines.join('\n')}\n`;
}
