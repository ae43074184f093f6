import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { removeTree } from '../../../spawner/orchestrator/process/remove-tree.ts';
import { readSmallFile } from '../../../spawner/orchestrator/process/small-file.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { until } from '../../support/until.ts';
import { onConnected } from '../../../proxy/socket/on-connected.ts';
import { reachableAddresses } from '../../../proxy/socket/own-addresses.ts';
import {
  asRoot,
  connectPlace,
  processOptions,
  processSpec,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
  walls,
} from './process-harness.ts';

describe('what a pod can do to the cleanup after it', () => {
  let root: string;
  let outside: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'podgate-hostile-'));
    outside = join(root, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'precious'), 'x');
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const shell = (script: string) => execFileSync('/bin/sh', ['-ec', script], { cwd: root });

  it('directories deeper than any path limit are removed', async () => {
    const deep = join(root, 'deep');
    // Relative, as a pod would: 60 levels are three times PATH_MAX.
    const script = `const fs = require('node:fs');
      for (let level = 0; level < 60; level += 1) {
        fs.mkdirSync('d'.repeat(200));
        process.chdir('d'.repeat(200));
        fs.writeFileSync('file', '');
      }`;
    mkdirSync(deep);
    execFileSync(process.execPath, ['-e', script], { cwd: deep });
    await removeTree(deep);
    expect(existsSync(deep)).toBe(false);
    expect(readdirSync(root)).toEqual(['outside']);
  });

  it('names that are not UTF-8, closed directories, pipes and many files are removed', async () => {
    shell(`mkdir -p odd/closed/inner odd/a/b/c; cd odd; touch "$(printf '\\377\\376')" "$(printf 'a/b/\\200')"
      mkdir "$(printf 'a/\\377')"; touch "$(printf 'a/\\377/f')"; mkfifo pipe; touch closed/inner/f
      i=0; while [ $i -lt 500 ]; do : > many$i; i=$((i+1)); done; chmod 0 closed/inner closed a`);
    await removeTree(join(root, 'odd'));
    expect(readdirSync(root)).toEqual(['outside']);
  });

  it('links are removed, and never their targets', async () => {
    const home = join(root, 'home');
    mkdirSync(join(home, 'sub'), { recursive: true });
    symlinkSync(outside, join(home, 'link'));
    symlinkSync(outside, join(home, 'sub', 'link'));
    symlinkSync(outside, join(root, 'top'));
    await removeTree(home);
    await removeTree(join(root, 'top'));
    await removeTree(join(root, 'never-there'));
    expect(readdirSync(root)).toEqual(['outside']);
    expect(readdirSync(outside)).toEqual(['precious']);
    expect(statSync(outside).mode & 0o777).not.toBe(0);
  });

  it('a directory that is replaced by a link during its removal leads nowhere', async () => {
    // As another pod would, for which the first has opened its directory: real and link change places all the time.
    const script = `
      const fs = require('node:fs');
      const [home, outside] = process.argv.slice(1);
      process.chdir(home);
      fs.symlinkSync(outside, 'link');
      console.log('on');
      const until = Date.now() + 20_000;
      while (Date.now() < until) {
        try { fs.renameSync('sub', 'real'); fs.renameSync('link', 'sub'); } catch {}
        try { fs.renameSync('sub', 'link'); fs.renameSync('real', 'sub'); } catch {}
        if (!fs.existsSync(home)) break;
      }`;
    for (let round = 0; round < 10; round += 1) {
      for (let i = 0; i < 200; i += 1) writeFileSync(join(outside, `f${i}`), '');
      const home = join(root, 'home');
      mkdirSync(join(home, 'sub'), { recursive: true, mode: 0o777 });
      for (let i = 0; i < 200; i += 1) writeFileSync(join(home, 'sub', `f${i}`), '');
      const swapper = spawn(process.execPath, ['-e', script, home, outside], { stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise((resolve) => swapper.stdout.once('data', resolve));
      await removeTree(home);
      swapper.kill('SIGKILL');
      expect(readdirSync(outside)).toHaveLength(201);
    }
  });

  it('a pipe, a device, a link or a huge file in the place of a small one blocks nothing', async () => {
    shell('mkfifo pipe; ln -s outside/precious link; ln -s /dev/zero zero; truncate -s 3G huge');
    await expect(readSmallFile(join(root, 'pipe'), 64)).rejects.toThrow('not a regular file');
    await expect(readSmallFile('/dev/zero', 64)).rejects.toThrow('not a regular file');
    await expect(readSmallFile(join(root, 'link'), 64)).rejects.toThrow();
    await expect(readSmallFile(join(root, 'zero'), 64)).rejects.toThrow();
    expect(await readSmallFile(join(root, 'huge'), 64)).toHaveLength(64);
    expect(await readSmallFile(join(outside, 'precious'), 64)).toBe('x');
  });
});

