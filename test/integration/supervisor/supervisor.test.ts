import { randomUUID } from 'node:crypto';
import { connect as connectTcp } from 'node:net';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { processInfo, processTable } from '../../support/process-table.ts';
import { Program } from '../../support/program.ts';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';

/** Its own mark tells this test's pod from that of another one on this machine. */
const ECHO = `require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1') // ${randomUUID()}`;
const HOST = 'echo.pods.localhost';
const WORKERS = 3;

let program: Program;
beforeAll(async () => {
  program = await Program.start({ workers: WORKERS });
  await program.createPod({
    pod_id: 'echo',
    pod_template: 'podgate/process',
    command: ['node', '-e', ECHO],
    networking: { default: { protocol: 'tcp', port: 7000 } },
  });
});
afterAll(async () => {
  await program.dispose();
});

/** A TLS session to the echo pod that says what it gets back. */
class Session {
  readonly socket: TLSSocket;
  isOpen = true;
  #received = '';

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.setEncoding('utf8').on('data', (text: string) => (this.#received += text));
    socket.on('error', () => undefined);
    socket.on('close', () => (this.isOpen = false));
  }

  static open(): Promise<Session> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: program.httpsPort, servername: HOST, ca: program.ca }, () =>
        resolve(new Session(socket)),
      );
      socket.once('error', reject);
    });
  }

  async echoes(word: string): Promise<boolean> {
    this.#received = '';
    this.socket.write(word);
    return await until(`the echo of ${word}`, () => this.#received === word || !this.isOpen, { timeoutMs: 5_000 }).then(
      () => this.isOpen,
    );
  }
}

const openSessions = (count: number): Promise<Session[]> =>
  Promise.all(Array.from({ length: count }, () => Session.open()));

/** Which processes hold the accepted side of a session, by the socket's inode (proc_net_tcp(5)). */
function carrierOf(session: Session): number | undefined {
  const local = `:${(session.socket.localPort ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((text) => text.trim().split(/\s+/))
    .find((fields) => fields[2]?.endsWith(local) === true && fields[1]?.endsWith(hexPort(program.httpsPort)) === true);
  const inode = line?.[9];
  return program.children('worker').find(({ pid }) => inode !== undefined && holdsSocket(pid, inode))?.pid;
}

const hexPort = (port: number): string => `:${port.toString(16).toUpperCase().padStart(4, '0')}`;

function holdsSocket(pid: number, inode: string): boolean {
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`;
    } catch {
      // Closed meanwhile.
      return false;
    }
  });
}

describe('a worker that is killed', () => {
  test('is replaced, and loses only its own connections', async () => {
    const sessions = await openSessions(24);
    expect((await Promise.all(sessions.map((session) => session.echoes('before')))).every(Boolean)).toBe(true);
    const carriers = sessions.map(carrierOf);
    const victim = program.children('worker')[0]?.pid ?? 0;
    expect(new Set(carriers).size).toBeGreaterThan(1);
    expect(carriers).toContain(victim);

    process.kill(victim, 'SIGKILL');
    await until('the worker is replaced', () => {
      const pids = program.children('worker').map(({ pid }) => pid);
      return pids.length === WORKERS && !pids.includes(victim);
    });
    const alive = await Promise.all(sessions.map((session) => session.echoes('after')));
    expect(alive).toEqual(carriers.map((pid) => pid !== victim));
    await until('every slot has its own worker again', async () => (await program.get('/readyz')).status === 200);
    for (const session of sessions) session.socket.destroy();
  });

  test('loses no new connection: each gets a response, from another worker if necessary', async () => {
    const failures: unknown[] = [];
    let opened = 0;
    let isOver = false;
    const clients = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        try {
          const session = await Session.open();
          opened += 1;
          session.socket.destroy();
        } catch (error) {
          failures.push(error);
        }
      }
    });
    const victim = program.children('worker')[1]?.pid ?? 0;
    const before = opened;
    process.kill(victim, 'SIGKILL');
    await until('the worker is replaced', () => {
      const pids = program.children('worker').map(({ pid }) => pid);
      return pids.length === WORKERS && !pids.includes(victim);
    });
    await until('connections go on', () => opened > before + 50);
    isOver = true;
    await Promise.all(clients);
    // What the victim had accepted and not yet answered is lost with it: one a client at most.
    expect(failures.length).toBeLessThanOrEqual(clients.length);
  });
});

describe('a control process that is killed', () => {
  test('cuts no connection, keeps the pod, and is back', async () => {
    const sessions = await openSessions(6);
    const victim = program.children('control')[0]?.pid ?? 0;
    const pod = processTable().find(({ commandLine }) => commandLine.includes(ECHO));
    process.kill(victim, 'SIGKILL');
    expect((await Promise.all(sessions.map((session) => session.echoes('without control')))).every(Boolean)).toBe(true);
    await until('the control child is back', async () => {
      const [control] = program.children('control');
      return control !== undefined && control.pid !== victim && (await program.get('/readyz')).status === 200;
    });
    expect((await Promise.all(sessions.map((session) => session.echoes('with it')))).every(Boolean)).toBe(true);
    expect(processTable().find(({ commandLine }) => commandLine.includes(ECHO))?.pid).toBe(pod?.pid);
    expect((await program.podStatus('echo', 'RUNNING'))['status_requested']).toBe('ON');
    for (const session of sessions) session.socket.destroy();
  });

  test('lets calls to its port wait, instead of refusing them', async () => {
    const victim = program.children('control')[0]?.pid ?? 0;
    process.kill(victim, 'SIGKILL');
    await until('it is gone', () => processInfo(victim) === null || processInfo(victim)?.state === 'Z');
    expect((await program.get('/healthz')).status).toBe(200);
    await until('the control child is ready', async () => (await program.get('/readyz')).status === 200);
  });
});

