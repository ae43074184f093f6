import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { preparedNeo4jHome } from '../../scripts/setup/cache.mjs';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';
import { BoltSession } from './clients/bolt-session.ts';
import { askInBrowser } from './clients/neo4j-browser.ts';
import { askDriver, LANGUAGES, type Language, type Said } from './clients/neo4j-drivers.ts';

const NEO4J_HOME = preparedNeo4jHome();
const HOST = 'mygraph.pods.localhost';
const SCHEMES = ['bolt+s', 'neo4j+s'] as const;
const CONNECTIONS_PER_POD = 24;
const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1')`;

let program: Program;
let user: string;
let password: string;
const directory = mkdtempSync(join(tmpdir(), 'podgate-neo4j-'));

beforeAll(async () => {
  if (!existsSync(NEO4J_HOME))
    throw new Error(`no Neo4j at ${NEO4J_HOME}: run npm test, or node scripts/setup.mjs --test`);
  const config = join(directory, 'podgate.yaml');
  writeFileSync(
    config,
    `limits: { connectionsPerPod: ${CONNECTIONS_PER_POD}, connectionsPerAddressAtPod: ${CONNECTIONS_PER_POD} }\n`,
  );
  program = await Program.start({ workers: 1, env: { NEO4J_HOME, PODGATE_CONFIG: config } });
  await program.api('POST', '/v3/pods', { pod_id: 'mygraph', pod_template: 'neo4j' });
  await program.podStatus('mygraph', 'RUNNING', 120_000);
  const { body } = await program.get('/v3/pods/mygraph/credentials');
  ({ user_username: user, user_password: password } = body.result as { user_username: string; user_password: string });
}, 180_000);
afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true });
});

function ask(language: Language, uris: readonly string[], query: string): Promise<readonly Said[]> {
  return askDriver(language, { uris, user, password, query, caPath: program.caPath, directory });
}

const uriOf = (scheme: string, host = HOST): string => `${scheme}://${host}:${program.httpsPort}`;

async function cypher(scheme: string, query: string, host = HOST): Promise<Said> {
  const [said] = await ask('JavaScript', [uriOf(scheme, host)], query);
  return said ?? {};
}

function open(host: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: program.httpsPort, servername: host, ca: program.ca }, () =>
      resolve(socket.off('error', reject).on('error', () => undefined)),
    );
    socket.once('error', reject);
  });
}

test.each(['bolt+s', 'neo4j+s'])('neo4j-driver runs Cypher over %s', async (scheme) => {
  const answer = await cypher(scheme, 'CREATE (n:Thing {name: "a"}) RETURN n.name AS name, 6 * 7 AS product');
  expect(answer).toMatchObject({ record: { name: 'a', product: 42 }, server: `${HOST}:${program.httpsPort}` });
});

test.each(LANGUAGES)(
  'the driver for %s runs Cypher over both schemes',
  async (language) => {
    const uris = SCHEMES.map((scheme) => uriOf(scheme));
    const answers = await ask(language, uris, 'UNWIND range(1, 20000) AS n RETURN n, 6 * 7 AS product');
    const expected = { record: { n: 1, product: 42 }, records: 20_000 };
    expect(answers).toMatchObject([expected, expected]);
  },
  180_000,
);

/** `manifest`: the version is not proposed by the client, but chosen from what the server offers. */
test.each(['4.4', '5.0', '5.4', '5.8', 'manifest'])(
  'Bolt %s passes unchanged: handshake, logon and records',
  async (proposal) => {
    const socket = await open(HOST);
    const session = new BoltSession(socket);
    const version = proposal === 'manifest' ? await session.proposeManifest() : await session.propose(proposal);
    if (proposal === 'manifest') expect(version).toMatch(/^5\.\d+$/);
    else expect(version).toBe(proposal);
    const auth = { scheme: 'basic', principal: user, credentials: password };
    expect(await session.run(version, auth, 'UNWIND range(1, 100) AS n RETURN n')).toBe(100);
    socket.destroy();
  },
);

test("Neo4j Browser's WebSocket: its driver, in Chromium, runs Cypher over both schemes", async () => {
  const uris = SCHEMES.map((scheme) => uriOf(scheme));
  const query = 'RETURN 6 * 7 AS product';
  const answers = await askInBrowser({ uris, user, password, query, ca: program.ca, directory });
  expect(answers).toEqual([{ product: 42 }, { product: 42 }]);
}, 180_000);

/** Of each driver, for what is tried again by itself, for an address that is not let in, and for a name of nobody. */
const EXCEPTIONS: Readonly<Record<Language, { transient: string; forbidden: string; unknown: string }>> = {
  JavaScript: { transient: 'Neo4jError', forbidden: 'Neo4jError', unknown: 'Neo4jError' },
  Python: { transient: 'DatabaseUnavailable', forbidden: 'Forbidden', unknown: 'ClientError' },
  Java: { transient: 'TransientException', forbidden: 'SecurityException', unknown: 'FatalDiscoveryException' },
  Go: { transient: '*errorutil.TransactionExecutionLimit', forbidden: '*db.Neo4jError', unknown: '*db.Neo4jError' },
};

