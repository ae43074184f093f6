import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import type { Observation } from '../../../core/workloads.ts';
import type { ProcessOrchestratorOptions } from '../../../spawner/orchestrator/process/options.ts';
import { becomes, becomesAbsent, ensured, never, observed, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { podSpec } from '../../support/pod-records.ts';
import { processesWithVariable, processInfo, processTable } from '../../support/process-table.ts';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';
import {
  asRoot,
  portTo,
  processOptions,
  processSpec,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
  walls,
} from './process-harness.ts';

const OUTPUT_MAX_BYTES = 64 * 1024;

const AS_USER = 'under our own user';

describe('programs run as processes', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  let options: ProcessOrchestratorOptions;
  let running: RunningOrchestrator;

  beforeAll(() => {
    options = processOptions(root, { limits: { outputMaxBytes: OUTPUT_MAX_BYTES, listenersCheckMs: 50 } });
    running = runProcessOrchestrator(options);
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });

  const orchestrator = () => running.orchestrator;
  const logsOf = (ref: WorkloadRef) => orchestrator().logs(ref, { tailBytes: 10_000_000 }, never());
  const processesOf = (ref: WorkloadRef) =>
    processesWithVariable('PODGATE_WORKLOAD').filter(({ value }) =>
      value.startsWith(`${options.installation}/${ref.uid}/`),
    );
  async function removed(ref: WorkloadRef) {
    await orchestrator().remove(ref, { data: 'delete', run: 99 }, never());
    await becomesAbsent(orchestrator(), ref);
  }

  it('have a clean environment: the usual variables, the ports, the user’s variables, and none of ours', async () => {
    process.env['PODGATE_TEST_SECRET'] = 'ours';
    const networking = {
      default: { protocol: 'http', port: 1, ipAllowList: [] },
      metrics: { protocol: 'local_only', port: 1, ipAllowList: [] },
    } as const;
    const pod = scriptPod(`console.log(JSON.stringify({ ...process.env, cwd: process.cwd() })); ${SERVE}`, {
      networking,
      environmentVariables: { GREETING: 'hello', PORT: '1', PODGATE_WORKLOAD: 'forged' },
    });
    await ensured(orchestrator(), pod);
    const seen = await observed(
      orchestrator(),
      pod,
      'listening on both ports',
      (each): each is Extract<Observation, { kind: 'workload' }> =>
        each.kind === 'workload' && Object.keys(each.addresses).length === 2,
    );
    const { default: main, metrics } = seen.addresses;
    const printed = JSON.parse(await logsOf(pod)) as Record<string, string>;
    const home = join(root, 'pods', 'volumes', pod.uid);
    expect(printed).toEqual({
      PATH: expect.stringContaining('/usr/bin') as string,
      HOME: home,
      DATA_DIR: home,
      cwd: home,
      PWD: home,
      LANG: 'C.UTF-8',
      TZ: 'UTC',
      GREETING: 'hello',
      PORT: String(main?.port),
      PORT_DEFAULT: String(main?.port),
      PORT_METRICS: String(metrics?.port),
      PODGATE_WORKLOAD: `${options.installation}/${pod.uid}/1/1`,
    });
    await removed(pod);
  });

  it('are ready as soon as they listen, and reported within a moment', async () => {
    // The best of a few: what a busy machine adds is not ours.
    const toldAfterMs = [];
    for (let turn = 0; turn < 5; turn += 1) toldAfterMs.push(await readinessLagMs());
    expect(Math.min(...toldAfterMs)).toBeLessThan(100);
  });

  /** From the moment a program listens to the moment it is said to be ready. */
  async function readinessLagMs(): Promise<number> {
    const pod = scriptPod(`
      setTimeout(() => {
        const server = require('node:net').createServer((c) => c.end());
        server.listen(process.env.PORT, '127.0.0.1', () => console.log(Date.now()));
      }, 100);
    `);
    const end = new AbortController();
    const readyAt = (async () => {
      for await (const event of orchestrator().watch(end.signal)) {
        if (event.podId !== pod.podId) continue;
        const seen = await orchestrator().observe(pod, never());
        if (seen.kind === 'workload' && seen.phase === 'ready') return Date.now();
      }
      return Infinity;
    })();
    await ensured(orchestrator(), pod);
    const lagMs = (await readyAt) - Number(await logsOf(pod));
    end.abort();
    await removed(pod);
    return lagMs;
  }

  it('show a stanza once it listens, ready or not', async () => {
    const networking = {
      default: { protocol: 'http', port: 1, ipAllowList: [] },
      later: { protocol: 'tcp', port: 1, ipAllowList: [] },
    } as const;
    const script = `
      const net = require('node:net');
      net.createServer((c) => c.end()).listen(process.env.PORT, '127.0.0.1');
      setTimeout(() => net.createServer((c) => c.end()).listen(process.env.PORT_LATER, '127.0.0.1'), 200);
    `;
    const pod = scriptPod(script, { networking });
    await ensured(orchestrator(), pod);
    const first = await becomes(orchestrator(), pod, 'ready');
    expect(Object.keys(first.addresses)).toEqual(['default']);
    await until('the second stanza appears', async () => {
      const seen = await becomes(orchestrator(), pod, 'ready');
      return seen.addresses['later'];
    });
    await removed(pod);
  });

  it.each([
    ['process.exit(7)', { exitCode: 7, signal: null }, 'exited with code 7'],
    ['process.kill(process.pid, "SIGKILL")', { exitCode: null, signal: 'SIGKILL' }, 'killed by SIGKILL'],
    ['process.kill(process.pid, "SIGSEGV")', { exitCode: null, signal: 'SIGSEGV' }, 'killed by SIGSEGV'],
  ])('that end by %s are reported accordingly', async (script, ended, message) => {
    const pod = scriptPod(script);
    await ensured(orchestrator(), pod);
    const seen = await becomes(orchestrator(), pod, 'crashing');
    expect(seen).toMatchObject({ ...ended, message: `${message}, ${seen.restarts + 1} times in a row` });
    await removed(pod);
  });

  it('that cannot be found are reported in their log', async () => {
    const pod = workloadSpec(processSpec(['no-such-program', 'x']));
    await ensured(orchestrator(), pod);
    expect(await becomes(orchestrator(), pod, 'crashing')).toMatchObject({ exitCode: 127 });
    expect(await logsOf(pod)).toContain('no-such-program: not found');
    await removed(pod);
  });

  it('are programs, never interpreted by the shell that starts them', async () => {
    const pod = workloadSpec(processSpec(['exit', '0']));
    await ensured(orchestrator(), pod);
    expect(await becomes(orchestrator(), pod, 'crashing')).toMatchObject({ exitCode: 127 });
    await removed(pod);
  });

  it('get their arguments unchanged', async () => {
    const args = ['a b', '$HOME', '"', "'", '*', '', '-n', 'ä\n'];
    const command = [process.execPath, '-e', 'console.log(JSON.stringify(process.argv.slice(1)))', '--'];
    const pod = workloadSpec({ ...processSpec(command), arguments: args });
    await ensured(orchestrator(), pod);
    await becomes(orchestrator(), pod, 'completed');
    expect(JSON.parse(await logsOf(pod))).toEqual(args);
    await removed(pod);
  });

  it('find what they left in their working directory at the next start, until they are deleted', async () => {
    const pod = scriptPod(
      "require('node:fs').appendFileSync('starts', '.'); console.log(require('node:fs').statSync('starts').size);",
    );
    await ensured(orchestrator(), pod);
    await becomes(orchestrator(), pod, 'completed');
    await orchestrator().remove(pod, { data: 'keep', run: 1 }, never());
    await becomesAbsent(orchestrator(), pod);
    await ensured(orchestrator(), { ...pod, run: 2 });
    await becomes(orchestrator(), pod, 'completed');
    expect(await logsOf(pod)).toBe('2\n');
    await removed(pod);
    expect(existsSync(join(root, 'pods', 'volumes', pod.uid))).toBe(false);
  });

  it('become ready again after a crash', async () => {
    // Crashes until its fourth start.
    const script = `
      const fs = require('node:fs');
      const file = process.env.DATA_DIR + '/starts';
      fs.appendFileSync(file, '.');
      if (fs.statSync(file).size < 4) process.exit(9);
    `;
    const pod = scriptPod(script + SERVE, { persistentVolume: true });
    await ensured(orchestrator(), pod);
    await becomes(orchestrator(), pod, 'crashing');
    expect(await becomes(orchestrator(), pod, 'ready')).toMatchObject({ restarts: 3, message: '', exitCode: 9 });
    await removed(pod);
  });

  it('lose their addresses at once when they are killed, and start again', async () => {
    const pod = scriptPod(SERVE);
    await ensured(orchestrator(), pod);
    await becomes(orchestrator(), pod, 'ready');
    const victim = processesOf(pod).find(({ pid }) => processInfo(pid)?.commandLine[0] === process.execPath);
    if (victim === undefined) throw new Error('the program does not run');
    process.kill(victim.pid, 'SIGKILL');
    const down = await becomes(orchestrator(), pod, 'starting');
    expect(down).toMatchObject({ addresses: {}, signal: 'SIGKILL', message: 'killed by SIGKILL' });
    expect(await becomes(orchestrator(), pod, 'ready')).toMatchObject({ restarts: 1 });
    await removed(pod);
  });

  it('leave no program behind when their supervising shell is killed', async () => {
    const pod = scriptPod(SERVE);
    await ensured(orchestrator(), pod);
    await becomes(orchestrator(), pod, 'ready');
    const before = processesOf(pod);
    const shell = before.find(({ pid }) => processInfo(pid)?.commandLine[0] === '/bin/sh');
    if (shell === undefined) throw new Error('the shell does not run');
    process.kill(shell.pid, 'SIGKILL');
    await until('it runs anew', async () => {
      const seen = await orchestrator().observe(pod, never());
      return seen.kind === 'workload' && seen.phase === 'ready' && seen.restarts === 1;
    });
    const after = new Set(processesOf(pod).map(({ pid }) => pid));
    for (const { pid } of before) expect(after).not.toContain(pid);
    await removed(pod);
  });

  it('are ended with everything that has left their group and session', async () => {
    const script = `
      const { spawn } = require('node:child_process');
      const stubborn = "process.on('SIGTERM', () => {}); process.on('SIGHUP', () => {}); setInterval(() => {}, 1000)";
      const middle = "require('node:child_process').spawn(process.execPath, ['-e', process.argv[1]]," +
        " { detached: true, stdio: 'ignore' }).unref()";
      spawn(process.execPath, ['-e', middle, stubborn], { detached: true, stdio: 'ignore' });
    `;
    const pod = scriptPod(script + SERVE);
    await ensured(orchestrator(), pod);
    await becomes(orchestrator(), pod, 'ready');
    const daemon = await until('the daemon has left', () =>
      processesOf(pod).find(({ pid }) => {
        const info = processInfo(pid);
        return info?.commandLine[2]?.startsWith('process.on') === true && processInfo(info.parent)?.pid === info.parent;
      }),
    );
    await removed(pod);
    // Whoever reaps orphans on this machine may take a moment.
    expect(processInfo(daemon.pid)?.state ?? 'Z').toBe('Z');
    expect(processesOf(pod)).toEqual([]);
  });

  it('are killed if they ignore SIGTERM or are stopped', async () => {
    const deaf = scriptPod(`process.on('SIGTERM', () => {}); ${SERVE}`);
    const stopped = scriptPod(`${SERVE} setTimeout(() => process.kill(process.pid, 'SIGSTOP'), 300)`);
    await Promise.all([deaf, stopped].map((pod) => ensured(orchestrator(), pod)));
    await Promise.all([deaf, stopped].map((pod) => becomes(orchestrator(), pod, 'ready')));
    await until('it has stopped', () => processesOf(stopped).some(({ pid }) => processInfo(pid)?.state === 'T'));
    const begunMs = performance.now();
    await Promise.all([removed(deaf), removed(stopped)]);
    expect(performance.now() - begunMs).toBeLessThan(5_000);
  });

  it('leave no zombies', async () => {
    const pods = Array.from({ length: 5 }, () => scriptPod('process.exit(0)'));
    await Promise.all(pods.map((pod) => ensured(orchestrator(), pod)));
    await Promise.all(pods.map((pod) => becomes(orchestrator(), pod, 'completed')));
    expect(processTable().filter((each) => each.parent === process.pid && each.state === 'Z')).toEqual([]);
    await Promise.all(pods.map((pod) => removed(pod)));
  });

  it('cannot fill the disk with output; the last of it stays', async () => {
    const script = `
      const line = 'x'.repeat(99) + '\\n';
      for (let i = 0; i < 50000; i += 1) require('node:fs').writeSync(1, line);
      console.error('the last line');
      ${SERVE}
    `;
    const pod = scriptPod(script);
    await ensured(orchestrator(), pod);
    await becomes(orchestrator(), pod, 'ready');
    const directory = join(root, 'pods', 'workloads', pod.uid, 'log');
    await until('the log is short again', () => {
      const logs = readdirSync(directory).filter((name) => name.startsWith('output'));
      return logs.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0) <= OUTPUT_MAX_BYTES;
    });
    // It comes by another pipe than the lines before it.
    const printed = await until('the last line is there', async () => {
      const text = await logsOf(pod);
      return text.endsWith('the last line\n') ? text : null;
    });
    expect(printed.length).toBeGreaterThan(OUTPUT_MAX_BYTES / 4);
    expect(printed.split('\n')).toContain('x'.repeat(99));
    expect(printed).toContain('[some output was dropped here]\n');
    // Bytes, from the beginning of a line.
    expect(await orchestrator().logs(pod, { tailBytes: 20 }, never())).toBe('the last line\n');
    await removed(pod);
  });

  describe('ports, where pods share the network of the machine', () => {
    const shared = { walls: { ...walls, hasNamespaces: false } };
    const strangers: Server[] = [];
    const place = temporaryRoot();
    let sharing: RunningOrchestrator;
    beforeAll(() => {
      sharing = runProcessOrchestrator(processOptions(place.root, shared));
    });
    afterAll(async () => {
      strangers.forEach((server) => server.close());
      await sharing.close();
      place.remove();
    });
    const orchestrator = () => sharing.orchestrator;
    const printed = (ref: WorkloadRef) => orchestrator().logs(ref, { tailBytes: 10_000 }, never());
    async function removed(ref: WorkloadRef) {
      await orchestrator().remove(ref, { data: 'delete', run: 99 }, never());
      await becomesAbsent(orchestrator(), ref);
    }

    async function occupy(port: number): Promise<void> {
      const server = createServer((socket) => socket.end());
      strangers.push(server);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, '127.0.0.1', resolve);
      });
    }

    it('held by another program are not assigned', async () => {
      const first = 31_000 + (process.pid % 400) * 4;
      for (const port of [first, first + 1, first + 3]) await occupy(port);
      const place = temporaryRoot();
      const narrow = runProcessOrchestrator(
        processOptions(place.root, { ...shared, limits: { portRange: [first, first + 3] } }),
      );
      const pod = scriptPod(SERVE);
      await ensured(narrow.orchestrator, pod);
      const seen = await becomes(narrow.orchestrator, pod, 'ready');
      const ownerUid: unknown = asRoot ? expect.any(Number) : process.getuid?.();
      expect(seen.addresses).toEqual({ default: { address: '127.0.0.1', port: first + 2, service: null, ownerUid } });
      const second = await narrow.orchestrator.ensure(scriptPod(SERVE), never());
      expect(second).toMatchObject({ kind: 'failed', retryable: true });
      await narrow.close();
      place.remove();
    });

    it('taken by another program meanwhile never make a pod ready', async () => {
      const pod = scriptPod('console.log(process.env.PORT); setInterval(() => {}, 1000)');
      await ensured(orchestrator(), pod);
      const port = await until('the port is known', async () => Number(await printed(pod)) || null);
      await occupy(port);
      const seen = await until('the stranger is noticed', async () => {
        const now = await becomes(orchestrator(), pod, 'starting');
        return now.message === '' ? null : now;
      });
      expect(seen.message).toBe(`port ${port} is used by a program that does not belong to the pod`);
      expect(seen.addresses).toEqual({});
      await removed(pod);
    });

    it('are different for many pods that start at once', async () => {
      const pods = Array.from({ length: 8 }, () => scriptPod(SERVE));
      await Promise.all(pods.map((pod) => ensured(orchestrator(), pod)));
      const seen = await Promise.all(pods.map((pod) => becomes(orchestrator(), pod, 'ready')));
      expect(new Set(seen.map(({ addresses }) => addresses['default']?.port)).size).toBe(pods.length);
      await Promise.all(pods.map((pod) => removed(pod)));
    });
  });

  it('that are hello pods serve a page to browsers and JSON to other clients', async () => {
    const pod = workloadSpec({});
    await ensured(orchestrator(), pod);
    const port = await portTo((await becomes(orchestrator(), pod, 'ready')).addresses['default']);
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    expect(await answer.json()).toMatchObject({ message: `Hello from ${pod.podId}`, pod: pod.podId });
    const page = await fetch(`http://127.0.0.1:${port}/`, { headers: { accept: 'text/html' } });
    expect(await page.text()).toContain(`<h1>Hello from ${pod.podId}</h1>`);
    await removed(pod);
  });

  it('need a command when they are podgate/process pods', async () => {
    const spec = podSpec({ template: 'podgate/process', writtenTemplate: 'podgate/process' });
    const result = await orchestrator().ensure(workloadSpec(spec), never());
    expect(result).toMatchObject({ kind: 'failed', retryable: false });
  });

  // Pods have users of their own only where we are root; CI is.
  describe.skipIf(!asRoot)('under root', () => {
    it('run as separate users, who cannot read each other’s files or ours', async () => {
      const secretive = scriptPod(
        `require('node:fs').writeFileSync('secret', 'x'); console.log(process.getuid(), process.getgid(), process.getgroups()); ${SERVE}`,
        { environmentVariables: { SECRET: 'mine' } },
      );
      await ensured(orchestrator(), secretive);
      await becomes(orchestrator(), secretive, 'ready');
      const directory = join(root, 'pods', 'workloads', secretive.uid);
      const victimPid = processesOf(secretive)[0]?.pid ?? 0;
      const paths = [
        `${root}/pods/volumes/${secretive.uid}/secret`,
        `${root}/pods/volumes/${secretive.uid}`,
        `${directory}/home`,
        `${directory}/workload.json`,
        `${directory}/log/output.log`,
        `${directory}/log`,
        `${directory}/status`,
        `${root}/pods/workloads`,
        `${root}/pods/volumes`,
        `/proc/${victimPid}/environ`,
        `/proc/${process.pid}/environ`,
      ];
      const nosy = scriptPod(`
        const fs = require('node:fs');
        const read = (path) => { try { fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path); return 'read'; } catch (error) { return error.code; } };
        const kill = (pid) => { try { process.kill(pid, 0); return 'may'; } catch (error) { return error.code; } };
        console.log(JSON.stringify([process.getuid(), ${JSON.stringify(paths)}.map(read), kill(${victimPid}), kill(${process.pid})]));
      `);
      await ensured(orchestrator(), nosy);
      await becomes(orchestrator(), nosy, 'completed');
      const [uid, reads, ...kills] = JSON.parse(await logsOf(nosy)) as [number, string[], string, string];
      const [secretUid, secretGid, groups] = /^(\d+) (\d+) (.*)$/m.exec(await logsOf(secretive))?.slice(1) ?? [];
      expect(Number(secretUid)).toBeGreaterThan(1_000);
      expect(secretGid).toBe(secretUid);
      expect(groups?.replaceAll(/[\s[\]]/g, '')).toBe(secretUid);
      expect(uid).not.toBe(Number(secretUid));
      // Processes of others are not there at all where each pod has a pid namespace.
      expect(reads).toEqual(
        paths.map((path) => (walls.hasNamespaces && path.startsWith('/proc') ? 'ENOENT' : 'EACCES')),
      );
      expect(kills).toEqual(walls.hasNamespaces ? ['ESRCH', 'ESRCH'] : ['EPERM', 'EPERM']);
      await Promise.all([secretive, nosy].map((pod) => removed(pod)));
    });

    it('keep their user with their data', async () => {
      const pod = scriptPod('console.log(process.getuid())', { persistentVolume: true });
      const uidOf = async (run: number) => {
        await ensured(orchestrator(), { ...pod, run });
        await becomes(orchestrator(), pod, 'completed');
        const uid = await logsOf(pod);
        await orchestrator().remove(pod, { data: 'keep', run: 99 }, never());
        await becomesAbsent(orchestrator(), pod);
        return uid;
      };
      expect(await uidOf(1)).toBe(await uidOf(2));
      await removed(pod);
    });

    it('and under an ordinary user, see nothing of Podgate either', async () => {
      // To root's files that user is root: the checkout may lie anywhere.
      const user = ['--user', '--map-user=1000', '--map-group=1000', '--'];
      const vitest = [join(import.meta.dirname, '../../../node_modules/vitest/vitest.mjs'), 'run'];
      const { code, stdout, stderr } = await run(
        'unshare',
        [...user, process.execPath, ...vitest, '--project', 'integration', import.meta.filename, '-t', AS_USER],
        { cwd: join(import.meta.dirname, '../../..'), env: { NO_COLOR: '1' } },
      );
      expect(code, stdout + stderr).toBe(0);
      expect(stdout).toMatch(/Tests {2}1 passed/);
    });
  });

  // Without root, where the kernel lets everybody make user namespaces. Root has it run by an ordinary user, above.
  const describeAsUser = asRoot ? (): void => undefined : describe.skipIf(!walls.hasUserNamespaces);
  describeAsUser(AS_USER, () => {
    it('see only their own files and processes', async () => {
      const other = scriptPod(SERVE, { persistentVolume: true });
      await ensured(orchestrator(), other);
      await becomes(orchestrator(), other, 'ready');
      writeFileSync(join(root, 'token.key'), 'secret');
      const home = join(root, 'pods', 'volumes', other.uid);
      const paths = [join(root, 'token.key'), home, '../../../../token.key', `/proc/${process.pid}/environ`];
      const nosy = scriptPod(
        `
        const fs = require('node:fs');
        const read = (path) => { try { fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path); return 'read'; } catch (error) { return error.code; } };
        fs.writeFileSync('kept', 'x');
        const status = fs.readFileSync('/proc/self/status', 'utf8');
        console.log(JSON.stringify([${JSON.stringify(paths)}.map(read), process.cwd(), /CapEff:\\s*(.*)/.exec(status)[1], process.getuid()]));
        `,
        { persistentVolume: true },
      );
      await ensured(orchestrator(), nosy);
      await becomes(orchestrator(), nosy, 'completed');
      const directory = join(root, 'pods', 'volumes', nosy.uid);
      expect(JSON.parse(await logsOf(nosy))).toEqual([
        paths.map(() => 'ENOENT'),
        directory,
        '0'.repeat(16),
        process.getuid?.(),
      ]);
      expect(readFileSync(join(directory, 'kept'), 'utf8')).toBe('x');
      await Promise.all([other, nosy].map((pod) => removed(pod)));
    });
  });

  it('write none of their secrets where others may read', async () => {
    const pod = scriptPod(SERVE, { environmentVariables: { SECRET: 'mine' } });
    await ensured(orchestrator(), pod);
    await becomes(orchestrator(), pod, 'ready');
    const file = join(root, 'pods', 'workloads', pod.uid, 'workload.json');
    expect(statSync(file).mode & 0o077).toBe(0);
    expect(readFileSync(file, 'utf8')).toContain('"uid"');
    await removed(pod);
  });
});
