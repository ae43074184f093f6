import { type ChildProcess, spawn } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { preparedNeo4jHome, preparedPgjdbc } from '../../scripts/setup/cache.mjs';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

/**
 * What real clients see when their worker is replaced (SIGHUP) and its time for old sessions is over: each is told in its
 * own protocol, and goes on with the next worker without an error that it does not expect.
 */
const RESTARTING = 'This connection was closed because the gateway is restarting or shutting down.';
const OLD_SESSIONS_MS = 1_000;
const NEO4J_HOME = preparedNeo4jHome();
const directory = mkdtempSync(join(tmpdir(), 'podgate-through-restart-'));
let program: Program;
const children: ChildProcess[] = [];
const uriOf = (scheme: string, podId: string): string => `${scheme}://${podId}.pods.localhost:${program.httpsPort}`;

/** A page whose script says when its WebSocket is open, and with which code and reason it closes. */
const WEBSITE = `
const { createHash } = require('node:crypto');
const page = \`<!doctype html><script>
const post = (text) => fetch('/told', { method: 'POST', body: text, keepalive: true });
const socket = new WebSocket(location.href.replace('https:', 'wss:'));
socket.onopen = () => post('open');
socket.onclose = ({ code, reason, wasClean }) => post(JSON.stringify({ code, reason, wasClean }));
</script>\`;
const told = [];
const server = require('node:http').createServer((request, response) => {
  if (request.method === 'POST') request.on('data', (text) => told.push(String(text))).on('end', () => response.end());
  else if (request.url === '/told') response.end(JSON.stringify(told));
  else response.writeHead(200, { 'content-type': 'text/html' }).end(page);
});
server.on('upgrade', ({ headers }, socket) => {
  const accept = createHash('sha1').update(headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n');
  socket.on('error', () => {}).resume().on('end', () => socket.end());
});
server.listen(process.env.PORT, '127.0.0.1');`;

/** A gRPC service of one method: it returns an empty message. */
const GRPC_SERVICE = `
require('node:http2').createServer().on('stream', (stream) => {
  stream.on('error', () => {}).resume();
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.alloc(5));
}).listen(process.env.PORT, '127.0.0.1');`;

beforeAll(async () => {
  if (!existsSync(NEO4J_HOME)) throw new Error(`no Neo4j at ${NEO4J_HOME}: node scripts/setup.mjs --test fetches it`);
  const config = join(directory, 'podgate.yaml');
  writeFileSync(config, `drain: { replacedMs: ${OLD_SESSIONS_MS} }\n`);
  program = await Program.start({ workers: 2, env: { NEO4J_HOME, PODGATE_CONFIG: config } });
  const ofProgram = (podId: string, script: string, more: object = {}) => ({
    ...{ pod_id: podId, pod_template: 'podgate/process', command: ['node', '-e', script] },
    networking: { default: { protocol: 'http', port: 8080, ...more } },
  });
  const graph = await program.api('POST', '/v3/pods', { pod_id: 'mygraph', pod_template: 'neo4j' });
  expect(graph.status, JSON.stringify(graph.body)).toBe(200);
  await program.createPod({ pod_id: 'mypg', pod_template: 'postgres' });
  await program.createPod(ofProgram('web', WEBSITE));
  await program.createPod(ofProgram('rpc', GRPC_SERVICE, { backend_protocol: 'h2c' }));
  await program.podStatus('mygraph', 'RUNNING', 120_000);
}, 240_000);
afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
  await program.dispose();
  rmSync(directory, { recursive: true, force: true });
}, 60_000);

function start(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  const client = { child, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (client.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (client.stderr += text));
  child.stdin.on('error', () => undefined);
  return client;
}

async function credentials(podId: string): Promise<{ user: string; password: string }> {
  const { body } = await program.get(`/v3/pods/${podId}/credentials`);
  const { user_username: user, user_password: password } = body.result as Record<string, string>;
  return { user: user ?? '', password: password ?? '' };
}

/** SHA-256 of the key that the gateway proves for this host, as Chromium is told to trust it. */
function pinOf(servername: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: program.httpsPort, servername, ca: program.ca }, () => {
      const der = socket.getPeerX509Certificate()?.raw;
      socket.destroy();
      if (der === undefined) {
        reject(new Error('no certificate'));
        return;
      }
      const key = new X509Certificate(der).publicKey.export({ type: 'spki', format: 'der' });
      resolve(createHash('sha256').update(key).digest('base64'));
    });
    socket.once('error', reject);
  });
}

function chromium(url: string, pin: string) {
  return start('chromium', [
    ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
    ...['--disable-background-networking', '--disable-component-update', `--user-data-dir=${directory}/profile`],
    ...['--host-resolver-rules=MAP *.localhost 127.0.0.1', `--ignore-certificate-errors-spki-list=${pin}`, url],
  ]);
}

/** Replaces each worker, and waits until none of the old ones is left. */
async function replaceWorkers(): Promise<void> {
  const old = new Set(program.children('worker').map(({ pid }) => pid));
  program.signal('SIGHUP');
  await until('the old workers have ended', () => program.children('worker').every(({ pid }) => !old.has(pid)), {
    timeoutMs: 60_000,
  });
}

