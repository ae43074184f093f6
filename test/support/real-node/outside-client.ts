import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { preparedNeo4jHome } from '../../../scripts/setup/cache.mjs';
import { type RunResult, run } from '../run.ts';
import { must } from './cluster-network.ts';
import type { PodgateDeployment } from './podgate-deployment.ts';

const STORE_PASSWORD = 'changeit';
const CALL_MS = 90_000;

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/**
 * A machine outside the cluster, whose DNS leads the names of example.org to the load balancer: its programs dial what a
 * user would. They run in mount namespaces of their own, which have another /etc/hosts.
 */
export interface OutsideClient {
  run(command: string, args: readonly string[], options?: Parameters<typeof run>[2]): Promise<RunResult>;
  /** curl, which trusts the installation's certificate; status 0: no answer. */
  get(url: string, timeoutMs?: number): Promise<Answer>;
  /** The API, as the administrator. */
  api(method: string, path: string, body?: unknown): Promise<Answer & { readonly result: unknown }>;
  psql(pod: string, password: string, sql: string): Promise<RunResult>;
  cypher(pod: string, password: string, statement: string): Promise<RunResult>;
}

export async function createOutsideClient(
  podgate: PodgateDeployment,
  folder: string,
  pods: readonly string[],
): Promise<OutsideClient> {
  const token = await podgate.token();
  const hosts = join(folder, 'hosts');
  const names = ['example.org', ...pods.map((pod) => `${pod}.pods.example.org`)];
  await writeFile(hosts, names.map((name) => `${podgate.address} ${name}\n`).join(''));
  const truststore = join(folder, 'truststore.p12');
  const store = ['-keystore', truststore, '-storepass', STORE_PASSWORD];
  await must('keytool', ['-importcert', '-noprompt', '-alias', 'podgate', '-file', podgate.caPath, ...store]);

  const client: OutsideClient = {
    run: (command, args, options) =>
      run('unshare', ['--mount', 'sh', '-c', 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, command, ...args], {
        timeoutMs: CALL_MS,
        ...options,
      }),
    async get(url, timeoutMs = 20_000) {
      return answerOf(await client.run('curl', curl(podgate.caPath, url, timeoutMs, [])));
    },
    async api(method, path, body) {
      const headers = ['-H', `X-Tapis-Token: ${token}`, '-H', 'Content-Type: application/json', '-X', method];
      const data = body === undefined ? [] : ['--data', JSON.stringify(body)];
      const url = `https://example.org/v3${path}`;
      const answer = answerOf(await client.run('curl', curl(podgate.caPath, url, CALL_MS, [...headers, ...data])));
      return { ...answer, result: resultOf(answer.body) };
    },
    psql(pod, password, sql) {
      const target = `host=${pod}.pods.example.org port=443 sslmode=verify-full sslrootcert=${podgate.caPath}`;
      return client.run('psql', [`${target} user=${pod} dbname=${pod}`, '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql], {
        env: { PGPASSWORD: password, PGCONNECT_TIMEOUT: '30' },
      });
    },
    cypher: (pod, password, statement) =>
      client.run(
        join(preparedNeo4jHome(), 'bin', 'cypher-shell'),
        ['-a', `neo4j+s://${pod}.pods.example.org:443`, '-u', 'neo4j', '--format', 'plain', statement],
        {
          env: {
            NEO4J_PASSWORD: password,
            JAVA_TOOL_OPTIONS: `-Djavax.net.ssl.trustStore=${truststore} -Djavax.net.ssl.trustStorePassword=${STORE_PASSWORD}`,
          },
        },
      ),
  };
  return client;
}

function curl(caPath: string, url: string, timeoutMs: number, more: readonly string[]): readonly string[] {
  const bounds = ['--max-time', String(Math.ceil(timeoutMs / 1_000)), '--connect-timeout', '5'];
  return ['-sS', '--cacert', caPath, ...bounds, '--write-out', '\n%{http_code}', ...more, url];
}

function answerOf({ stdout, stderr }: RunResult): Answer {
  const end = stdout.lastIndexOf('\n');
  const status = Number(stdout.slice(end + 1));
  return { status, body: status === 0 ? stderr : stdout.slice(0, end) };
}

function resultOf(body: string): unknown {
  try {
    return (JSON.parse(body) as { result: unknown }).result;
  } catch {
    return null;
  }
}
