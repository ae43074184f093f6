import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { neo4jDriversHome } from '../../../scripts/setup/neo4j-drivers.mjs';
import { run, type RunResult } from '../../support/run.ts';

/** What a driver says of one URI. `type`: of its exception. */
export interface Said {
  readonly record?: Readonly<Record<string, unknown>> | null;
  readonly records?: number;
  readonly server?: string;
  readonly type?: string;
  readonly code?: string;
  readonly message?: string;
  readonly retryable?: boolean;
}

export interface DriverCall {
  readonly uris: readonly string[];
  readonly user: string;
  readonly password: string;
  readonly query: string;
  readonly caPath: string;
  /** For files of this call. */
  readonly directory: string;
}

export const LANGUAGES = ['JavaScript', 'Python', 'Java', 'Go'] as const;
export type Language = (typeof LANGUAGES)[number];

/** Runs the client of that language. Answers what it says of each URI, in their order. */
export async function askDriver(language: Language, call: DriverCall): Promise<readonly Said[]> {
  const home = neo4jDriversHome();
  if (!existsSync(home)) throw new Error(`no drivers at ${home}: run npm test, or node scripts/setup.mjs --test`);
  const { stdout, stderr } = await start(language, home, call);
  const lines = stdout.trimEnd().split('\n');
  if (lines.length !== call.uris.length) throw new Error(`${language}: ${stdout}${stderr}`);
  return lines.map((line) => JSON.parse(line) as Said);
}

function start(language: Language, home: string, call: DriverCall): Promise<RunResult> {
  const { user, query, uris, caPath, password } = call;
  const args = [user, query, ...uris];
  const client = (name: string): string => join(import.meta.dirname, name);
  const go = (command: string, all: readonly string[], env: Record<string, string>): Promise<RunResult> =>
    run(command, all, { env: { NEO4J_PASSWORD: password, ...env }, timeoutMs: 150_000 });
  switch (language) {
    case 'JavaScript':
      return go(process.execPath, [client('neo4j-client.ts'), ...args], { NODE_EXTRA_CA_CERTS: caPath });
    case 'Python':
      return go('python3', [client('neo4j-client.py'), ...args], {
        SSL_CERT_FILE: caPath,
        PYTHONPATH: join(home, 'python'),
      });
    case 'Java': {
      const trust = ['-Djavax.net.ssl.trustStorePassword=changeit', `-Djavax.net.ssl.trustStore=${trustStoreOf(call)}`];
      const speed = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx256m'];
      return go('java', [...speed, ...trust, '-cp', join(home, 'java', '*'), client('Neo4jClient.java'), ...args], {});
    }
    case 'Go': {
      // Its own resolver asks name servers for *.localhost: it gets a hosts file of its own.
      const hosts = join(mkdtempSync(join(call.directory, 'hosts-')), 'hosts');
      writeFileSync(hosts, `127.0.0.1 localhost ${uris.map((uri) => new URL(uri).hostname).join(' ')}\n`);
      const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
      const program = join(home, 'go-client');
      return go('unshare', ['--mount', '/bin/sh', '-c', script, hosts, program, ...args], { SSL_CERT_FILE: caPath });
    }
  }
}

function trustStoreOf({ caPath, directory }: DriverCall): string {
  const store = join(mkdtempSync(join(directory, 'trust-')), 'trust.p12');
  const options = ['-noprompt', '-alias', 'podgate', '-file', caPath, '-keystore', store, '-storepass', 'changeit'];
  const made = spawnSync('keytool', ['-importcert', ...options], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`keytool: ${made.stdout}${made.stderr}`);
  return store;
}
