import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { preparedNeo4jHome } from '../../scripts/setup/cache.mjs';
import { AcmeFaults } from '../support/acme-faults.ts';
import { freePorts } from '../support/free-ports.ts';
import { Pebble } from '../support/pebble.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

let directory: string;
let pebble: Pebble;
let faults: AcmeFaults;
let program: Program;
/** What clients trust: Pebble's root alone. */
let rootPath: string;

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

test('the base host has a certificate before anybody has come', async () => {
  await untilOwn('gate.localhost');
  expect(await curl('gate.localhost')).toBe('404');
});

test('curl: the first client is served with what there is, the next with a certificate of its own', async () => {
  await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
  expect(await issuerOf(host('hello'))).toContain('Podgate');
  await untilOwn(host('hello'));
  expect(await curl(host('hello'))).toBe('200');
  expect(ordersFor(host('hello'))).toBe(1);
});
