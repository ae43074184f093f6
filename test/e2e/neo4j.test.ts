import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { preparedNeo4jHome } from '../../scripts/setup/cache.mjs';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const NEO4J_HOME = preparedNeo4jHome();
const HOST = 'mygraph.pods.localhost';

let program: Program;
let user: string;
let password: string;

beforeAll(async () => {
  if (!existsSync(NEO4J_HOME))
    throw new Error(`no Neo4j at ${NEO4J_HOME}: run npm test, or node scripts/setup.mjs --test`);
  program = await Program.start({ env: { NEO4J_HOME } });
  await program.api('POST', '/v3/pods', { pod_id: 'mygraph', pod_template: 'neo4j' });
  await program.podStatus('mygraph', 'RUNNING', 120_000);
  const { body } = await program.get('/v3/pods/mygraph/credentials');
  ({ user_username: user, user_password: password } = body.result as { user_username: string; user_password: string });
}, 180_000);
afterAll(async () => {
  await program.dispose();
});

async function cypher(scheme: string, query: string, host = HOST) {
  const client = join(import.meta.dirname, 'clients/neo4j-client.ts');
  const { stdout, stderr } = await run(
    process.execPath,
    [client, `${scheme}://${host}:${program.httpsPort}`, user, query],
    {
      env: { NODE_EXTRA_CA_CERTS: program.caPath, NEO4J_PASSWORD: password },
    },
  );
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as { record?: object; server?: string; code?: string; message?: string };
}

test.each(['bolt+s', 'neo4j+s'])('neo4j-driver runs Cypher over %s', async (scheme) => {
  const answer = await cypher(scheme, 'CREATE (n:Thing {name: "a"}) RETURN n.name AS name, 6 * 7 AS product');
  expect(answer).toMatchObject({ record: { name: 'a', product: 42 }, server: `${HOST}:${program.httpsPort}` });
});

test('cypher-shell runs Cypher over neo4j+s', async () => {
  const shell = join(NEO4J_HOME, 'bin', 'cypher-shell');
  if (!existsSync(shell)) throw new Error(`no cypher-shell at ${shell}`);
  const truststore = join(program.dataDir, 'truststore.p12');
  const imported = await run('keytool', [
    '-importcert',
    '-noprompt',
    '-alias',
    'podgate',
    '-file',
    program.caPath,
    '-keystore',
    truststore,
    '-storepass',
    'changeit',
  ]);
  expect(imported.code, imported.stdout).toBe(0);
  const answer = await run(
    shell,
    ['-a', `neo4j+s://${HOST}:${program.httpsPort}`, '-u', user, '--format', 'plain', 'RETURN 6 * 7 AS product'],
    {
      env: {
        NEO4J_PASSWORD: password,
        JAVA_TOOL_OPTIONS: `-Djavax.net.ssl.trustStore=${truststore} -Djavax.net.ssl.trustStorePassword=changeit`,
      },
    },
  );
  expect(answer.stdout, answer.stderr).toBe('product\n42\n');
});

test('the browser stanza serves HTTP', async () => {
  const host = 'mygraph-browser.pods.localhost';
  const answer = await run('curl', [
    '-sS',
    '--cacert',
    program.caPath,
    '--resolve',
    `${host}:${program.httpsPort}:127.0.0.1`,
    `https://${host}:${program.httpsPort}/`,
  ]);
  expect(JSON.parse(answer.stdout)).toMatchObject({ neo4j_edition: 'community' });
});

test('a stopped Neo4j, and a name nobody has, give drivers their own errors with our sentence', async () => {
  await program.get('/v3/pods/mygraph/stop');
  await program.podStatus('mygraph', 'STOPPED');
  for (const scheme of ['bolt+s', 'neo4j+s']) {
    const answer = await until('the driver is told', async () => {
      const said = await cypher(scheme, 'RETURN 1');
      return said.message?.includes('STOPPED') === true ? said : null;
    });
    expect(answer).toMatchObject({ code: 'Neo.TransientError.General.DatabaseUnavailable' });
    expect(answer.message).toContain('/v3/pods/mygraph/start');
    const unknown = await cypher(scheme, 'RETURN 1', 'nobody.pods.localhost');
    expect(unknown).toMatchObject({ code: 'Neo.ClientError.Database.DatabaseNotFound' });
  }
}, 60_000);

test('where no Neo4j is on the machine the pod is ERROR with a sentence that says what to install', async () => {
  const bare = await Program.start({ env: { NEO4J_HOME: '' } });
  try {
    await bare.api('POST', '/v3/pods', { pod_id: 'mygraph', pod_template: 'neo4j' });
    const pod = await bare.podStatus('mygraph', 'ERROR');
    expect(JSON.stringify(pod['status_container'])).toMatch(/NEO4J_HOME/);
  } finally {
    await bare.dispose();
  }
});
