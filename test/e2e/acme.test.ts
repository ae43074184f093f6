import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { preparedNeo4jHome } from '../../scripts/setup/cache.mjs';
import { AcmeFaults } from '../support/acme-faults.ts';
import { freePorts } from '../support/free-ports.ts';
import { Pebble } from '../support/pebble.ts';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

let directory: string;
let pebble: Pebble;
let faults: AcmeFaults;
let program: Program;
/** What clients trust: Pebble's root alone. */
let rootPath: string;
/** A Neo4j takes its time: it starts beside the first tests. */
let graphIsUp: Promise<unknown>;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-acme-'));
  const file = (name: string): string => join(directory, name);
  pebble = await Pebble.start({ validityDays: 90 });
  faults = await AcmeFaults.start(pebble);
  rootPath = file('root.pem');
  writeFileSync(rootPath, await pebble.root());
  writeFileSync(file('acme-ca.pem'), faults.ca);
  writeFileSync(
    file('podgate.yaml'),
    `tenants: [{ id: dev, baseHost: gate.localhost }]
acme:
  directoryUrl: ${faults.directoryUrl}
  termsOfServiceAgreed: true
  contacts: [ops@gate.localhost]
  caFile: ${file('acme-ca.pem')}
`,
  );
  program = await Program.prepare({
    workers: 2,
    env: { PODGATE_CONFIG: file('podgate.yaml'), NEO4J_HOME: preparedNeo4jHome() },
    ports: [pebble.tlsPort, pebble.httpPort, ...(await freePorts(1))],
  });
  await program.start();
  await program.api('POST', '/v3/pods', { pod_id: 'mygraph', pod_template: 'neo4j' });
  graphIsUp = program.podStatus('mygraph', 'RUNNING', 150_000);
  // Awaited by the test that needs it.
  graphIsUp.catch(() => undefined);
}, 60_000);
afterAll(async () => {
  await program.dispose();
  await faults.close();
  await pebble.dispose();
  rmSync(directory, { recursive: true, force: true });
});

const host = (pod: string): string => `${pod}.pods.gate.localhost`;
const ordersFor = (name: string): number =>
  faults.requests.filter(({ path, payload }) => path === '/order-plz' && JSON.stringify(payload).includes(name)).length;

/** Who has signed what is served under this name. */
function issuerOf(servername: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: program.httpsPort, host: '127.0.0.1', servername, rejectUnauthorized: false });
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')));
    socket.on('error', reject);
    socket.on('secureConnect', () => {
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      resolve(new X509Certificate(raw).issuer);
    });
  });
}

/** Until both workers serve it. */
async function untilOwn(name: string): Promise<void> {
  await until(
    `${name} has a certificate of its own`,
    async () => {
      const seen = await Promise.all(Array.from({ length: 6 }, () => issuerOf(name)));
      return seen.every((issuer) => issuer.includes('Pebble'));
    },
    { timeoutMs: 60_000, everyMs: 100 },
  ).catch((error: unknown) => {
    throw new Error(`${program.output.slice(-4_000)}\n${pebble.output.slice(-3_000)}`, { cause: error });
  });
}

async function curl(name: string): Promise<string> {
  const { code, stdout, stderr } = await run('curl', [
    ...['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '20', '--cacert', rootPath],
    ...['--resolve', `${name}:${program.httpsPort}:127.0.0.1`, `https://${name}:${program.httpsPort}/`],
  ]);
  return code === 0 ? stdout : stderr;
}

test('the base host has a certificate before any client has connected', async () => {
  await untilOwn('gate.localhost');
  expect(await curl('gate.localhost')).toBe('200');
});

test('curl: the first client is served with the available certificate, the next with one for the pod', async () => {
  await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
  expect(await issuerOf(host('hello'))).toContain('Podgate');
  await untilOwn(host('hello'));
  expect(await curl(host('hello'))).toBe('200');
  expect(ordersFor(host('hello'))).toBe(1);
});

test('psql verifies it in full', async () => {
  await program.createPod({ pod_id: 'mypg', pod_template: 'postgres' });
  await issuerOf(host('mypg'));
  await untilOwn(host('mypg'));
  const { user, password } = await credentials('mypg');
  const conninfo = `host=${host('mypg')} hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=verify-full sslrootcert=${rootPath} user=${user} dbname=postgres`;
  const answer = await run('psql', [conninfo, '-Atc', 'SELECT 6 * 7'], { env: { PGPASSWORD: password } });
  expect(answer.stdout, answer.stderr).toBe('42\n');
});

test('neo4j-driver trusts it over neo4j+s', async () => {
  await graphIsUp;
  await issuerOf(host('mygraph'));
  await untilOwn(host('mygraph'));
  const { user, password } = await credentials('mygraph');
  const client = join(import.meta.dirname, 'clients/neo4j-client.ts');
  const uri = `neo4j+s://${host('mygraph')}:${program.httpsPort}`;
  const answer = await run(process.execPath, [client, user, 'RETURN 6 * 7 AS product', uri], {
    env: { NODE_EXTRA_CA_CERTS: rootPath, NEO4J_PASSWORD: password },
  });
  expect(JSON.parse(answer.stdout), answer.stderr).toMatchObject({ record: { product: 42 } });
});

test('openssl verifies the chain, with a P-256 key, also after a renewal; a running session continues', async () => {
  const name = host('hello');
  const verified = async () => {
    const args = ['s_client', '-connect', `127.0.0.1:${program.httpsPort}`, '-servername', name, '-CAfile', rootPath];
    const { stdout } = await run('openssl', [...args, '-verify_return_error', '-verify_hostname', name], { input: '' });
    expect(stdout).toContain('Verify return code: 0 (ok)');
    const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(stdout)?.[0] ?? '';
    return new X509Certificate(pem);
  };
  const before = await verified();
  expect(before.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: 'prime256v1' });
  const { user, password } = await credentials('mypg');
  const conninfo = `host=${host('mypg')} hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=verify-full sslrootcert=${rootPath} user=${user} dbname=postgres`;
  const session = run('psql', [conninfo, '-Atc', 'SELECT pg_sleep(4)', '-c', 'SELECT 1'], {
    env: { PGPASSWORD: password },
  });
  for (const each of [name, host('mypg')]) {
    expect(await podgateCommand(program, ['certs', 'renew', each])).toMatchObject({ code: 0 });
  }
  await until('another is served', async () => (await verified()).serialNumber !== before.serialNumber, {
    timeoutMs: 30_000,
    everyMs: 200,
  });
  expect((await session).stdout).toBe('\n1\n');
});

