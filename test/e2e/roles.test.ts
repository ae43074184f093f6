import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { createClientAuthority } from '../support/client-authority.ts';
import { pageBlock } from '../support/page-block.ts';
import { freePorts, Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const CONTROL_NAME = 'control.example.org';
const CHANNEL = 'podgate-feed/1';
const page = readFileSync(join(import.meta.dirname, '../../docs/gateways.md'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'podgate-roles-'));
const file = (name: string): string => join(folder, name);
let listenerPort: number;
let control: Program;
const gateways: Program[] = [];

/** The YAML file of the page, with the addresses of this test. */
function writeConfiguration(name: 'control' | 'gateway', changes: object): string {
  const sections = parse(pageBlock(page, name, 'yaml')) as Record<string, Record<string, unknown>>;
  const [section = '', values = {}] = Object.entries(sections)[0] ?? [];
  const absolute: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(values)) absolute[key] = key.endsWith('File') ? file(String(value)) : value;
  writeFileSync(file(`${name}.yaml`), stringify({ [section]: { ...absolute, ...changes } }));
  return file(`${name}.yaml`);
}

async function startGateway(configuration: string): Promise<void> {
  const env = { PODGATE_ROLES: 'gateway', PODGATE_CONFIG: configuration };
  gateways.push(await Program.start({ workers: 2, env }));
}

beforeAll(async () => {
  const made = await run('bash', ['-euc', pageBlock(page, 'certificates')], { cwd: folder });
  expect(made.code, made.stderr).toBe(0);
  [listenerPort] = (await freePorts(1)) as [number];
  const address = `127.0.0.1:${listenerPort}`;
  control = await Program.start({
    env: { PODGATE_ROLES: 'control,spawner,health', PODGATE_CONFIG: writeConfiguration('control', { address }) },
  });
  // Nobody is at the first address: the next is tried.
  const gateway = writeConfiguration('gateway', { addresses: ['127.0.0.1:1', address], serverName: CONTROL_NAME });
  await Promise.all([startGateway(gateway), startGateway(gateway)]);
});

afterAll(async () => {
  await Promise.all(gateways.map((program) => program.dispose()));
  await control.dispose();
  rmSync(folder, { recursive: true, force: true });
});

async function curl({ httpsPort }: Program, host: string, path = '/', ...more: readonly string[]): Promise<string> {
  const { stdout } = await run('curl', [
    ...['-sS', '--max-time', '20', '--cacert', control.caPath, '-w', ' %{http_code}', ...more],
    ...['--resolve', `${host}:${httpsPort}:127.0.0.1`, `https://${host}:${httpsPort}${path}`],
  ]);
  return stdout;
}

