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
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { WorkloadRef } from '../../../core/orchestrator.ts';
import { removeTree } from '../../../spawner/orchestrator/process/remove-tree.ts';
import { readSmallFile } from '../../../spawner/orchestrator/process/small-file.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { until } from '../../support/until.ts';
import {
  asRoot,
  processOptions,
  processSpec,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
} from './process-harness.ts';

describe('what a pod can do to those who clean up after it', () => {
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

  it('directories deeper than any path may be long are removed', async () => {
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

  it('names that are no UTF-8, closed directories, pipes and many files are removed', async () => {
    shell(`mkdir -p odd/closed/inner odd/a/b/c; cd odd; touch "$(printf '\\377\\376')" "$(printf 'a/b/\\200')"
      mkdir "$(printf 'a/\\377')"; touch "$(printf 'a/\\377/f')"; mkfifo pipe; touch closed/inner/f
      i=0; while [ $i -lt 500 ]; do : > many$i; i=$((i+1)); done; chmod 0 closed/inner closed a`);
    await removeTree(join(root, 'odd'));
    expect(readdirSync(root)).toEqual(['outside']);
  });

  it('links are removed, and never what they lead to', async () => {
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

  it('a directory that is exchanged for a link while it is being removed leads nowhere', async () => {
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

  it('a pipe, a device, a link or a huge file in the place of a small one holds nobody up', async () => {
    shell('mkfifo pipe; ln -s outside/precious link; ln -s /dev/zero zero; truncate -s 3G huge');
    await expect(readSmallFile(join(root, 'pipe'), 64)).rejects.toThrow('no plain file');
    await expect(readSmallFile('/dev/zero', 64)).rejects.toThrow('no plain file');
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

  it('do not outlive their end by forking and ending faster than anybody looks', async () => {
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

  it('have a bound on their processes', async () => {
    const pod = scriptPod(`console.log(require('node:fs').readFileSync('/proc/self/limits', 'utf8')); ${SERVE}`);
    await ensured(running.orchestrator, pod);
    await becomes(running.orchestrator, pod, 'ready');
    expect(await logsOf(pod)).toMatch(/Max processes\s+4096\s+4096/);
    await running.orchestrator.remove(pod, { data: 'delete', run: 99 }, never());
    await becomesAbsent(running.orchestrator, pod);
  });

  it('get no traffic of a pod that gave up its port and lives on', async () => {
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
    await running.orchestrator.remove(thief, { data: 'delete', run: 99 }, never());
    await becomesAbsent(running.orchestrator, thief);
    await running.orchestrator.remove(victim, { data: 'delete', run: 99 }, never());
    await becomesAbsent(running.orchestrator, victim);
  });
});