describe('a child that cannot be started', () => {
  test('for lack of file descriptors is started once there are some', async () => {
    const limit = (files: number) => run('prlimit', ['--pid', String(program.pid), `--nofile=${files}:4096`]);
    const before = program.output.length;
    const victim = program.children('worker')[0]?.pid ?? 0;
    expect((await limit(3)).code).toBe(0);
    try {
      process.kill(victim, 'SIGKILL');
      await until('a start has failed', () => program.output.slice(before).includes('EMFILE'));
      expect(program.children('worker').map(({ pid }) => pid)).not.toContain(victim);
    } finally {
      await limit(4_096);
    }
    await until('it is replaced', () => program.children('worker').length === WORKERS);
    await until('every slot is accepted on', async () => (await program.get('/readyz')).status === 200);
  });
});

describe('a second instance', () => {
  const start = (env: Record<string, string>) =>
    run(process.execPath, ['main.ts'], { cwd: join(import.meta.dirname, '../../..'), env, timeoutMs: 20_000 });

  test('with the same data directory is rejected with an explanation', async () => {
    const answer = await start({
      PODGATE_DATA_DIR: program.dataDir,
      ...{ PODGATE_HTTPS_PORT: '0', PODGATE_HTTP_PORT: '0', PODGATE_CONTROL_PORT: '0' },
    });
    expect(answer.code).toBe(78);
    expect(answer.stderr).toContain(`another Podgate (pid ${program.pid})`);
  });

  test('with the same ports is rejected with the names of all of them, and leaves nothing behind', async () => {
    const dataDir = `${program.dataDir}-second`;
    try {
      const answer = await start({
        PODGATE_DATA_DIR: dataDir,
        PODGATE_HTTPS_PORT: String(program.httpsPort),
        PODGATE_HTTP_PORT: String(program.httpPort),
        PODGATE_CONTROL_PORT: String(program.controlPort),
      });
      expect(answer.code).toBe(78);
      const { httpsPort, httpPort, controlPort } = program;
      for (const [name, port] of Object.entries({ HTTPS: httpsPort, HTTP: httpPort, CONTROL: controlPort }))
        expect(answer.stderr).toContain(`PODGATE_${name}_PORT: port ${port} is already in use on 127.0.0.1`);
      expect(existsSync(join(dataDir, 'supervisor.pid'))).toBe(false);
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});

test('the gateway also listens on ::1', async () => {
  await new Promise<void>((resolve, reject) => {
    const socket = connectTcp({ host: '::1', port: program.httpsPort }, () => {
      socket.destroy();
      resolve();
    });
    socket.on('error', reject);
  });
});

test('its files are private to this user', () => {
  for (const name of ['ca.pem', 'ca.key', 'admin.token', 'token.key', 'secret.key', 'podgate.db', 'endpoints.json']) {
    expect([name, statSync(join(program.dataDir, name)).mode & 0o077]).toEqual([name, 0]);
  }
  expect(statSync(program.dataDir).mode & 0o077).toBe(0);
});

test('without a terminal, every line of output is JSON, and one reports readiness', () => {
  const lines = program.output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const ready = lines.filter(({ part, msg }) => part === 'supervisor' && msg === 'ready');
  expect(ready).toMatchObject([{ pods: 'processes', ports: { https: program.httpsPort } }]);
});

test('no output contains a token, a password or a key', async () => {
  const { body } = await program.get('/v3/pods/echo');
  expect(body.status).toBe('success');
  expect(program.output).not.toContain(program.token);
  expect(program.output).not.toContain('PRIVATE KEY');
});

describe('a supervisor that is killed', () => {
  test('is followed by its children and the pod, and the next start finds the pod record', async () => {
    const left = [...program.children('worker'), ...program.children('control')];
    program.signal('SIGKILL');
    await until('children and pod have ended', () =>
      left.every(({ pid, startTime }) => {
        const now = processInfo(pid);
        return now === null || now.state === 'Z' || now.startTime !== startTime;
      }),
    );
    expect(processTable().filter(({ commandLine }) => commandLine.includes(ECHO))).toEqual([]);
    await program.start();
    await program.podStatus('echo', 'RUNNING');
  });
});

describe('Ctrl-C', () => {
  test('ends everything within 5 s, including pods, also when it comes twice at once', async () => {
    const pids = [...program.children('worker'), ...program.children('control')].map(({ pid }) => pid);
    const started = performance.now();
    program.signal('SIGINT');
    program.signal('SIGINT');
    await program.ended(5_000);
    expect(performance.now() - started).toBeLessThan(5_000);
    for (const pid of pids) expect(processInfo(pid)).toBeNull();
    expect(processTable().filter(({ commandLine }) => commandLine.includes(ECHO))).toEqual([]);
    expect(program.output).not.toContain('stopping immediately');
  });

  test('leaves the ports free and the record in place: it starts again with the pod', async () => {
    await program.start();
    await program.podStatus('echo', 'RUNNING');
    const session = await Session.open();
    expect(await session.echoes('again')).toBe(true);
    session.socket.destroy();
  });

  test('ends the pods even if the control process was paused', async () => {
    process.kill(program.children('control')[0]?.pid ?? 0, 'SIGSTOP');
    program.signal('SIGINT');
    await program.ended(5_000);
    expect(processTable().filter(({ commandLine }) => commandLine.includes(ECHO))).toEqual([]);
  });
});