describe('gateways without their own control plane', () => {
  it('serve pods and the API of a remote control plane, and store none of its state', async () => {
    await control.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
    for (const gateway of gateways) {
      await until('the route is there', async () => (await curl(gateway, 'hello.pods.localhost')).endsWith(' 200'));
      const token = ['-H', `X-Tapis-Token: ${control.token}`];
      expect(await curl(gateway, 'localhost', '/v3/pods/hello', ...token)).toMatch(/"pod_id":"hello".* 200$/);
    }
  });

  it('count for ?wait=routable, and are named in the connections of a pod and in the metrics', async () => {
    const created = await control.api('POST', '/v3/pods?wait=routable', {
      pod_id: 'waited',
      pod_template: 'podgate/hello',
    });
    expect(created.status).toBe(200);
    // No waiting here: the answer came once both gateways had the route.
    for (const gateway of gateways) expect(await curl(gateway, 'waited.pods.localhost')).toMatch(/ 200$/);
    const { body } = await control.get('/v3/pods/waited/connections');
    const { replicas } = body.result as { replicas: { workers: { worker: number; gateway?: string }[] }[] };
    const names = replicas.flatMap(({ workers }) => workers.map(({ worker, gateway }) => `${gateway} ${worker}`));
    expect(new Set(names).size).toBe(4);
    expect(names).not.toContainEqual(expect.stringContaining('undefined'));
    await until('the control plane has the counters of all four workers', async () => {
      const { stdout } = await run('curl', [
        '-sS',
        '-H',
        `X-Tapis-Token: ${control.token}`,
        `http://127.0.0.1:${control.controlPort}/metrics`,
      ]);
      return stdout.match(/^podgate_connections_accepted_total\{gateway="[^"]+",worker="\d"\}/gm)?.length === 4;
    });
  });

  it('keep serving known routes while the control plane is away, and follow it again', async () => {
    await control.stop();
    for (const gateway of gateways) {
      expect(await curl(gateway, 'nobody.pods.localhost')).toMatch(/ 404$/);
      expect((await gateway.get('/readyz')).status).toBe(200);
    }
    await control.start();
    await control.createPod({ pod_id: 'later', pod_template: 'podgate/hello' });
    for (const gateway of gateways)
      await until('the route is there', async () => (await curl(gateway, 'later.pods.localhost')).endsWith(' 200'));
  });

  it('have probes on the control port, and no API', async () => {
    const [gateway] = gateways as [Program];
    expect((await gateway.get('/healthz')).status).toBe(200);
    expect((await gateway.get('/v3/pods', control.token)).status).toBe(404);
  });
});

describe('the listener for gateways', () => {
  it('rejects a certificate of that CA with another name: its gateway is never ready, and both logs say why', async () => {
    // The control plane's own is from the same authority.
    const [certificateFile, keyFile] = [file(`${CONTROL_NAME}.crt`), file(`${CONTROL_NAME}.key`)];
    const address = `127.0.0.1:${listenerPort}`;
    const changes = { addresses: [address], serverName: CONTROL_NAME, certificateFile, keyFile };
    const PODGATE_CONFIG = writeConfiguration('gateway', changes);
    const stranger = await Program.prepare({ workers: 1, env: { PODGATE_ROLES: 'gateway', PODGATE_CONFIG } });
    try {
      stranger.launch();
      await until('the refusal is in both logs', () => {
        return (
          stranger.output.includes('no control plane can be reached') &&
          control.output.includes('its certificate contains none of the names in gatewayListener.gateways')
        );
      });
      // The process that answers probes may start later than the refusal comes.
      const { status } = await until('probes are answered', () => stranger.get('/readyz'));
      expect(status).toBe(503);
    } finally {
      await stranger.dispose();
    }
  });

  it('admits nobody without a certificate of that CA', async () => {
    const own = { cert: readFileSync(file('edge.example.org.crt')), key: readFileSync(file('edge.example.org.key')) };
    expect(await firstBytes(own)).toContain('"kind":"hello"');
    const foreign = createClientAuthority('Others');
    try {
      for (const credentials of [{}, foreign.issue('/CN=edge.example.org')])
        expect(await firstBytes(credentials)).toBe('');
    } finally {
      foreign.remove();
    }
  });

  it('loads new certificate files without a restart: the former CA is rejected, open connections stay', async () => {
    const [gateway] = gateways as [Program];
    const credentialsOf = (name: string) => ({
      cert: readFileSync(file(`${name}.crt`)),
      key: readFileSync(file(`${name}.key`)),
    });
    const former = { ...credentialsOf('edge.example.org'), ca: readFileSync(file('ca.crt')) };
    // A file that is only half written changes nothing: the listener keeps what it has.
    const certificate = readFileSync(file(`${CONTROL_NAME}.crt`), 'utf8');
    writeFileSync(file(`${CONTROL_NAME}.crt`), certificate.slice(0, certificate.length / 2));
    await until('the log says so', () => control.output.includes('are unusable'), { timeoutMs: 30_000 });
    expect(await firstBytes(former)).toContain('"kind":"hello"');

    const made = await run('bash', ['-euc', pageBlock(page, 'certificates')], { cwd: folder });
    expect(made.code, made.stderr).toBe(0);
    await until(
      'the new authority is in force',
      async () => (await firstBytes(credentialsOf('edge.example.org'))) !== '',
      {
        timeoutMs: 30_000,
        everyMs: 250,
      },
    );
    expect(await firstBytes({ ...former, ca: readFileSync(file('ca.crt')) })).toBe('');
    // The gateways' own feeds were open all the time, and carry changes.
    await control.createPod({ pod_id: 'rotated', pod_template: 'podgate/hello' });
    await until('the route is there', async () => (await curl(gateway, 'rotated.pods.localhost')).endsWith(' 200'));
    // And with the new files, they are let in again after an outage.
    await control.stop();
    await control.start();
    await control.createPod({ pod_id: 'after', pod_template: 'podgate/hello' });
    await until('the route is there', async () => (await curl(gateway, 'after.pods.localhost')).endsWith(' 200'));
  }, 120_000);
});

/** What the listener sends on the feed channel before it closes, or first of all. */
function firstBytes(credentials: object): Promise<string> {
  return new Promise((resolve) => {
    const channel = { host: '127.0.0.1', port: listenerPort, servername: CONTROL_NAME, ALPNProtocols: [CHANNEL] };
    const socket = connect({ ca: readFileSync(file('ca.crt')), ...credentials, ...channel });
    socket.on('data', (chunk: Buffer) => {
      resolve(chunk.toString());
      socket.destroy();
    });
    socket.on('error', () => undefined).once('close', () => resolve(''));
  });
}
