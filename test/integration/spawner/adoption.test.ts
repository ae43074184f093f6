import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { becomes, becomesAbsent, ensured, never } from '../../contract/orchestrator-harness.ts';
import { processesWithVariable, processInfo } from '../../support/process-table.ts';
import { until } from '../../support/until.ts';
import {
  connectPlace,
  processOptions,
  type ProcessOrchestratorChange,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
} from './process-harness.ts';

describe('after the process that owned the orchestrator was killed', () => {
  let place: ReturnType<typeof temporaryRoot>;
  let installation: string;
  let owners: ChildProcess[];
  let orchestrators: RunningOrchestrator[];

  beforeEach(() => {
    place = temporaryRoot();
    installation = `test-${randomUUID()}`;
    owners = [];
    orchestrators = [];
  });
  afterEach(async () => {
    for (const owner of owners) owner.kill('SIGKILL');
    // One of a new instance ends whatever is left.
    const last = open({ instance: randomUUID() });
    await until('nothing runs', async () => (await last.orchestrator.list(never())).length === 0);
    await Promise.all(orchestrators.map((each) => each.close()));
    expect(processes()).toEqual([]);
    place.remove();
  });

  function open(change: ProcessOrchestratorChange): RunningOrchestrator {
    const running = runProcessOrchestrator(processOptions(place.root, { installation, ...change }));
    orchestrators.push(running);
    return running;
  }

  const processes = () =>
    processesWithVariable('PODGATE_WORKLOAD').filter(({ value }) => value.startsWith(`${installation}/`));
  const refOf = (uid: string) => ({ tenant: 'dev', podId: `pod${uid}`, uid });
  const programOf = (uid: string) => {
    const found = processes().find(
      ({ pid, value }) =>
        value.startsWith(`${installation}/${uid}/`) && processInfo(pid)?.commandLine[0] === process.execPath,
    );
    if (found === undefined) throw new Error(`the program of ${uid} does not run`);
    return found.pid;
  };

  /** Starts an owner with a pod for each uid and kills it when they are ready. */
  async function startAndKill(instance: string, ...uids: string[]): Promise<void> {
    const program = join(import.meta.dirname, 'owner-program.ts');
    const owner = spawn(process.execPath, [program, place.root, installation, instance, ...uids], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    owners.push(owner);
    await once(owner.stdout, 'data');
    owner.kill('SIGKILL');
    await once(owner, 'exit');
  }

  it('the next one of the same instance continues with the pods: not even a connection is cut', async () => {
    const uid = randomUUID();
    await startAndKill('one', uid);
    const program = programOf(uid);
    const { orchestrator } = open({ instance: 'one' });
    // The first thing it says is that they are ready.
    const seen = await orchestrator.observe(refOf(uid), never());
    expect(seen).toMatchObject({ kind: 'workload', uid, phase: 'ready', restarts: 0 });
    if (seen.kind !== 'workload') throw new Error('no workload');
    expect(seen.ageMs).toBeGreaterThan(0);
    const place = seen.addresses['default'];
    if (place === undefined) throw new Error('no address');
    const socket = connectPlace(place);
    await once(socket, 'connect');
    socket.destroy();
    expect(programOf(uid)).toBe(program);
    expect(await orchestrator.logs(refOf(uid), { tailBytes: 100 }, never())).toBe('it runs\n');
    const again = scriptPod(SERVE, { persistentVolume: true }, refOf(uid));
    expect(await orchestrator.ensure(again, never())).toEqual({ kind: 'ensured' });
  });

  it('the next one still detects how a program ended, and starts it again', async () => {
    const uid = randomUUID();
    await startAndKill('one', uid);
    const { orchestrator } = open({ instance: 'one' });
    await becomes(orchestrator, refOf(uid), 'ready');
    process.kill(programOf(uid), 'SIGUSR2');
    const down = await becomes(orchestrator, refOf(uid), 'starting');
    expect(down).toMatchObject({ signal: 'SIGUSR2', message: 'killed by SIGUSR2', addresses: {} });
    expect(await becomes(orchestrator, refOf(uid), 'ready')).toMatchObject({ restarts: 1 });
  });

  it('the next one detects an end that happened while nobody was watching', async () => {
    const uid = randomUUID();
    await startAndKill('one', uid);
    process.kill(programOf(uid), 'SIGTERM');
    await until('it has ended', () => processes().length === 0);
    const { orchestrator } = open({ instance: 'one' });
    expect(await becomes(orchestrator, refOf(uid), 'ready')).toMatchObject({ restarts: 1, signal: 'SIGTERM' });
  });

  it('the next one removes what it has taken over, completely', async () => {
    const uid = randomUUID();
    await startAndKill('one', uid);
    const program = programOf(uid);
    const { orchestrator } = open({ instance: 'one' });
    await orchestrator.remove(refOf(uid), { data: 'delete', run: 1 }, never());
    expect(await becomesAbsent(orchestrator, refOf(uid))).toEqual({ kind: 'absent', data: false });
    expect(processInfo(program)?.state ?? 'Z').toBe('Z');
    expect(processes()).toEqual([]);
  });

  it('one of another instance ends the pods and keeps their data', async () => {
    const uids = [randomUUID(), randomUUID()];
    await startAndKill('one', ...uids);
    const { orchestrator } = open({ instance: 'two' });
    for (const uid of uids) {
      // Never said to run, from the first answer on.
      const first = await orchestrator.observe(refOf(uid), never());
      expect(first.kind === 'absent' || (first.kind === 'workload' && first.phase === 'stopping')).toBe(true);
      expect(await becomesAbsent(orchestrator, refOf(uid))).toEqual({ kind: 'absent', data: true });
    }
    expect(processes()).toEqual([]);
    const uid = uids[0] ?? '';
    const pod = scriptPod(SERVE, { persistentVolume: true }, { ...refOf(uid), run: 2 });
    await ensured(orchestrator, pod);
    await becomes(orchestrator, pod, 'ready');
  });

  it('leftovers whose directory is lost or damaged are found by their marker and ended', async () => {
    const [lost, broken] = [randomUUID(), randomUUID()];
    await startAndKill('one', lost, broken);
    rmSync(join(place.root, 'pods', 'workloads', lost), { recursive: true });
    writeFileSync(join(place.root, 'pods', 'workloads', broken, 'workload.json'), '{"version":');
    const { orchestrator } = open({ instance: 'one' });
    expect(await orchestrator.list(never())).toEqual([]);
    expect(processes()).toEqual([]);
    expect(existsSync(join(place.root, 'pods', 'workloads', broken))).toBe(false);
    expect(await orchestrator.observe(refOf(lost), never())).toEqual({ kind: 'absent', data: true });
  });

  it('a new directory is not a workload, and pods of another installation are not touched', async () => {
    const uid = randomUUID();
    mkdirSync(join(place.root, 'pods', 'workloads', uid), { recursive: true });
    const elsewhere = temporaryRoot();
    const other = runProcessOrchestrator(processOptions(elsewhere.root));
    const pod = scriptPod(SERVE);
    await ensured(other.orchestrator, pod);
    const before = await becomes(other.orchestrator, pod, 'ready');
    const { orchestrator } = open({ instance: 'two' });
    expect(await orchestrator.list(never())).toEqual([]);
    expect(existsSync(join(place.root, 'pods', 'workloads', uid))).toBe(false);
    expect(await becomes(other.orchestrator, pod, 'ready')).toMatchObject({ startTime: before.startTime, restarts: 0 });
    await other.close();
    elsewhere.remove();
  });

  it('killed at any moment, repeatedly, every pod either continues or ends: none is lost, none is doubled', async () => {
    const uids = [randomUUID(), randomUUID(), randomUUID()];
    const program = join(import.meta.dirname, 'owner-program.ts');
    for (let round = 0; round < 8; round += 1) {
      const instance = `instance-${Math.floor(round / 3)}`;
      const owner = spawn(process.execPath, [program, place.root, installation, instance, ...uids], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      owners.push(owner);
      // Between "nothing yet" and "all are ready".
      await new Promise((resolve) => setTimeout(resolve, 150 + round * 60 + Math.random() * 60));
      owner.kill('SIGKILL');
      await once(owner, 'exit');
    }
    const { orchestrator } = open({ instance: 'instance-2' });
    for (const uid of uids) {
      const pod = scriptPod(SERVE, { persistentVolume: true }, refOf(uid));
      await ensured(orchestrator, pod);
      await becomes(orchestrator, pod, 'ready');
    }
    for (const uid of uids) {
      const programs = processes().filter(
        ({ pid, value }) =>
          value.startsWith(`${installation}/${uid}/`) && processInfo(pid)?.commandLine[0] === process.execPath,
      );
      expect(programs).toHaveLength(1);
    }
  });

  it('stopAll ends all pods at once, keeps their data and reports nothing more', async () => {
    const { orchestrator } = open({ instance: 'one' });
    const deaf = `process.on('SIGTERM', () => {}); ${SERVE}`;
    const pods = [SERVE, SERVE, SERVE, deaf].map((script) => scriptPod(script, { persistentVolume: true }));
    await Promise.all(pods.map((pod) => ensured(orchestrator, pod)));
    await Promise.all(pods.map((pod) => becomes(orchestrator, pod, 'ready')));
    const begunMs = performance.now();
    await orchestrator.stopAll(AbortSignal.timeout(10_000));
    expect(performance.now() - begunMs).toBeLessThan(4_500);
    expect(processes()).toEqual([]);
    await expect(orchestrator.list(never())).rejects.toMatchObject({ code: 'orchestrator.unavailable' });
    const next = open({ instance: 'two' }).orchestrator;
    for (const pod of pods) expect(await next.observe(pod, never())).toEqual({ kind: 'absent', data: true });
  });
});
