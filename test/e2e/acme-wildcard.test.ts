import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Bind } from '../support/bind.ts';
import { Pebble } from '../support/pebble.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const BASE_HOST = 'gate.example.org';
let directory: string;
let bind: Bind;
let pebble: Pebble;
let program: Program;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-wildcard-'));
  const file = (name: string): string => join(directory, name);
  bind = await Bind.start({ zones: { 'example.org': '' } });
  pebble = await Pebble.start({ dnsServer: bind.address });
  writeFileSync(file('root.pem'), await pebble.root());
  writeFileSync(file('acme-ca.pem'), pebble.ca);
  writeFileSync(
    file('podgate.yaml'),
    `tenants: [{ id: dev, baseHost: ${BASE_HOST} }]
acme:
  directoryUrl: ${pebble.directoryUrl}
  termsOfServiceAgreed: true
  caFile: ${file('acme-ca.pem')}
  dns:
    resolvers: ['${bind.address}']
    nameServers: ['${bind.address}']
    update: { server: '${bind.address}', keyFile: '${bind.folder}/podgate.key' }
`,
  );
  program = await Program.start({ env: { PODGATE_CONFIG: file('podgate.yaml') } });
}, 60_000);
afterAll(async () => {
  await program.dispose();
  await pebble.dispose();
  await bind.dispose();
  rmSync(directory, { recursive: true, force: true });
});

function curl(host: string) {
  return run('curl', [
    ...['-sS', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '20', '--cacert', join(directory, 'root.pem')],
    ...['--resolve', `${host}:${program.httpsPort}:127.0.0.1`, `https://${host}:${program.httpsPort}/v3/healthcheck`],
  ]);
}

test('with dns-01, one certificate exists for the API and for pods that do not exist yet', async () => {
  await until('the API is trusted', async () => (await curl(BASE_HOST)).stdout === '200', { timeoutMs: 60_000 }).catch(
    (error: unknown) => {
      throw new Error(`${program.output.slice(-4_000)}\n${pebble.output.slice(-2_000)}`, { cause: error });
    },
  );
  expect(await curl(`nobody.pods.${BASE_HOST}`)).toMatchObject({ stdout: '404', stderr: '' });
  await program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
  await until('the pod is reached', async () => (await curl(`hello.pods.${BASE_HOST}`)).stdout === '200');
  expect(await bind.texts(`_acme-challenge.pods.${BASE_HOST}`)).toEqual([]);
  expect(program.output).not.toContain(bind.secret);
}, 90_000);
