import { randomUUID, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';
import { startHaproxy, type Haproxy } from '../proxy/support/haproxy.ts';

const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1') // ${randomUUID()}`;
const HOST = 'echo.pods.localhost';
const REPLICAS = 3;
const SESSIONS = 12;
const READINESS_DELAY_MS = 2_000;
const SESSIONS_MS = 3_000;

interface Replica {
  readonly program: Program;
  /** What the load balancer asks: is it ready, and has it its pod? Replicas of a cluster have the same pods; these have their own. */
  readonly health: Server;
  hasPod: boolean;
  /** When it was told to end, of performance.now(). */
  toldMs: number;
}

const directory = mkdtempSync(join(tmpdir(), 'podgate-rolling-'));
const replicas: Replica[] = [];
let haproxy: Haproxy;

beforeAll(async () => {
  const config = join(directory, 'podgate.yaml');
  writeFileSync(
    config,
    [
      'proxyProtocol: { from: [127.0.0.1], policy: use }',
      `drain: { readinessDelayMs: ${READINESS_DELAY_MS}, sessionsMs: ${SESSIONS_MS} }`,
    ].join('\n'),
  );
  for (let count = 0; count < REPLICAS; count++) {
    const program = await Program.start({ workers: 1, env: { PODGATE_CONFIG: config } });
    await program.createPod({
      pod_id: 'echo',
      pod_template: 'podgate/process',
      command: ['node', '-e', ECHO],
      networking: { default: { protocol: 'tcp', port: 7000 } },
    });
    const replica: Replica = { program, health: createServer(), hasPod: true, toldMs: Infinity };
    replica.health.on('request', (_request, response) => {
      void program
        .get('/readyz')
        .then(({ status }) => (replica.hasPod ? status : 503))
        .catch(() => 503)
        .then((status) => response.writeHead(status).end());
    });
    await once(replica.health.listen(0, '127.0.0.1'), 'listening');
    replicas.push(replica);
  }
  haproxy = await startHaproxy(
    replicas.map(({ program, health }, index) => ({
      name: `replica${index}`,
      port: program.httpsPort,
      controlPort: (health.address() as AddressInfo).port,
      options: 'send-proxy-v2',
    })),
  );
  for (let index = 0; index < REPLICAS; index++) await isUp(index);
}, 180_000);
afterAll(async () => {
  await haproxy.stop();
  for (const { program, health } of replicas) {
    await program.dispose();
    health.closeAllConnections();
    health.close();
  }
  rmSync(directory, { recursive: true });
}, 60_000);

function isUp(index: number): Promise<unknown> {
  return until(`replica ${index} is up`, async () => (await haproxy.status())[`replica${index}`]?.startsWith('UP'), {
    timeoutMs: 60_000,
  });
}

function open(): Promise<TLSSocket> {
  const ca = replicas.map(({ program }) => program.ca);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: haproxy.port, servername: HOST, ca }, () => {
      socket.off('error', reject).on('error', () => undefined);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

/** False: it was closed, or is silent. */
async function echoes(socket: TLSSocket, word: string): Promise<boolean> {
  if (socket.destroyed) return false;
  const answer = new Promise<string>((resolve) => {
    const tell = (data?: Buffer): void => {
      socket.off('data', tell).off('close', tell);
      resolve(data === undefined ? '' : data.toString());
    };
    socket.on('data', tell).on('close', tell);
  });
  socket.write(word);
  return (await answer) === word;
}

test('a rolling update of replicas behind HAProxy refuses no connection, and cuts none before its time', async () => {
  const early: string[] = [];
  let cuts = 0;
  const over = new AbortController();
  const isOver = (): boolean => over.signal.aborted;
  /** One that is cut comes again, as clients do. The replica is the one whose certificate it got. */
  const holdSession = async (): Promise<void> => {
    while (!isOver()) {
      const socket = await open().catch((error: unknown) => void early.push(`refused: ${String(error)}`));
      if (socket === undefined) continue;
      const issuer = socket.getPeerCertificate(true).issuerCertificate.fingerprint256;
      const replica = replicas.find(({ program }) => new X509Certificate(program.ca).fingerprint256 === issuer);
      while (!isOver() && (await echoes(socket, 'still there')))
        await new Promise((resolve) => setTimeout(resolve, 50));
      socket.destroy();
      if (isOver()) return;
      cuts++;
      const afterMs = performance.now() - (replica?.toldMs ?? Infinity);
      if (!(afterMs >= READINESS_DELAY_MS + SESSIONS_MS - 250))
        early.push(`cut ${Math.round(afterMs)} ms after SIGTERM of ${replicas.findIndex((each) => each === replica)}`);
    }
  };
  let good = 0;
  const failures: string[] = [];
  const makeNew = async (): Promise<void> => {
    while (!isOver()) {
      const socket = await open().catch((error: unknown) => void failures.push(String(error)));
      if (socket === undefined) continue;
      if (await echoes(socket, 'new')) good++;
      else failures.push('no echo');
      socket.destroy();
    }
  };
  const clients = [...Array.from({ length: SESSIONS }, holdSession), makeNew(), makeNew(), makeNew()];
  await until('some have come through', () => good > 20);
  for (const [index, replica] of replicas.entries()) {
    const { program } = replica;
    replica.toldMs = performance.now();
    program.signal('SIGTERM');
    await program.ended(30_000);
    replica.hasPod = false;
    await program.start();
    await program.podStatus('echo', 'RUNNING');
    replica.toldMs = Infinity;
    replica.hasPod = true;
    await isUp(index);
  }
  const before = good;
  await until('more have come through', () => good > before + 50);
  over.abort();
  await Promise.all(clients);
  expect(failures).toEqual([]);
  expect(early).toEqual([]);
  expect(cuts).toBeGreaterThan(0);
  process.stdout.write(
    `${REPLICAS} replicas rolled: ${good} new connections, 0 lost; ${cuts} sessions cut, in their time\n`,
  );
}, 240_000);