test('Chromium, pgjdbc, grpc-js and the Neo4j driver continue with the next worker, each notified in its own protocol', async () => {
  const postgres = await credentials('mypg');
  const jdbcUrl =
    `jdbc:postgresql://mypg.pods.localhost:${program.httpsPort}/${postgres.user}?` +
    String(new URLSearchParams({ ...postgres, sslmode: 'verify-full', sslrootcert: program.caPath }));
  const source = join(import.meta.dirname, 'clients/JdbcThroughRestart.java');
  const jdbc = start('java', ['-XX:TieredStopAtLevel=1', '-Xmx256m', '-cp', preparedPgjdbc(), source, jdbcUrl]);

  const graph = await credentials('mygraph');
  const drivers = ['bolt+s', 'neo4j+s'].map((scheme) =>
    start(
      process.execPath,
      [join(import.meta.dirname, 'clients/neo4j-through-restart.ts'), uriOf(scheme, 'mygraph'), graph.user],
      { NODE_EXTRA_CA_CERTS: program.caPath, NEO4J_PASSWORD: graph.password },
    ),
  );

  chromium(uriOf('https', 'web'), await pinOf('web.pods.localhost'));
  const told = async (): Promise<string[]> => {
    const answer = await fetchJson('web', '/told');
    return answer as string[];
  };

  const Rpc = grpc.makeGenericClientConstructor(
    {
      ask: {
        ...{ path: '/test.Rpc/Ask', requestStream: false, responseStream: false },
        ...{ requestSerialize: (value: Buffer) => value, requestDeserialize: (bytes: Buffer) => bytes },
        ...{ responseSerialize: (value: Buffer) => value, responseDeserialize: (bytes: Buffer) => bytes },
      },
    },
    'test.Rpc',
  );
  const rpc = new Rpc(`127.0.0.1:${program.httpsPort}`, grpc.credentials.createSsl(Buffer.from(program.ca)), {
    'grpc.ssl_target_name_override': 'rpc.pods.localhost',
    'grpc.default_authority': 'rpc.pods.localhost',
  });
  const calls = { succeeded: 0, failed: [] as string[], isEnded: false };
  const calling = (async () => {
    while (!calls.isEnded) {
      await new Promise<void>((resolve) => {
        const ask = (rpc as unknown as Record<string, (message: Buffer, done: (error: Error | null) => void) => void>)[
          'ask'
        ];
        ask?.call(rpc, Buffer.alloc(0), (error) => {
          if (error === null) calls.succeeded++;
          else calls.failed.push(error.message);
          resolve();
        });
      });
    }
  })();

  await until('pgjdbc is connected', () => jdbc.stdout.includes('connected'), { timeoutMs: 60_000 });
  await until('the WebSocket is open', async () => (await told()).includes('open'), { timeoutMs: 60_000 });
  for (const driver of drivers) await until('the driver runs', () => driver.stdout.length > 20, { timeoutMs: 60_000 });
  await until('calls succeed', () => calls.succeeded > 20);

  await replaceWorkers();

  jdbc.child.stdin.write('\n');
  await until('pgjdbc has its error', () => jdbc.stdout.split('\n').length > 2);
  jdbc.child.stdin.write('\n');
  await until('pgjdbc goes on', () => jdbc.stdout.includes('\nok\n'), { timeoutMs: 30_000 });
  expect(jdbc.stdout, jdbc.stderr).toContain(`57P01 FATAL: ${RESTARTING}`);

  await until('the page knows that its WebSocket is closed', async () => (await told()).length === 2);
  expect(JSON.parse((await told())[1] ?? '')).toEqual({ code: 1001, reason: RESTARTING, wasClean: true });

  const before = calls.succeeded;
  await until('more calls succeed', () => calls.succeeded > before + 20);
  calls.isEnded = true;
  await calling;
  rpc.close();
  expect(calls.failed).toEqual([]);

  for (const driver of drivers) {
    const length = driver.stdout.length;
    await until('the driver goes on', () => driver.stdout.length > length + 20, { timeoutMs: 30_000 });
    const ended = once(driver.child, 'exit');
    driver.child.stdin.end();
    expect(await ended).toEqual([0, null]);
    expect(driver.stdout, driver.stderr).toMatch(/^\.+$/);
  }
}, 180_000);

function fetchJson(podId: string, path: string): Promise<unknown> {
  const host = `${podId}.pods.localhost`;
  const { httpsPort: port, ca } = program;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, servername: host, ca, ALPNProtocols: ['http/1.1'] }, () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
    );
    let text = '';
    socket.setEncoding('utf8').on('data', (piece: string) => (text += piece));
    socket.on('error', reject);
    socket.on('end', () => {
      const body = /\[.*\]/s.exec(text)?.[0];
      if (body === undefined) reject(new Error(text));
      else resolve(JSON.parse(body));
    });
  });
}
