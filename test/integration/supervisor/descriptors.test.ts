import { connect, type ClientHttp2Session } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';

const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1')`;
/** Takes requests and answers none of them. */
const SILENT = `require('node:http').createServer(() => {}).listen(process.env.PORT, '127.0.0.1')`;
const FLOOD = 2_600;

let program: Program | null = null;
const opened: { destroy(): void }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) one.destroy();
  await program?.dispose();
  program = null;
});

/** A TLS connection to a pod; resolves at the end of the handshake. */
function openSession(running: Program, pod: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls(
      { host: '127.0.0.1', port: running.httpsPort, servername: `${pod}.pods.localhost`, ca: running.ca },
      () => resolve(socket),
    );
    opened.push(socket);
    socket.on('error', reject);
  });
}

async function echoes(socket: TLSSocket, word: string): Promise<void> {
  let received = '';
  const listen = (text: Buffer): void => void (received += text.toString());
  socket.on('data', listen);
  socket.write(word);
  await until(`the echo of ${word}`, () => received === word, { timeoutMs: 20_000 });
  socket.off('data', listen);
}

/** Connects and says nothing. Resolves when it is connected or refused. */
function bare(port: number): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host: '127.0.0.1', port });
    opened.push(socket);
    socket.on('error', () => resolve(socket));
    socket.once('connect', () => resolve(socket));
  });
}

test('with 1024 descriptors, a flood of 2,600 bare connections cuts no session, ends no worker and blocks nobody', async () => {
  program = await Program.start({ workers: 2, openFiles: 1_024 });
  const running = program;
  await running.createPod({
    pod_id: 'echo',
    pod_template: 'podgate/process',
    command: ['node', '-e', ECHO],
    networking: { default: { protocol: 'tcp', port: 7000 } },
  });
  expect(running.output).toContain('RLIMIT_NOFILE');
  const sessions = await Promise.all(Array.from({ length: 20 }, () => openSession(running, 'echo')));
  await Promise.all(sessions.map((session) => echoes(session, 'before')));
  const workers = running.children('worker').map(({ pid }) => pid);

  await Promise.all(Array.from({ length: FLOOD }, () => bare(running.httpsPort)));
  // Longer than the period of every timer of a worker: none of them may find itself without a descriptor.
  await Promise.all(sessions.map((session) => echoes(session, 'during')));
  await echoes(await openSession(running, 'echo'), 'a new one');
  const metrics = await fetch(`http://127.0.0.1:${running.controlPort}/metrics`);
  expect(await metrics.text()).toContain('podgate_connections_accepted_total');
  expect((await running.get('/readyz')).status).toBe(200);
  await until(
    'the workers have told their counts twice during the flood',
    async () => {
      const text = await (await fetch(`http://127.0.0.1:${running.controlPort}/metrics`)).text();
      const accepted = [...text.matchAll(/^podgate_connections_accepted_total\{.*\} (\d+)$/gm)];
      return accepted.reduce((sum, [, count]) => sum + Number(count), 0) >= FLOOD;
    },
    { timeoutMs: 20_000 },
  );
  await Promise.all(sessions.map((session) => echoes(session, 'after')));
  expect(running.children('worker').map(({ pid }) => pid)).toEqual(workers);
  expect(running.output).not.toContain('EMFILE');
});

test('a worker that runs out of descriptors stops accepting, serves its streams, and accepts again', async () => {
  program = await Program.start({ workers: 1, openFiles: 256 });
  const running = program;
  await running.createPod({ pod_id: 'silent', pod_template: 'podgate/process', command: ['node', '-e', SILENT] });
  await running.createPod({
    pod_id: 'echo',
    pod_template: 'podgate/process',
    command: ['node', '-e', ECHO],
    networking: { default: { protocol: 'tcp', port: 7000 } },
  });
  const [worker] = running.children('worker').map(({ pid }) => pid);
  const session = await openSession(running, 'echo');
  // Each stream has a backend of its own: 270 of them are more than there are descriptors.
  const clients = await Promise.all(Array.from({ length: 3 }, () => openStreams(running, 'silent', 90)));
  await until('it does not accept', () => running.output.includes('not accepting'), { timeoutMs: 20_000 });
  await echoes(session, 'while it is full');
  // In the queue of the socket: neither refused nor lost.
  const waiting = openSession(running, 'echo');
  for (const client of clients) client.destroy();
  await echoes(await waiting, 'after the wait');
  await until('it says that it accepts again', () => running.output.includes('available again'));
  expect(running.children('worker').map(({ pid }) => pid)).toEqual([worker]);
});

function openStreams(running: Program, pod: string, count: number): Promise<ClientHttp2Session> {
  const host = `${pod}.pods.localhost`;
  return new Promise((resolve, reject) => {
    const session = connect(`https://${host}:${running.httpsPort}`, {
      createConnection: () =>
        connectTls({
          host: '127.0.0.1',
          port: running.httpsPort,
          servername: host,
          ca: running.ca,
          ALPNProtocols: ['h2'],
        }),
    });
    opened.push(session);
    session.on('error', reject);
    session.once('remoteSettings', () => {
      for (let stream = 0; stream < count; stream++) session.request({ ':path': '/' }).on('error', () => undefined);
      resolve(session);
    });
  });
}
