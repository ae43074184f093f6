import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';

const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1')`;
const WORKERS = 2;
const HUNG_AFTER_MS = 4_000;
/** What the machine of the test may add. */
const SLACK_MS = 20_000;

let program: Program;
let directory: string;
const opened: TLSSocket[] = [];
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-hung-'));
  const file = join(directory, 'podgate.yaml');
  writeFileSync(file, `supervision: {workerHungAfterMs: ${HUNG_AFTER_MS}, controlHungAfterMs: ${HUNG_AFTER_MS}}\n`);
  program = await Program.start({
    workers: WORKERS,
    env: {
      PODGATE_CONFIG: file,
      NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, '../../support/misbehave.mjs')).href}`,
    },
  });
  await program.createPod({
    pod_id: 'echo',
    pod_template: 'podgate/process',
    command: ['node', '-e', ECHO],
    networking: { default: { protocol: 'tcp', port: 7000 } },
  });
});
afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true, force: true });
});
afterEach(() => {
  for (const socket of opened.splice(0)) socket.destroy();
});

function open(): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { host: '127.0.0.1', port: program.httpsPort, servername: 'echo.pods.localhost', ca: program.ca },
      () => resolve(socket),
    );
    opened.push(socket);
    socket.on('error', reject);
  });
}

/** False when it is closed. */
async function echoes(socket: TLSSocket): Promise<boolean> {
  let received = '';
  const listen = (text: Buffer): void => void (received += text.toString());
  socket.on('data', listen);
  socket.write('word');
  await until('an echo or the end', () => received === 'word' || socket.closed, { timeoutMs: SLACK_MS });
  socket.off('data', listen);
  return received === 'word';
}

const pidsOf = (role: 'worker' | 'control'): readonly number[] => program.children(role).map(({ pid }) => pid);

async function replaced(role: 'worker' | 'control', victim: number): Promise<void> {
  const count = role === 'worker' ? WORKERS : 1;
  await until(
    `the ${role} is replaced`,
    async () => {
      const pids = pidsOf(role);
      return pids.length === count && !pids.includes(victim) && (await program.get('/readyz')).status === 200;
    },
    { timeoutMs: HUNG_AFTER_MS + SLACK_MS },
  );
}

test.each([
  ['is stopped', 'SIGSTOP'],
  ['spins', 'SIGWINCH'],
] as const)('a worker that %s is replaced, and new connections are served meanwhile', async (_how, signal) => {
  const [victim = 0] = pidsOf('worker');
  process.kill(victim, signal);
  // What it has accepted before is lost with it.
  if (signal === 'SIGWINCH') await until('it spins', () => program.output.includes('it spins'));
  // Half of them come to the queue of the one that hangs.
  const sessions = await Promise.all(Array.from({ length: 16 }, open));
  await replaced('worker', victim);
  expect(program.output).toContain('does not respond');
  const alive = await Promise.all(sessions.map(echoes));
  expect(alive).toEqual(sessions.map(() => true));
});

test('a control process that is stopped is replaced, and no session is cut', async () => {
  const sessions = await Promise.all(Array.from({ length: 8 }, open));
  const [victim = 0] = pidsOf('control');
  process.kill(victim, 'SIGSTOP');
  await replaced('control', victim);
  expect(await Promise.all(sessions.map(echoes))).toEqual(sessions.map(() => true));
  const metrics = await (await fetch(`http://127.0.0.1:${program.controlPort}/metrics`)).text();
  expect(metrics).toMatch(/podgate_hung_processes_total\{role="control"\} 1/);
});

test('a supervisor that was paused itself kills no process', async () => {
  const before = [...pidsOf('worker'), ...pidsOf('control')];
  program.signal('SIGSTOP');
  await delay(2 * HUNG_AFTER_MS);
  program.signal('SIGCONT');
  await delay(2_000);
  expect([...pidsOf('worker'), ...pidsOf('control')]).toEqual(before);
});

test('a worker with an uncaught error gets a successor and keeps its sessions', async () => {
  const sessions = await Promise.all(Array.from({ length: 16 }, open));
  const before = pidsOf('worker');
  for (const pid of before) process.kill(pid, 'SIGURG');
  await until('each has a successor', () => pidsOf('worker').filter((pid) => !before.includes(pid)).length === WORKERS);
  await until('ready', async () => (await program.get('/readyz')).status === 200);
  expect(await Promise.all(sessions.map(echoes))).toEqual(sessions.map(() => true));
  expect(await echoes(await open())).toBe(true);
  for (const socket of opened.splice(0)) socket.destroy();
  await until('the old ones end once their sessions have', () => pidsOf('worker').length === WORKERS);
});