describe('a control process that is killed', () => {
  test.each([
    ['before the server hears of the order', '/order-plz'],
    ['when it reads the challenges', '/authZ/'],
    ['when it asks for validation', '/chalZ/'],
    ['when it finalizes', '/finalize-order/'],
    ['when it downloads the certificate', '/certZ/'],
  ])('%s continues after that, without a second order', async (_when, path) => {
    const pod = `killed${path.replaceAll(/[^a-z]/gi, '').toLowerCase()}`;
    await program.createPod({ pod_id: pod, pod_template: 'podgate/hello' });
    const [control] = program.children('control');
    let kills = 0;
    faults.fault = (request) => {
      if (kills > 0 || control === undefined || !request.path.startsWith(path)) return null;
      kills += 1;
      process.kill(control.pid, 'SIGKILL');
      return 'silence';
    };
    await issuerOf(host(pod));
    await untilOwn(host(pod));
    faults.fault = () => null;
    expect(kills).toBe(1);
    // One that the server never heard of, and so was made again, is none too many.
    expect(ordersFor(host(pod))).toBe(path === '/order-plz' ? 2 : 1);
  });
});

test('operators see the certificates, over the API and on the command line', async () => {
  const { status, body } = await program.get('/v3/pods/certificates');
  expect(status).toBe(200);
  const { certificates, budgets } = body.result as {
    certificates: { names: string[]; source: string; not_after: string; next_renewal: string }[];
    budgets: { domain: string; used: number }[];
  };
  const own = certificates.find(({ names }) => names[0] === host('hello'));
  expect(own).toMatchObject({ source: 'per-host', user: 'admin', lapse: 'no', last_error: null, key_readable: true });
  expect(Date.parse(own?.next_renewal ?? '')).toBeLessThan(Date.parse(own?.not_after ?? ''));
  expect(budgets[0]?.used).toBeGreaterThan(3);
  const listed = await podgateCommand(program, ['certs', 'list']);
  expect(listed.stdout).toContain(`${host('hello')}  per-host  good, ends `);
  expect(listed.stdout).toMatch(/budget of gate\.localhost: \d+ of 50 left this week/);
  expect(listed.stdout).toContain('development  good');
  const config = { PODGATE_CONFIG: join(directory, 'podgate.yaml') };
  const token = (await podgateCommand(program, ['token', '--user', 'alice'], config)).stdout.trim();
  expect((await program.get('/v3/pods/certificates', token)).status).toBe(403);
  expect((await podgateCommand(program, ['certs', 'renew', 'nobody.test'])).code).toBe(1);

  const files = ['chain.pem', 'key.pem'].map((name) => join(directory, name));
  expect(await podgateCommand(program, ['certs', 'export', host('hello'), ...files])).toMatchObject({ code: 0 });
  const [chain = '', key = ''] = files.map((name) => readFileSync(name, 'utf8'));
  expect(new X509Certificate(chain).checkPrivateKey(createPrivateKey(key))).toBe(true);
  expect(await podgateCommand(program, ['certs', 'import', ...files])).toMatchObject({ code: 0 });
  const metrics = await (await fetch(`http://127.0.0.1:${program.controlPort}/metrics`)).text();
  expect(metrics).toMatch(/^podgate_certificate_orders_total\{outcome="issued"\} \d/m);
  expect(metrics).toMatch(/^podgate_certificate_seconds_to_expiry\{source="per-host"\} 7\d{6}$/m);
  expect(metrics).toMatch(/^podgate_certificates\{source="imported"\} 1$/m);
});

test('no private key was logged or is readable in the store', async () => {
  expect(program.output).not.toContain('PRIVATE KEY');
  const database = readFileSync(join(program.dataDir, 'podgate.db'), 'latin1');
  expect(database).toContain(host('hello'));
  expect(database).not.toContain('PRIVATE KEY');
});

async function credentials(pod: string): Promise<{ readonly user: string; readonly password: string }> {
  const { body } = await program.get(`/v3/pods/${pod}/credentials`);
  const { user_username: user, user_password: password } = body.result as Record<string, string>;
  return { user: user ?? '', password: password ?? '' };
}