// Pods have users of their own only where we are root; CI is.
describe.skipIf(!asRoot)('hostile pods under root', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  let running: RunningOrchestrator;
  beforeAll(() => {
    running = runProcessOrchestrator(processOptions(root));
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });
  const logsOf = (ref: WorkloadRef) => running.orchestrator.logs(ref, { tailBytes: 100_000 }, never());
  async function removed(ref: WorkloadRef) {
    await running.orchestrator.remove(ref, { data: 'delete', run: 99 }, never());
    await becomesAbsent(running.orchestrator, ref);
  }

  it('do not survive their end by forking and exiting quickly', async () => {
    // Each process lives some milliseconds: a new pid, parent, group and environment every time. It gives up by itself.
    const sign = join(root, 'sign-of-life');
    writeFileSync(sign, '');
    chmodSync(sign, 0o666);
    const comet = `
      exit if fork; setpgrp; %ENV = ();
      for (my $end = time + 20; time < $end; select(undef, undef, undef, 0.004)) { utime undef, undef, "${sign}"; exit if fork }`;
    const pod = workloadSpec(processSpec(['/bin/sh', '-c', `perl -e '${comet}'; exec sleep 1000`]), {});
    await ensured(running.orchestrator, pod);
    const signOfLife = () => statSync(sign).mtimeMs;
    const before = signOfLife();
    await until('it flies', () => signOfLife() > before);
    await running.orchestrator.remove(pod, { data: 'delete', run: 99 }, never());
    await becomesAbsent(running.orchestrator, pod);
    const after = signOfLife();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(signOfLife()).toBe(after);
  });

  it('have a limit on their processes', async () => {
    const pod = scriptPod(`console.log(require('node:fs').readFileSync('/proc/self/limits', 'utf8')); ${SERVE}`);
    await ensured(running.orchestrator, pod);
    await becomes(running.orchestrator, pod, 'ready');
    expect(await logsOf(pod)).toMatch(/Max processes\s+4096\s+4096/);
    await running.orchestrator.remove(pod, { data: 'delete', run: 99 }, never());
    await becomesAbsent(running.orchestrator, pod);
  });

  it('do not reach the ports of other pods, nor those of this machine', async () => {
    const victim = scriptPod(SERVE);
    await ensured(running.orchestrator, victim);
    const port = (await becomes(running.orchestrator, victim, 'ready')).addresses['default']?.port ?? 0;
    const machine = createServer((socket) => socket.end());
    machine.listen(0);
    await once(machine, 'listening');
    const nosy = scriptPod(`
      const net = require('node:net');
      const dial = (host, port) => new Promise((done) =>
        net.connect({ host, port }).on('error', (error) => done(error.code)).on('connect', () => done('connected')));
      const hosts = ['127.0.0.1', '::1', ...${JSON.stringify(reachableAddresses())}];
      const ports = [${port}, ${(machine.address() as AddressInfo).port}];
      Promise.all(hosts.flatMap((host) => ports.map((port) => dial(host, port))))
        .then((results) => console.log(JSON.stringify(results)));
    `);
    await ensured(running.orchestrator, nosy);
    await becomes(running.orchestrator, nosy, 'completed');
    machine.close();
    const results = JSON.parse(await logsOf(nosy)) as string[];
    expect(results.length).toBeGreaterThanOrEqual(4);
    expect(results.filter((result) => !['ECONNREFUSED', 'ENETUNREACH'].includes(result))).toEqual([]);
    await Promise.all([victim, nosy].map((pod) => removed(pod)));
  });

  it('cannot regain privileges, see no other process, and inherit no descriptors', async () => {
    const pod = scriptPod(`
      const fs = require('node:fs');
      const status = fs.readFileSync('/proc/self/status', 'utf8');
      const field = (name) => new RegExp('^' + name + ':(.*)$', 'm').exec(status)[1].trim();
      console.log(JSON.stringify({
        rights: ['NoNewPrivs', 'CapEff', 'CapPrm', 'CapInh', 'CapBnd', 'CapAmb', 'Groups'].map(field),
        processes: fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).length,
      }));
    `);
    const shell = workloadSpec(processSpec(['/bin/sh', '-c', 'ls /proc/self/fd']));
    await Promise.all([pod, shell].map((each) => ensured(running.orchestrator, each)));
    await Promise.all([pod, shell].map((each) => becomes(running.orchestrator, each, 'completed')));
    const none = '0'.repeat(16);
    expect(JSON.parse(await logsOf(pod))).toEqual({ rights: ['1', none, none, none, none, none, ''], processes: 2 });
    // The fourth is that of `ls` itself.
    expect((await logsOf(shell)).trim().split('\n')).toEqual(['0', '1', '2', '3']);
    await Promise.all([pod, shell].map((each) => removed(each)));
  });

  it('have a log of limited size at every moment, even without a process that trims it', async () => {
    const outputMaxBytes = 200_000;
    const place = temporaryRoot();
    const alone = runProcessOrchestrator(processOptions(place.root, { limits: { outputMaxBytes } }));
    const pod = workloadSpec(processSpec(['/bin/sh', '-c', 'exec yes a line of the flood']));
    await ensured(alone.orchestrator, pod);
    const directory = join(place.root, 'pods', 'workloads', pod.uid, 'log');
    const sizes = () =>
      readdirSync(directory).map((name) => statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0);
    await until('both files are there', () => existsSync(directory) && sizes().length === 2);
    await alone.abandon();
    for (let look = 0; look < 200; look += 1) {
      for (const size of sizes()) expect(size).toBeLessThanOrEqual(outputMaxBytes / 2);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const { installation, instance } = alone.options;
    const next = runProcessOrchestrator(
      processOptions(place.root, { installation, instance, limits: { outputMaxBytes } }),
    );
    expect(await next.orchestrator.logs(pod, { tailBytes: 1_000 }, never())).toContain('a line of the flood\n');
    await next.close();
    place.remove();
  });
});

