import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { preparedNeo4jHome } from '../../scripts/setup/cache.mjs';
import { readNeo4jPackage } from '../../spawner/orchestrator/process/recipes/neo4j/neo4j-package.ts';
import { INSTALL_COMMAND } from '../../spawner/orchestrator/process/recipes/neo4j/neo4j-home.ts';
import { cutAfter, serveRepository, type TestRepository } from '../support/maven-repository.ts';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';
import { askDriver } from './clients/neo4j-drivers.ts';

const JARS = join(preparedNeo4jHome(), 'lib');
const { files, name, version } = readNeo4jPackage();
/** The largest take several reads: those are cut. */
const CUT = files.filter(({ bytes }) => bytes > 5_000_000).map(({ path }) => path);

let directory: string;
let repository: TestRepository;
let program: Program | null = null;

beforeEach(async () => {
  if (!existsSync(JARS)) throw new Error(`no Neo4j at ${JARS}: run npm test, or node scripts/setup.mjs --test`);
  directory = mkdtempSync(join(tmpdir(), 'podgate-neo4j-install-'));
  // Pods run as users of their own.
  chmodSync(directory, 0o755);
  repository = await serveRepository(
    (path) => (files.some((file) => file.path === path) ? join(JARS, basename(path)) : null),
    ({ path }, count) => (CUT.includes(path) && count === 1 ? cutAfter(1_000_000) : null),
  );
});
afterEach(async () => {
  await program?.dispose();
  program = null;
  await repository.close();
  rmSync(directory, { recursive: true });
});

async function start(
  install: 'auto' | 'never',
): Promise<{ readonly program: Program; readonly env: Record<string, string> }> {
  const config = join(directory, 'podgate.yaml');
  writeFileSync(config, `process: {install: ${install}, mavenRepository: "${repository.url}"}\n`);
  const env = { NEO4J_HOME: '', XDG_CACHE_HOME: join(directory, 'cache'), PODGATE_CONFIG: config };
  const started = await Program.start({ workers: 1, env });
  program = started;
  await started.api('POST', '/v3/pods', { pod_id: 'mygraph', pod_template: 'neo4j' });
  return { program: started, env };
}

async function expectCypher(started: Program): Promise<void> {
  const { body } = await started.get('/v3/pods/mygraph/credentials');
  const { user_username: user, user_password: password } = body.result as Record<string, string>;
  const uris = [`neo4j+s://mygraph.pods.localhost:${started.httpsPort}`];
  const options = { uris, user: String(user), password: String(password), caPath: started.caPath, directory };
  const [said] = await askDriver('JavaScript', { ...options, query: 'RETURN 6 * 7 AS product' });
  expect(said).toMatchObject({ record: { product: 42 } });
}

const home = () => join(directory, 'cache', 'podgate', name);

test('the first Neo4j pod on a machine downloads Neo4j, shows size, license and progress, and runs Cypher', async () => {
  const { program: started } = await start('auto');
  const shown = new Set<string>();
  await until(
    'it runs',
    async () => {
      const { body } = await started.get('/v3/pods/mygraph');
      const pod = body.result as { status: string; status_container: { message?: string } | null };
      shown.add(pod.status_container?.message ?? '');
      if (pod.status === 'ERROR') throw new Error(JSON.stringify(pod.status_container));
      return pod.status === 'RUNNING';
    },
    { timeoutMs: 240_000, everyMs: 50 },
  );
  const { body } = await started.get('/v3/pods/mygraph/logs');
  const lines = (body.result as { action_logs: readonly string[] }).action_logs.join('\n');
  expect(lines).toContain(
    `Downloading Neo4j Community ${version} (GPLv3, 128 MB) from process.mavenRepository, once for this machine.`,
  );
  expect(lines).toMatch(/ \d+ % \(\d+ MB\) is here\./);
  expect([...shown].some((message) => message.includes('GPLv3, 128 MB'))).toBe(true);
  await expectCypher(started);
  // What was cut has been resumed, and nothing was fetched twice.
  expect(CUT.length).toBeGreaterThan(0);
  for (const path of CUT) {
    const ranges = repository.requests.filter((request) => request.path === path).map(({ range }) => range);
    expect(ranges).toEqual([null, expect.stringMatching(/^bytes=\d+-$/)]);
  }
  expect(repository.requests.length).toBe(files.length + CUT.length);
  for (const part of [home(), join(home(), 'lib')]) expect(statSync(part).mode & 0o777).toBe(0o755);
}, 300_000);

test('with install: never the pod is in ERROR with the command to run, and starts by itself afterwards', async () => {
  const { program: started, env } = await start('never');
  const pod = await started.podStatus('mygraph', 'ERROR', 60_000);
  const { message } = pod['status_container'] as { message: string };
  expect(message).toBe(
    `No Neo4j is installed on the machine that runs Podgate. Run there: ${INSTALL_COMMAND}. The pod then starts by itself.`,
  );
  expect(repository.requests).toEqual([]);
  const installed = await podgateCommand(started, ['install', 'neo4j', '--yes'], env);
  expect(installed, installed.stderr).toMatchObject({ code: 0 });
  expect(installed.stderr).toContain(`Downloading Neo4j Community ${version} (GPLv3, 128 MB)`);
  expect(installed.stdout).toContain(home());
  await started.podStatus('mygraph', 'RUNNING', 240_000);
  await expectCypher(started);
}, 360_000);
