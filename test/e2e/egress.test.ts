import { chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canEnterNamespaces } from '../../proxy/socket/network-namespace.ts';
import { tryWalls } from '../../spawner/orchestrator/process/walls.ts';
import { freePorts } from '../support/free-ports.ts';
import { NameServer } from '../support/name-server.ts';
import { ordinaryUser } from '../support/ordinary-user.ts';
import { OutsideNetwork } from '../support/outside-network.ts';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

const isRoot = process.getuid?.() === 0;
const walls = tryWalls({ asRoot: isRoot, canEnter: canEnterNamespaces() });
const [PORT, OTHER_PORT] = [8_080, 8_081];

/** Runs curl for each list of arguments, one after the other, and prints a line of JSON: what each has printed. */
const CURL = `
const { execFile } = require('node:child_process');
const run = (args) => new Promise((done) => {
  const format = '\\n%{http_code} %{http_connect} %{exitcode}';
  execFile('curl', ['-s', '-p', '--max-time', '20', '-w', format, ...args], (error, output) => done(output));
});
(async () => {
  const seen = [];
  for (const args of JSON.parse(process.env.TASK)) seen.push(await run(args));
  console.log(JSON.stringify(seen));
  setInterval(() => undefined, 60_000);
})();
`;

/** Opens tunnels one after the other and keeps them; prints a line of JSON: the door's status for each. */
const HOLD = `
const net = require('node:net');
const { target, count } = JSON.parse(process.env.TASK);
const open = () => new Promise((done) => {
  const socket = net.connect(3128, '127.0.0.1', () => socket.write('CONNECT ' + target + ' HTTP/1.1\\r\\n\\r\\n'));
  socket.once('data', (bytes) => done(String(bytes).slice(9, 12))).once('error', (error) => done(error.code));
});
(async () => {
  const seen = [];
  for (let index = 0; index < count; index++) seen.push(await open());
  console.log(JSON.stringify(seen));
})();
`;

interface Fetched {
  readonly body: string;
  /** Of the target's response; 0 = none. */
  readonly status: number;
  /** Of the door's response. */
  readonly door: number;
}