// As above, where the system allows no namespaces.
describe.skipIf(!asRoot)('hostile pods under root that share the machine’s network', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  let running: RunningOrchestrator;
  beforeAll(() => {
    running = runProcessOrchestrator(processOptions(root, { walls: { ...walls, hasNamespaces: false } }));
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });
  const logsOf = (ref: WorkloadRef) => running.orchestrator.logs(ref, { tailBytes: 100_000 }, never());
  async function removed(ref: WorkloadRef) {
    await running.orchestrator.remove(ref, { data: 'delete', run: 99 }, never());
    await becomesAbsent(running.orchestrator, ref);
  }

  it('do not take a pod that listens on IPv4 offline by listening on IPv6 only', async () => {
    const victim = scriptPod(SERVE);
    await ensured(running.orchestrator, victim);
    const port = (await becomes(running.orchestrator, victim, 'ready')).addresses['default']?.port ?? 0;
    const beside = scriptPod(`
      require('node:net').createServer().listen({ host: '::', port: ${port}, ipv6Only: true }, () => console.log('listens'));
      ${SERVE}
    `);
    await ensured(running.orchestrator, beside);
    await until('it listens', async () => (await logsOf(beside)).includes('listens'));
    // The listeners are checked twice in this time.
    for (let look = 0; look < 12; look += 1) {
      expect(await running.orchestrator.observe(victim, never())).toMatchObject({ phase: 'ready' });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await Promise.all([victim, beside].map((pod) => removed(pod)));
  });

  it('get no traffic of a pod that gave up its port and continues to run', async () => {
    const victim = scriptPod(`
      const net = require('node:net');
      const server = net.createServer((socket) => socket.end()).listen(process.env.PORT, '127.0.0.1');
      process.on('SIGUSR2', () => server.close());
      setInterval(() => {}, 1000);
      console.log('pid ' + process.pid);
    `);
    await ensured(running.orchestrator, victim);
    const port = (await becomes(running.orchestrator, victim, 'ready')).addresses['default']?.port ?? 0;
    const thief = scriptPod(`
      const net = require('node:net');
      const steal = () => net.createServer().on('error', () => setTimeout(steal, 5)).listen(${port}, '127.0.0.1', () => console.log('stolen'));
      steal();
      ${SERVE}
    `);
    await ensured(running.orchestrator, thief);
    await becomes(running.orchestrator, thief, 'ready');
    process.kill(Number(/pid (\d+)/.exec(await logsOf(victim))?.[1]), 'SIGUSR2');
    await until('the port is stolen', async () => (await logsOf(thief)).includes('stolen'));
    const seen = await becomes(running.orchestrator, victim, 'starting');
    expect(seen.addresses).toEqual({});
    await Promise.all([victim, thief].map((pod) => removed(pod)));
  });

  it('that took a port between two checks are rejected at the next dial', async () => {
    const thief = scriptPod("require('node:net').createServer(() => {}).listen(process.env.PORT, '127.0.0.1')");
    await ensured(running.orchestrator, thief);
    const place = (await becomes(running.orchestrator, thief, 'ready')).addresses['default'];
    if (place?.ownerUid === undefined) throw new Error('nothing says who must own the socket');
    const dial = (ownerUid: number) =>
      new Promise<string>((resolve) => {
        const socket = connectPlace(place);
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
        onConnected(socket, { ownerUid }, () => {
          resolve('connected');
          socket.destroy();
        });
      });
    expect(await dial(place.ownerUid)).toBe('connected');
    expect(await dial(place.ownerUid + 1)).toBe('ECONNREFUSED');
    await removed(thief);
  });
});
