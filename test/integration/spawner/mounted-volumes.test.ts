import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadObservation } from '../../../core/workloads.ts';
import type { MountedFiles } from '../../../core/volume.ts';
import {
  createDirectoryFiles,
  type DirectoryFiles,
} from '../../../spawner/orchestrator/process/volumes/directory-files.ts';
import { becomes, becomesAbsent, ensured, never, observed } from '../../contract/orchestrator-harness.ts';
import { until } from '../../support/until.ts';
import { volumeRef } from '../../support/volume-ref.ts';
import {
  asRoot,
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
  walls,
} from './process-harness.ts';

const MIB = 1024 * 1024;
const utf8 = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

// Without a mount namespace there is no place for volumes: see the last test.
// Each start runs some forty small programs, which takes its time on a loaded machine.
describe.skipIf(!walls.canMount)('named volumes in process pods', { timeout: 180_000 }, () => {
  const { root, remove: removeRoot } = temporaryRoot();
  let files: DirectoryFiles;
  let running: RunningOrchestrator;
  beforeAll(() => {
    files = createDirectoryFiles({ root: join(root, 'pods', 'files'), asRoot });
    running = runProcessOrchestrator(processOptions(root, { volumes: files.mounts, limits: { diskCheckMs: 50 } }));
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });

  const top = `/podgate-test-${process.pid}`;
  const mountOf = (uid: string, change: Partial<MountedFiles> = {}): MountedFiles => ({
    ref: volumeRef(uid),
    name: 'mine',
    mountPath: top,
    subPath: '',
    isReadOnly: false,
    sizeLimitMiB: 100,
    ...change,
  });
  const started = async (script: string, mounts: readonly MountedFiles[]) => {
    const pod = scriptPod(`const fs = require('node:fs');\n${script}\n${SERVE}`, {}, { mounts });
    await ensured(running.orchestrator, pod);
    await becomes(running.orchestrator, pod, 'ready');
    return pod;
  };
  const removed = async (pod: ReturnType<typeof scriptPod>) => {
    await running.orchestrator.remove(pod, { data: 'delete', run: 1 }, never());
    await becomesAbsent(running.orchestrator, pod);
  };
  const exec = async (pod: ReturnType<typeof scriptPod>, script: string) => {
    const result = await running.orchestrator.shell.exec(
      pod,
      { command: ['/bin/sh', '-c', script], outputMaxBytes: 10_000, deadlineMs: 20_000 },
      never(),
    );
    if (result.kind !== 'ended') throw new Error(JSON.stringify(result));
    return { stdout: utf8(result.stdout), stderr: utf8(result.stderr) };
  };

  it('are shared by pods that mount them, at any path, and this machine has no trace of the paths', async () => {
    const uid = randomUUID();
    await files.write(volumeRef(uid), 'sub/uploaded', Readable.from([Buffer.from('by the API')]), {
      sizeLimitMiB: 1,
    });
    const deep = `/srv/podgate-test-${process.pid}/a b/c`;
    const writer = await started(`fs.writeFileSync('${top}/sub/written', 'by a pod');`, [mountOf(uid)]);
    const reader = await started('', [mountOf(uid, { mountPath: deep, subPath: 'sub', isReadOnly: true })]);
    const read = await exec(
      reader,
      `cd "${deep}" && cat uploaded written; touch other; ls /srv / | grep -c podgate-test`,
    );
    expect(read.stdout).toBe('by the APIby a pod1\n');
    expect(read.stderr).toContain('Read-only file system');
    // By either of the two that may write, also what the other has made.
    await exec(writer, `echo more >>${top}/sub/uploaded && mkdir ${top}/made && echo x >${top}/made/file`);
    const third = await started('', [mountOf(uid)]);
    expect((await exec(third, `echo y >>${top}/made/file && cat ${top}/made/file`)).stdout).toBe('x\ny\n');
    const data = files.mounts.pathOf(volumeRef(uid));
    expect(readFileSync(join(data, 'sub', 'uploaded'), 'utf8')).toBe('by the APImore\n');
    expect([existsSync(top), readdirSync('/srv').some((name) => name.startsWith('podgate-test'))]).toEqual([
      false,
      false,
    ]);
    for (const pod of [writer, reader, third]) await removed(pod);
    expect(existsSync(join(data, 'made', 'file'))).toBe(true);
  });

  it('can only be reached by their mounts, which no pod can change', async () => {
    const uid = randomUUID();
    const pod = await started('', [mountOf(uid, { isReadOnly: true })]);
    const data = files.mounts.pathOf(volumeRef(uid));
    const tried = await exec(
      pod,
      `cd ${data} && echo reached; touch ${data}/x; mount -o remount,rw ${top}; umount ${top}; touch ${top}/x /x; ls /.former`,
    );
    expect([tried.stdout, existsSync(join(data, 'x'))]).toEqual(['', false]);
    await removed(pod);
  });

  it('are counted while pods write to them', async () => {
    const ref = volumeRef(randomUUID());
    expect((await files.usage(ref)).bytes).toBe(0);
    const pod = await started(`fs.writeFileSync('${top}/big', Buffer.alloc(${3 * MIB}));`, [mountOf(ref.uid)]);
    await until('the file to be counted', async () => (await files.usage(ref)).bytes === 3 * MIB);
    await exec(pod, `head -c ${MIB} /dev/zero >${top}/second`);
    await removed(pod);
    expect((await files.usage(ref)).bytes).toBe(4 * MIB);
  });

  it('end a pod that writes more than their size_limit', async () => {
    const script = `setInterval(() => fs.appendFileSync('${top}/big', Buffer.alloc(${MIB})), 50);`;
    const pod = scriptPod(
      `const fs = require('node:fs');\n${script}\n${SERVE}`,
      {},
      { mounts: [mountOf(randomUUID(), { sizeLimitMiB: 4 })] },
    );
    await ensured(running.orchestrator, pod);
    const { message } = await becomes(running.orchestrator, pod, 'failed', 100_000);
    expect(message).toMatch(/^volume mine has \d+ MiB of 4 MiB: stopped/);
    await removed(pod);
    // A pod that has not grown at its first check is measured again within a minute.
  }, 120_000);

  it('are never mounted through a link, nor where Podgate or others store their files', async () => {
    const uid = randomUUID();
    const ref = volumeRef(uid);
    await files.usage(ref);
    const outside = join(root, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'secret'), 'x');
    symlinkSync(outside, join(files.mounts.pathOf(ref), 'link'));
    for (const subPath of ['link', 'link/deeper', '../incoming']) {
      const pod = scriptPod(SERVE, {}, { mounts: [mountOf(uid, { subPath })] });
      await ensured(running.orchestrator, pod);
      const seen = await observed(
        running.orchestrator,
        pod,
        'not started',
        (found): found is WorkloadObservation => found.kind === 'workload' && found.message !== '',
      );
      expect(seen).toMatchObject({ message: expect.stringContaining('could not be started: path: ') as string });
      await removed(pod);
    }
    for (const mountPath of [join(root, 'pods'), root, '/tmp/here']) {
      const pod = scriptPod(SERVE, {}, { mounts: [mountOf(uid, { mountPath })] });
      expect(await running.orchestrator.ensure(pod, never())).toMatchObject({
        kind: 'failed',
        reason: expect.stringContaining(`cannot be mounted at ${mountPath}: `) as string,
        retryable: false,
      });
    }
  });

  it('are refused where pods have no mount namespaces', async () => {
    const other = temporaryRoot();
    const without = { ...walls, canMount: false };
    const bare = runProcessOrchestrator(processOptions(other.root, { walls: without }));
    const pod = scriptPod(SERVE, {}, { mounts: [mountOf(randomUUID())] });
    expect(await bare.orchestrator.ensure(pod, never())).toMatchObject({
      kind: 'failed',
      reason: expect.stringContaining('no mount namespaces') as string,
    });
    expect(bare.orchestrator.mountProblem).toContain('cannot mount named volumes');
    await bare.close();
    other.remove();
  });
});