describe.skipIf(!isRoot || !walls.hasNamespaces)('outbound connections of pods', () => {
  let outside: OutsideNetwork;
  beforeAll(async () => {
    outside = await OutsideNetwork.open([PORT, OTHER_PORT]);
  });
  afterAll(() => outside.close());

  function startNames(): Promise<NameServer> {
    const { address, address6, privateAddress, linkLocalAddress, ownAddress } = outside;
    return NameServer.start({
      'outside.test': [address],
      'both.test': [address6, address],
      'mixed.test': ['127.0.0.1', '::ffff:127.0.0.1', linkLocalAddress, address],
      'inside.test': ['127.0.0.1', '::1', '::ffff:127.0.0.1', '::', ownAddress, linkLocalAddress, privateAddress],
      // First what is allowed, from then on what is not.
      'rebinding.test': (question) => (question === 0 ? [address] : ['127.0.0.1']),
    });
  }

  describe.each(['root', 'an ordinary user'])('of a Podgate that runs as %s', (whose) => {
    let names: NameServer;
    let program: Program;
    let directory: string;
    beforeAll(async () => {
      names = await startNames();
      directory = mkdtempSync(join(tmpdir(), 'podgate-e2e-'));
      const config = join(directory, 'podgate.yaml');
      const user = ordinaryUser();
      const settings = {
        process: { egress: { ports: [PORT], nameServers: [names.address] } },
        limits: { connectionsPerAddressAtPod: 4 },
        quotas: { connectionsPerUser: 6 },
      };
      writeFileSync(config, JSON.stringify(settings));
      for (const path of [directory, config]) if (whose !== 'root') chownSync(path, user.uid, user.gid);
      program = await Program.prepare({
        dataDir: directory,
        ports: await freePorts(3),
        env: { PODGATE_CONFIG: config },
        ...(whose === 'root' ? {} : { user }),
      });
      await program.start();
    });
    afterAll(async () => {
      await program.dispose();
      names.close();
      rmSync(directory, { recursive: true, force: true });
    });

    async function logsOf(podId: string): Promise<string> {
      return ((await program.get(`/v3/pods/${podId}/logs`)).body.result as { logs: string }).logs;
    }

    /** What a pod gets by curl, as its environment makes curl behave. */
    async function fetchedBy(podId: string, calls: readonly (readonly string[])[]): Promise<readonly Fetched[]> {
      const created = await program.api('POST', '/v3/pods', {
        pod_id: podId,
        pod_template: 'podgate/process',
        command: ['node', '-e', CURL],
        environment_variables: { TASK: JSON.stringify(calls) },
      });
      expect(created.status, JSON.stringify(created.body)).toBe(200);
      const line = await until(
        `${podId} has fetched`,
        async () => (/^\[.*\]$/m.exec(await logsOf(podId)) ?? [null])[0],
        { timeoutMs: 60_000 },
      );
      return (JSON.parse(line) as string[]).map((output) => {
        const [, body = '', status, door] = /^([^]*)\n(\d+) (\d+) \d+$/.exec(output) ?? [];
        return { body, status: Number(status), door: Number(door) };
      });
    }

    it('a pod reaches public addresses, by IPv4, IPv6 and name, on the ports that are allowed', async () => {
      const { address, address6 } = outside;
      const fetched = await fetchedBy('downloader', [
        [`http://${address}:${PORT}/`],
        [`http://[${address6}]:${PORT}/`],
        [`http://outside.test:${PORT}/`],
        [`http://both.test:${PORT}/`],
        [`http://mixed.test:${PORT}/`],
        [`http://rebinding.test:${PORT}/`],
        [`http://rebinding.test:${PORT}/`],
        [`http://${address}:${OTHER_PORT}/`],
        [`http://nobody.test:${PORT}/`],
      ]);
      expect(fetched).toEqual([
        { body: `reached ${address}`, status: 200, door: 200 },
        { body: `reached ${address6}`, status: 200, door: 200 },
        { body: `reached ${address}`, status: 200, door: 200 },
        { body: `reached ${address6}`, status: 200, door: 200 },
        { body: `reached ${address}`, status: 200, door: 200 },
        { body: `reached ${address}`, status: 200, door: 200 },
        { body: '', status: 0, door: 403 },
        { body: '', status: 0, door: 403 },
        { body: '', status: 0, door: 502 },
      ]);
    });

    it('no form of an address leads to this machine, its networks or the link', async () => {
      const { ownAddress, privateAddress, linkLocalAddress, address } = outside;
      // They are there, and served: what keeps a pod from them is the door.
      expect(outside.fetch(privateAddress, PORT)).toBe(`reached ${privateAddress}`);
      expect(outside.fetch(linkLocalAddress, PORT)).toBe(`reached ${linkLocalAddress}`);
      expect(outside.fetch(address, PORT)).toBe(`reached ${address}`);
      const hosts = [
        ...[
          '127.0.0.1',
          '127.1.2.3',
          '0.0.0.0',
          '[::1]',
          '[::]',
          '[::ffff:127.0.0.1]',
          '[::ffff:7f00:1]',
          '[::127.0.0.1]',
          '127.0.0.1.',
        ],
        ...[ownAddress, `[::ffff:${ownAddress}]`, privateAddress, `[::ffff:${privateAddress}]`],
        ...[linkLocalAddress, `[::ffff:${linkLocalAddress}]`, '169.254.169.254', '[fe80::1]', '[64:ff9b::7f00:1]'],
        ...['inside.test', 'localhost', 'hello.pods.localhost'],
      ];
      // Given to the door as they are: curl itself would know better for some.
      const raw = ['2130706433', '0x7f000001', '0x7f.1', '127.1', '017700000001'];
      const door = (host: string): string[] => ['--noproxy', '', '--connect-to', `::${host}:${PORT}`, 'http://x/'];
      const fetched = await fetchedBy('prying', [...hosts, ...raw].map(door));
      expect(fetched.map(({ door: status }) => status)).toEqual([...hosts.map(() => 403), ...raw.map(() => 400)]);
      expect(fetched.every(({ status, body }) => status === 0 && body === '')).toBe(true);
    });

    it('tunnels count against the limits of the pod and its owner, and are released', async () => {
      const hold = async (podId: string): Promise<readonly string[]> => {
        await program.api('POST', '/v3/pods', {
          pod_id: podId,
          pod_template: 'podgate/process',
          command: ['node', '-e', HOLD],
          environment_variables: { TASK: JSON.stringify({ target: `${outside.address}:${PORT}`, count: 5 }) },
        });
        return until(`${podId} has tunnels`, async () => {
          const [line] = /^\[.*\]$/m.exec(await logsOf(podId)) ?? [];
          return line === undefined ? null : (JSON.parse(line) as string[]);
        });
      };
      expect(await hold('greedy')).toEqual(['200', '200', '200', '200', '503']);
      // What the owner has left.
      expect(await hold('second')).toEqual(['200', '200', '503', '503', '503']);
      await program.api('DELETE', '/v3/pods/greedy');
      await until('its tunnels are gone', async () => (await program.get('/v3/pods/greedy')).status === 404);
      await program.api('DELETE', '/v3/pods/second');
      await until('its tunnels are gone', async () => (await program.get('/v3/pods/second')).status === 404);
      expect(await hold('third')).toEqual(['200', '200', '200', '200', '503']);
      await program.api('DELETE', '/v3/pods/third');
    });

    it('doctor connects as a pod would', async () => {
      const { address, privateAddress } = outside;
      const doctor = async (target: string): Promise<string> =>
        (
          await podgateCommand(program, ['doctor', '--egress', target], {
            PODGATE_CONFIG: join(directory, 'podgate.yaml'),
          })
        ).stdout;
      expect(await doctor(`outside.test:${PORT}`)).toContain(
        `ok    egress: Pods reach outside.test:${PORT} (${address}).`,
      );
      expect(await doctor(`${privateAddress}:${PORT}`)).toContain('FAIL  egress: Pods must not connect to');
      expect(await doctor(`${address}:${OTHER_PORT}`)).toContain(`port ${OTHER_PORT} is not allowed`);
    });

    it('counts tunnels, and logs each with the pod and the target', async () => {
      const { address } = outside;
      await fetchedBy('counted', [[`http://outside.test:${PORT}/`], [`http://127.9.9.9:${PORT}/`, '--noproxy', '']]);
      const log = (): Record<string, unknown>[] =>
        readFileSync(join(directory, 'access.log'), 'utf8')
          .split('\n')
          .filter((line) => line.includes('"kind":"egress"') && line.includes('"pod":"counted"'))
          .map((line) => JSON.parse(line) as Record<string, unknown>)
          // Two workers write them.
          .sort((a, b) => Number(a['refused'] !== null) - Number(b['refused'] !== null));
      await until('both are logged', () => log().length === 2);
      expect(log()).toEqual([
        expect.objectContaining({
          tenant: 'dev',
          target: `outside.test:${PORT}`,
          targetAddress: address,
          end: 'finished',
          refused: null,
        }),
        expect.objectContaining({
          target: `127.9.9.9:${PORT}`,
          targetAddress: null,
          end: 'refused',
          refused: 'egress.address',
        }),
      ]);
      const metrics = async (): Promise<string> =>
        (await fetch(`http://127.0.0.1:${program.controlPort}/metrics`)).text();
      await until('it is counted', async () =>
        /podgate_egress_tunnels_total\{[^}]*outcome="connected"\} [1-9]/.test(await metrics()),
      );
      expect(await metrics()).toMatch(/podgate_bytes_total\{[^}]*protocol="egress"/);
    });
  });
});
