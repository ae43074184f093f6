import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { processTable } from '../../support/process-table.ts';
import { podgateCommand } from '../../support/podgate-command.ts';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';

const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1') // ${randomUUID()}`;
const HOST = 'echo.pods.localhost';
const WORKERS = 2;
const CLIENTS = 4;
const SESSIONS = 12;
/** Of each kind; more by hand: PODGATE_RESTARTS=20 npx vitest run test/integration/supervisor/restart.test.ts */
const TIMES = Number(process.env['PODGATE_RESTARTS'] ?? 1);

const directory = mkdtempSync(join(tmpdir(), 'podgate-restart-'));
const configPath = join(directory, 'podgate.yaml');
let program: Program;

beforeAll(async () => {
  writeFileSync(configPath, 'drain: { replacedMs: 600000 }\n');
  program = await Program.start({ workers: WORKERS, env: { PODGATE_CONFIG: configPath } });
  await program.createPod({
    pod_id: 'echo',
    pod_template: 'podgate/process',
    command: ['node', '-e', ECHO],
    networking: { default: { protocol: 'tcp', port: 7000 } },
  });
}, 120_000);
afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true });
}, 60_000);

function open(): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: program.httpsPort, servername: HOST, ca: program.ca }, () => {
      socket.off('error', reject).on('error', () => undefined);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

async function echoes(socket: TLSSocket, word: string): Promise<boolean> {
  socket.write(word);
  try {
    const [data] = (await once(socket, 'data', { signal: AbortSignal.timeout(20_000) })) as [Buffer];
    return data.toString() === word;
  } catch {
    return false;
  }
}

/** Sessions that say a word again and again; `cut` is how many of them were ended. */
async function longSessions(): Promise<{ readonly cut: () => number; readonly end: () => void }> {
  const sockets = await Promise.all(Array.from({ length: SESSIONS }, open));
  let cut = 0;
  let isOver = false;
  for (const socket of sockets) {
    socket.once('close', () => (cut += isOver ? 0 : 1));
    void (async () => {
      while (!socket.destroyed) if (!(await echoes(socket, 'still there'))) socket.destroy();
    })();
  }
  return {
    cut: () => cut,
    end() {
      isOver = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Connections one after the other, each of which must get its echo. */
function newConnections() {
  const failures: string[] = [];
  let good = 0;
  let isOver = false;
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (!isOver) {
      const socket = await open().catch((error: unknown) => void failures.push(String(error)));
      if (socket === undefined) continue;
      if (await echoes(socket, 'new')) good++;
      else failures.push('no echo');
      socket.destroy();
    }
  });
  return {
    good: () => good,
    async end(): Promise<readonly string[]> {
      isOver = true;
      await Promise.all(clients);
      return failures;
    },
  };
}

const pidsOf = (role: 'control' | 'worker'): readonly number[] => program.children(role).map(({ pid }) => pid);
const podPid = (): number | undefined => processTable().find(({ commandLine }) => commandLine.includes(ECHO))?.pid;

test.each([
  ['its workers', ['restart', '--workers']],
  ['all of it', ['restart']],
] as const)(
  'a restart of %s under load refuses no connection and cuts none, and does not affect pods',
  async (what, command) => {
    const sessions = await longSessions();
    const connections = newConnections();
    const pod = podPid();
    await until('some have come through', () => connections.good() > 20);
    for (let time = 0; time < TIMES; time++) {
      const [workers, control] = [pidsOf('worker'), pidsOf('control')];
      const answer = await podgateCommand(program, command, { PODGATE_CONFIG: configPath });
      expect(answer.stdout, `${answer.stderr}${program.output}`).toBe('restarted\n');
      const fresh = pidsOf('worker').filter((pid) => !workers.includes(pid));
      expect(fresh.length).toBe(WORKERS);
      expect(pidsOf('control').some((pid) => control.includes(pid))).toBe(what !== 'all of it');
      await until('it is ready', async () => (await program.get('/readyz')).status === 200);
    }
    const before = connections.good();
    await until('more have come through', () => connections.good() > before + 50);
    const failures = await connections.end();
    expect(failures).toEqual([]);
    expect(sessions.cut()).toBe(0);
    expect(podPid()).toBe(pod);
    process.stdout.write(`${TIMES} x ${what}: ${connections.good()} new connections, ${SESSIONS} sessions, 0 lost\n`);
    sessions.end();
    await until('workers without sessions have ended', () => pidsOf('worker').length === WORKERS);
  },
  180_000,
);

test('sessions in a replaced worker are cut when the pod no longer admits them, and when their time is over', async () => {
  writeFileSync(configPath, 'drain: { replacedMs: 3000 }\n');
  expect((await podgateCommand(program, ['restart', '--workers'], { PODGATE_CONFIG: configPath })).stdout).toBe(
    'restarted\n',
  );
  const first = await open();
  expect(await echoes(first, 'word')).toBe(true);
  await podgateCommand(program, ['restart', '--workers'], { PODGATE_CONFIG: configPath });
  const replacedMs = performance.now();
  expect(await echoes(first, 'word')).toBe(true);
  await once(first, 'close');
  expect(performance.now() - replacedMs).toBeGreaterThan(1_000);

  writeFileSync(configPath, 'drain: { replacedMs: 600000 }\n');
  await podgateCommand(program, ['restart', '--workers'], { PODGATE_CONFIG: configPath });
  const second = await open();
  expect(await echoes(second, 'word')).toBe(true);
  await podgateCommand(program, ['restart', '--workers'], { PODGATE_CONFIG: configPath });
  const closed = once(second, 'close');
  const networking = { default: { protocol: 'tcp', port: 7000, ip_allow_list: ['192.0.2.1'] } };
  const answer = await program.api('PUT', '/v3/pods/echo', { networking });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  await closed;
}, 120_000);

test('a configuration that cannot be started changes nothing, and is reported', async () => {
  const workers = pidsOf('worker');
  writeFileSync(configPath, 'drain: { sessionsMs: soon }\n');
  const answer = await podgateCommand(program, ['restart'], {});
  expect(answer.code).toBe(1);
  expect(answer.stderr).toMatch(/not restarted: PODGATE_CONFIG drain.sessionsMs/);
  expect(pidsOf('worker').filter((pid) => workers.includes(pid)).length).toBeGreaterThan(0);
  expect((await program.get('/readyz')).status).toBe(200);
});