test('a refused client gets the right exception of its driver, with our message, in every language and scheme', async () => {
  const networking = (more: object = {}) => ({ default: { protocol: 'tcp', port: 7687, ...more } });
  const sleep = { pod_template: 'podgate/process', command: ['sleep', '1000'], networking: networking() };
  const create = async (body: object): Promise<void> => {
    const answer = await program.api('POST', '/v3/pods', body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  };
  await create({ ...sleep, pod_id: 'off', status_requested: 'OFF' });
  await create({ ...sleep, pod_id: 'slow' });
  await create({ ...sleep, pod_id: 'fenced', networking: networking({ ip_allow_list: ['192.0.2.1'] }) });
  await program.createPod({ ...sleep, pod_id: 'full', command: ['node', '-e', ECHO] });
  await program.podStatus('slow', 'CREATING_CONTAINER');
  const held = await Promise.all(Array.from({ length: CONNECTIONS_PER_POD }, () => open('full.pods.localhost')));

  const transient = { kind: 'transient', code: 'Neo.TransientError.General.DatabaseUnavailable' } as const;
  const situations = [
    { pod: 'off', ...transient, words: /is not running: its status is STOPPED.*\/v3\/pods\/off\/start/ },
    { pod: 'slow', ...transient, words: /is starting/ },
    { pod: 'full', ...transient, words: /Too many connections/ },
    {
      pod: 'fenced',
      kind: 'forbidden',
      code: 'Neo.ClientError.Security.Forbidden',
      words: /may not connect to this pod/,
    },
    {
      pod: 'nobody',
      kind: 'unknown',
      code: 'Neo.ClientError.Database.DatabaseNotFound',
      words: /No pod has the host name/,
    },
  ] as const;
  const cases = situations.flatMap((situation) => SCHEMES.map((scheme) => ({ ...situation, scheme })));
  const uris = cases.map(({ pod, scheme }) => uriOf(scheme, `${pod}.pods.localhost`));
  const answers = await Promise.all(LANGUAGES.map((language) => ask(language, uris, 'RETURN 1')));
  for (const [index, language] of LANGUAGES.entries()) {
    for (const [at, { pod, scheme, kind, code, words }] of cases.entries()) {
      const said = answers[index]?.[at] ?? {};
      const where = `${language} ${scheme} ${pod}: ${JSON.stringify(said)}`;
      expect(said.code, where).toBe(code);
      expect(said.type, where).toBe(EXCEPTIONS[language][kind]);
      expect(said.retryable, where).toBe(kind === 'transient');
      expect(said.message?.replaceAll('\n', ' '), where).toMatch(words);
    }
  }
  for (const socket of held) socket.destroy();
}, 180_000);

test('podgate cypher runs a statement, and scripts until one fails', async () => {
  const one = await podgateCommand(program, ['cypher', 'mygraph', '-c', 'UNWIND [1, null] AS n RETURN n, "a" AS text']);
  expect(one, one.stderr).toMatchObject({ code: 0 });
  expect(one.stdout).toBe(' n    | text\n------+------\n 1    | "a"\n null | "a"\n(2 rows)\n\n');
  const script = join(directory, 'script.cypher');
  writeFileSync(script, 'RETURN 1 AS one;\nRETURN\n  2 AS two;\nRETURN nothing;\nRETURN 3 AS three;\n');
  const args = ['-c', '"$0" cli/podgate.ts cypher mygraph --json < "$1"', process.execPath, script];
  const several = await run('sh', args, { env: { PODGATE_DATA_DIR: program.dataDir } });
  expect([several.code, several.stdout]).toEqual([1, '{"one":1}\n{"two":2}\n']);
  expect(several.stderr).toContain('Variable `nothing` not defined');
});

test.skipIf(process.platform !== 'linux')(
  'podgate clone of a running Neo4j says what happened, why, and what to do next',
  async () => {
    const failed = await podgateCommand(program, ['clone', 'mygraph', 'earlycopy']);
    await program.api('DELETE', '/v3/pods/earlycopy');
    expect([failed.code, failed.stderr]).toEqual([
      1,
      expect.stringMatching(
        /pod earlycopy is ERROR \(.*The data of pod mygraph could not be copied\. Neo4j Community cannot be copied while it runs: stop it first\..*\); once the cause is gone, try again at once: podgate restart earlycopy/,
      ) as string,
    ]);
  },
);

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

test('a stopped Neo4j pod and an unknown name give the drivers their own errors with our message', async () => {
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
