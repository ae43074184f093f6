import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type TLSSocket } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { processTable } from '../../support/process-table.ts';
import { Program } from '../../support/program.ts';

const MIB = 1024 * 1024;
/** A gigabyte by hand: PODGATE_FLOW_MIB=1024 npx vitest run test/integration/proxy/tcp-flow.test.ts */
const TOTAL = Number(process.env['PODGATE_FLOW_MIB'] ?? 80) * MIB;
const READ_PER_SECOND = 20_000_000;
const READ_EVERY_MS = 20;
/** What a worker may grow by, whatever passes: buffers of two sockets and garbage not yet collected. */
const GROWTH_MAX = 80 * MIB;
const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1')`;
/** Sends so many bytes and counts what it gets, 20 MB a second at the most; says how much that was and ends. */
const POD = `
require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
  const total = ${TOTAL};
  const piece = Buffer.alloc(65536, 7);
  let sent = 0, got = 0, due = 0;
  socket.on('error', () => {});
  const fill = () => { while (sent < total) { sent += piece.length; if (!socket.write(piece)) return socket.once('drain', fill); } };
  const timer = setInterval(() => { due += ${(READ_PER_SECOND * READ_EVERY_MS) / 1000}; socket.resume(); }, ${READ_EVERY_MS});
  socket.on('data', (data) => { got += data.length; if (got > due) socket.pause(); });
  socket.on('close', () => clearInterval(timer));
  socket.on('end', () => { clearInterval(timer); const tell = () => sent < total ? socket.once('drain', tell) : socket.end(String(got).padStart(20)); tell(); });
  fill();
}).listen(process.env.PORT, '127.0.0.1')`;

let program: Program;

beforeAll(async () => {
  program = await Program.start({ workers: 1 });
  const networking = { default: { protocol: 'tcp', port: 7000 } };
  for (const [pod_id, script] of [
    ['bulk', POD],
    ['echo', ECHO],
  ] as const) {
    await program.createPod({ pod_id, pod_template: 'podgate/process', command: ['node', '-e', script], networking });
  }
}, 120_000);
afterAll(async () => {
  await program.dispose();
}, 60_000);

function open(pod: string): Promise<TLSSocket> {
  const servername = `${pod}.pods.localhost`;
  const options = { host: '127.0.0.1', port: program.httpsPort, servername, ca: program.ca, allowHalfOpen: true };
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => resolve(socket.off('error', reject)));
    socket.once('error', reject);
  });
}

function residentBytes(): number {
  const status = readFileSync(`/proc/${program.children('worker')[0]?.pid ?? 0}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

/** ss(8): the established connections of a network namespace, and what timer the kernel runs for each. */
function listSockets(prefix: readonly string[]): readonly string[] {
  const args = [...prefix, 'ss', '-Htnpo', 'state', 'established'];
  return execFileSync('env', args, { encoding: 'utf8' }).split('\n');
}

test('both directions at once, to readers of 20 MB/s: flat memory, no byte lost, half-closed at the end', async () => {
  const socket = await open('bulk');
  const before = residentBytes();
  let most = 0;
  const watching = setInterval(() => (most = Math.max(most, residentBytes())), 200);
  const sinceMs = performance.now();
  let received = 0;
  let tail = '';
  let due = 0;
  const reading = setInterval(() => {
    due += (READ_PER_SECOND * READ_EVERY_MS) / 1000;
    socket.resume();
  }, READ_EVERY_MS);
  socket.on('data', (data: Buffer) => {
    received += data.length;
    tail = (tail + data.toString('latin1')).slice(-20);
    if (received > due) socket.pause();
  });
  const ended = once(socket, 'end');
  const piece = Buffer.alloc(MIB, 9);
  for (let sent = 0; sent < TOTAL; sent += piece.length) if (!socket.write(piece)) await once(socket, 'drain');
  // The client has said its last; the pod goes on, and says its last word after that.
  socket.end();
  await ended;
  clearInterval(reading);
  clearInterval(watching);
  const seconds = (performance.now() - sinceMs) / 1000;
  expect(Number(tail)).toBe(TOTAL);
  expect(received).toBe(TOTAL + 20);
  // It was the readers that were slow.
  expect(seconds).toBeGreaterThan((TOTAL / READ_PER_SECOND) * 0.9);
  const grownMiB = Math.round((most - before) / MIB);
  process.stdout.write(
    `${TOTAL / MIB} MiB each way in ${seconds.toFixed(1)} s: the worker grew by ${grownMiB} MiB at most\n`,
  );
  expect(most - before).toBeLessThan(GROWTH_MAX);
}, 300_000);

test('an idle session is not cut, and both its sockets have TCP keep-alive', async () => {
  const socket = await open('echo');
  const echo = async (word: string): Promise<string> => {
    const answer = once(socket, 'data') as Promise<[Buffer]>;
    socket.write(word);
    return String((await answer)[0]);
  };
  expect(await echo('before')).toBe('before');
  const worker = program.children('worker')[0]?.pid ?? 0;
  // Run as root, the pod and the worker's socket to it are in a network namespace of their own.
  const pod = processTable().find(({ commandLine }) => commandLine.at(-1) === ECHO)?.pid ?? 0;
  const listed = [...listSockets([]), ...listSockets(['nsenter', `--net=/proc/${pod}/ns/net`])];
  const kept = new Set(listed.filter((line) => line.includes(`pid=${worker},`) && line.includes('timer:(keepalive')));
  expect(kept.size, listed.join('\n')).toBe(2);
  await delay(5_000);
  expect(await echo('after')).toBe('after');
  socket.destroy();
});
