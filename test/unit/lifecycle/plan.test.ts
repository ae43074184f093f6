import { expect, test } from 'vitest';
import { SPAWN_ATTEMPTS_MAX } from '../../../core/lifecycle/backoff.ts';
import { HOLDING_MAX_MS, planPod, wakeChange } from '../../../core/lifecycle/plan.ts';
import { planSpawn, planSpawnResult } from '../../../core/lifecycle/spawn.ts';
import type { EnsureResult, Observation, WorkloadObservation, WorkloadPhase } from '../../../core/workloads.ts';
import { POD_STATUSES, type PodRecord, WISHES } from '../../../core/pod.ts';
import { podRecord, workloadOf } from '../../support/pod-records.ts';

/** Total: a phase that is added must be here. */
const PHASES: Readonly<Record<WorkloadPhase, true>> = {
  ...{ pending: true, starting: true, ready: true, crashing: true, failed: true },
  ...{ completed: true, evicted: true, exceeded: true, stopping: true, lost: true },
};
const WORKLOAD_PHASES = Object.keys(PHASES) as WorkloadPhase[];

/** How the world treats a workload from now on. */
type Fate = 'runs' | 'completes' | 'crashes' | 'cannot be spawned' | 'uses too much';
const FATES: readonly Fate[] = ['runs', 'completes', 'crashes', 'cannot be spawned', 'uses too much'];

/** A closed world with one pod: the plan's steps act on it, and while the plan waits it moves by itself. */
class World {
  record: PodRecord | null;
  workload: WorkloadObservation | null;
  data: boolean;
  /** Parts of a workload without one. */
  remains: boolean;
  nowMs = 1_000_000;
  readonly fate: Fate;
  readonly trail: string[] = [];
  /** What is removed goes in two steps: the workload, then what belonged to it. */
  readonly #leavesRemains: boolean;

  constructor(record: PodRecord, observation: Observation, fate: Fate, leavesRemains = false) {
    this.#leavesRemains = leavesRemains;
    this.record = record;
    this.workload = observation.kind === 'workload' && observation.uid === record.uid ? observation : null;
    this.data = observation.kind === 'absent' ? observation.data : true;
    this.remains = observation.kind === 'remains';
    this.fate = fate;
  }

  observe(): Observation {
    return this.workload ?? (this.remains ? { kind: 'remains' } : { kind: 'absent', data: this.data });
  }

  step(observation: Observation): void {
    const { record } = this;
    if (record === null) return;
    const step = planPod(record, observation, this.nowMs);
    this.trail.push(`${record.wish}/${record.status}: ${step.kind}`);
    switch (step.kind) {
      case 'none':
        // An eviction is an event: nobody waits for the time to stop until it is seen.
        this.nowMs += Math.min(step.lookAgainMs ?? 3_000, this.fate === 'uses too much' ? 60_000 : Infinity);
        this.#advance();
        break;
      case 'write': {
        const next = { ...record, ...step.change };
        expect(next, 'a write changes something').not.toEqual(record);
        this.record = next;
        break;
      }
      case 'spawn':
        this.#spawn(record);
        break;
      case 'remove':
        if (step.data === 'delete') this.data = false;
        if (this.workload !== null) this.workload = { ...this.workload, phase: 'stopping' };
        else this.remains = false;
        this.#advance();
        break;
      case 'purge':
        expect(this.workload, 'nothing of a purged pod runs').toBeNull();
        expect(this.remains, 'nothing of a purged pod is left').toBe(false);
        this.record = null;
        break;
    }
  }

  #spawn(record: PodRecord): void {
    const step = planSpawn(record, this.nowMs);
    expect(step.kind, 'what the plan enqueues, the spawner does').toMatch(/claim|ensure/);
    const claimed = step.kind === 'claim' ? { ...record, ...step.change } : record;
    this.record = claimed;
    const { applied } = claimed;
    if (applied === null) throw new Error('a claimed pod has an applied spec');
    const identity = { uid: claimed.uid, generation: applied.generation, run: applied.run };
    const result = this.#ensure(claimed, identity);
    if (result.kind === 'wait') {
      this.#advance();
      return;
    }
    const outcome = planSpawnResult(claimed, identity, result, this.nowMs);
    if (outcome !== null) this.record = { ...claimed, ...outcome.change };
  }

  #ensure(record: PodRecord, identity: { uid: string; generation: number; run: number }): EnsureResult {
    if (this.workload !== null) {
      const { generation, run, phase } = this.workload;
      const isMine = generation === identity.generation && run === identity.run && phase !== 'stopping';
      if (isMine) return { kind: 'ensured' };
      this.workload = { ...this.workload, phase: 'stopping' };
      return { kind: 'wait', reason: 'the former one is ending' };
    }
    if (this.fate === 'cannot be spawned') return { kind: 'failed', reason: 'no image', retryable: true };
    this.workload = workloadOf(record, { ...identity, phase: 'pending', ageMs: 0 });
    this.data = true;
    this.remains = false;
    return { kind: 'ensured' };
  }

  #advance(): void {
    if (this.workload === null) return;
    if (this.workload.phase === 'stopping') {
      this.workload = null;
      this.remains = this.#leavesRemains;
      return;
    }
    this.workload = {
      ...this.workload,
      phase: nextPhase(this.workload.phase, this.fate),
      ageMs: this.workload.ageMs + 3_000,
    };
  }
}

function nextPhase(phase: WorkloadPhase, fate: Fate): WorkloadPhase {
  if (phase === 'pending') return 'starting';
  if (fate === 'uses too much' && phase === 'ready') return 'exceeded';
  if (phase !== 'starting') return phase;
  return fate === 'completes' ? 'completed' : fate === 'crashes' ? 'crashing' : 'ready';
}

function* observations(record: PodRecord): Iterable<Observation> {
  yield { kind: 'unknown', reason: 'no answer' };
  yield { kind: 'absent', data: true };
  yield { kind: 'absent', data: false };
  yield { kind: 'remains' };
  for (const phase of WORKLOAD_PHASES) {
    yield workloadOf(record, { phase });
    yield workloadOf(record, { phase, ageMs: 24 * 3_600_000 });
    yield workloadOf(record, { phase, generation: 0 });
    yield workloadOf(record, { phase, run: 0 });
    yield workloadOf(record, { phase, uid: 'another' });
  }
}

function* records(): Iterable<PodRecord> {
  for (const wish of WISHES)
    for (const status of POD_STATUSES)
      for (const deleting of [null, { keepVolume: true }, { keepVolume: false }])
        for (const attempts of [0, 1, SPAWN_ATTEMPTS_MAX - 1, SPAWN_ATTEMPTS_MAX])
          for (const isApplied of [true, false])
            for (const timeToStopInstance of [null, -1]) {
              const base = podRecord({ wish, status, deleting, attempts, timeToStopInstance });
              yield isApplied ? base : { ...base, applied: null };
              // A sleep has nothing to do with attempts and stop times: once each is enough.
              if (attempts === 0 && isApplied && timeToStopInstance === null) yield* sleeping(base);
            }
}

/** In both stages, and of a pod that may not sleep any more. */
function* sleeping(base: PodRecord): Iterable<PodRecord> {
  for (const stage of ['holding', 'decided'] as const) yield { ...sleeper(base), sleep: { stage, sinceMs: 1_000_000 } };
  yield { ...base, sleep: { stage: 'decided', sinceMs: 1_000_000 } };
}

function sleeper(base: PodRecord): PodRecord {
  const sleep = { afterSeconds: 900, holdSeconds: 60, probePaths: [] };
  return { ...base, spec: { ...base.spec, sleep } };
}

function goalProblem(world: World, wishedOn: boolean): string | null {
  const { record, workload, fate } = world;
  if (record === null) return null;
  if (record.deleting !== null) return 'a deleted pod is still there';
  if (record.wish === 'OFF') {
    if (record.status !== 'STOPPED') return 'wished OFF, not STOPPED';
    if (world.remains) return 'STOPPED, but parts of its workload are left';
    return workload === null ? null : 'STOPPED, but its workload runs';
  }
  if (record.wish === 'RESTART') return 'RESTART has not become ON';
  if (!wishedOn) return 'ON without having been wished';
  const isAsleep = record.sleep?.stage === 'decided' && record.spec.sleep !== undefined;
  if (isAsleep !== (record.status === 'ASLEEP')) return `ends in ${record.status} with ${record.sleep?.stage}`;
  switch (record.status) {
    case 'ASLEEP':
      return workload === null && !world.remains ? null : 'ASLEEP, but something of it is left';
    case 'RUNNING':
      if (record.sleep?.stage === 'holding') return 'kept from its clients for ever';
      if (fate === 'uses too much') return 'RUNNING, though it uses too much each time';
      return workload?.phase === 'ready' ? null : 'RUNNING, but nothing is ready';
    case 'COMPLETE':
      return null;
    case 'ERROR':
      if (workload?.phase === 'exceeded') return record.attempts >= SPAWN_ATTEMPTS_MAX ? null : 'given up too soon';
      if (fate === 'crashes' || workload?.phase === 'crashing' || workload?.phase === 'failed') return null;
      return record.attempts >= SPAWN_ATTEMPTS_MAX ? null : 'ERROR with attempts left and nothing wrong';
    default:
      return `ends in ${record.status}`;
  }
}

test('for every desired state, status and observation there is a next step, and every pod reaches its goal', () => {
  let cases = 0;
  for (const record of records()) {
    for (const observation of observations(record)) {
      // Five starts take long to walk through: from one observation is enough, since all the others lead there.
      const isAbsent = observation.kind === 'absent' && !observation.data;
      for (const fate of FATES.filter((each) => isAbsent || each !== 'uses too much')) {
        // To be left with parts is no matter of fate: once with a fate that ends and once with one that lasts.
        for (const leavesRemains of fate === 'runs' || fate === 'crashes' ? [false, true] : [false]) {
          cases += 1;
          const world = new World(record, observation, fate, leavesRemains);
          world.step(observation);
          // So many outlast every back-off; a pod that needs more is stuck or oscillates.
          const turns = fate === 'uses too much' ? 160 : 80;
          for (let turn = 0; turn < turns && world.record !== null; turn += 1) world.step(world.observe());
          const problem = goalProblem(world, record.wish !== 'OFF');
          if (problem !== null) {
            const from = JSON.stringify({ record, observation, fate, leavesRemains });
            expect.fail(`${problem}; from ${from}\n${world.trail.join('\n')}`);
          }
        }
      }
    }
  }
  expect(cases).toBeGreaterThan(100_000);
}, 240_000);

test('the plan does nothing to a pod that has reached its goal', () => {
  for (const fate of FATES) {
    for (const wish of WISHES) {
      const world = new World(
        podRecord({ wish, status: 'STOPPED', timeToStopInstance: -1 }),
        { kind: 'absent', data: false },
        fate,
      );
      for (let turn = 0; turn < 160; turn += 1) world.step(world.observe());
      expect(world.record).not.toBeNull();
      if (world.record !== null) expect(planPod(world.record, world.observe(), world.nowMs).kind).toBe('none');
    }
  }
});

test('a pod goes to sleep through a normal shutdown, stays asleep, and starts when it is woken', () => {
  const record: PodRecord = { ...sleeper(podRecord({ startInstanceMs: 1 })), sleep: { stage: 'decided', sinceMs: 0 } };
  const world = new World(record, workloadOf(record, { phase: 'ready' }), 'runs', true);
  const statuses: string[] = [];
  const turn = (turns: number): void => {
    for (let count = 0; count < turns; count += 1) {
      world.step(world.observe());
      const status = world.record?.status ?? 'purged';
      if (statuses.at(-1) !== status) statuses.push(status);
    }
  };
  turn(30);
  expect(statuses).toEqual(['SHUTTING_DOWN', 'ASLEEP']);
  const asleep = world.record;
  if (asleep === null) expect.fail('a sleeping pod has a record');
  expect(asleep).toMatchObject({ wish: 'ON', run: 1, sleep: { stage: 'decided', sinceMs: 0 }, startInstanceMs: null });
  expect(planPod(asleep, { kind: 'unknown', reason: 'no answer' }, 0)).toEqual({ kind: 'none', lookAgainMs: null });
  const woken = wakeChange(asleep);
  expect(woken).toMatchObject({ change: { status: 'REQUESTED', run: 2, sleep: null }, enqueue: true });
  world.record = { ...asleep, ...woken?.change };
  // Asked a second time, nothing happens.
  expect(wakeChange(world.record)).toBeNull();
  turn(30);
  expect(statuses).toEqual(['SHUTTING_DOWN', 'ASLEEP', 'CREATING_CONTAINER', 'RUNNING']);
  // Two turns of three seconds: what its next uptime is at least twice as long as.
  expect(world.record).toMatchObject({ run: 2, startTookMs: 6_000 });
});

test('woken on its way to sleep, a pod that still runs goes on; a pod that is shutting down stops and starts again', () => {
  for (const status of ['RUNNING', 'SHUTTING_DOWN'] as const) {
    const record: PodRecord = { ...sleeper(podRecord({ status })), sleep: { stage: 'decided', sinceMs: 0 } };
    const woken = wakeChange(record);
    expect(woken).toEqual({ change: { sleep: null }, enqueue: false });
    const world = new World({ ...record, ...woken?.change }, workloadOf(record, { phase: 'ready' }), 'runs');
    for (let turn = 0; turn < 30; turn += 1) world.step(world.observe());
    expect(world.record).toMatchObject({ status: 'RUNNING', run: status === 'RUNNING' ? 1 : 2 });
  }
});

test('only a sleeping pod whose desired state is ON is woken', () => {
  const sleep = { stage: 'decided', sinceMs: 0 } as const;
  const asleep: PodRecord = { ...sleeper(podRecord({ status: 'ASLEEP' })), sleep };
  expect(wakeChange(asleep)).not.toBeNull();
  for (const other of [
    { ...asleep, wish: 'OFF' as const },
    { ...asleep, wish: 'RESTART' as const },
    { ...asleep, deleting: { keepVolume: false } },
    { ...asleep, sleep: null },
    sleeper(podRecord({ status: 'STOPPED', wish: 'OFF' })),
  ]) {
    expect(wakeChange(other)).toBeNull();
  }
});

test('clients of a pod wait for a minute at most, whatever the clock does', () => {
  const holding = { stage: 'holding', sinceMs: 1_000_000 } as const;
  const record: PodRecord = { ...sleeper(podRecord()), sleep: holding };
  const ready = workloadOf(record, { phase: 'ready' });
  for (const [nowMs, isOver] of [
    [1_000_000 + HOLDING_MAX_MS, false],
    [1_000_001 + HOLDING_MAX_MS, true],
    [0, true],
  ] as const) {
    const step = planPod(record, ready, nowMs);
    expect(step.kind === 'write' && step.change.sleep === null).toBe(isOver);
  }
});

test('no evidence, no action: when the orchestrator does not respond, or reports another uid, no running pod changes', () => {
  for (const status of ['CREATING_CONTAINER', 'RUNNING', 'ERROR', 'COMPLETE'] as const) {
    const record = podRecord({ status });
    expect(planPod(record, { kind: 'unknown', reason: 'no answer' }, 0)).toMatchObject({ kind: 'none' });
    for (const phase of WORKLOAD_PHASES) {
      expect(planPod(record, workloadOf(record, { phase, uid: 'another' }), 0)).toMatchObject({ kind: 'none' });
    }
  }
});

test('the stop time is measured by the age of the workload: a jump of the wall clock stops no pod', () => {
  const record = podRecord({ status: 'RUNNING', timeToStopInstance: 600 });
  const twelveHoursMs = 12 * 3_600_000;
  for (const nowMs of [-twelveHoursMs, 0, twelveHoursMs]) {
    const steady = { ...record, statusContainer: null };
    const young = planPod(steady, workloadOf(record, { phase: 'ready', ageMs: 599_000 }), nowMs);
    expect(young).not.toMatchObject({ kind: 'write', change: { wish: 'OFF' } });
    const old = planPod(steady, workloadOf(record, { phase: 'ready', ageMs: 600_000 }), nowMs);
    expect(old).toMatchObject({ kind: 'write', change: { wish: 'OFF' } });
  }
  const never = { ...record, timeToStopInstance: -1 };
  expect(planPod(never, workloadOf(record, { phase: 'ready', ageMs: 1e12 }), 0)).not.toMatchObject({
    change: { wish: 'OFF' },
  });
});

test('RESTART stops the pod before it starts it, and clears earlier failures', () => {
  const record = podRecord({ wish: 'RESTART', status: 'ERROR', attempts: SPAWN_ATTEMPTS_MAX });
  const world = new World(record, workloadOf(record, { phase: 'crashing' }), 'runs');
  const statuses: string[] = [];
  for (let turn = 0; turn < 30; turn += 1) {
    world.step(world.observe());
    const status = world.record?.status ?? 'purged';
    if (statuses.at(-1) !== status) statuses.push(status);
  }
  expect(statuses).toEqual(['SHUTTING_DOWN', 'STOPPED', 'REQUESTED', 'CREATING_CONTAINER', 'RUNNING']);
  expect(world.record?.attempts).toBe(0);
  expect(world.record?.run).toBe(record.run + 1);
});

test('the late result of a spawner overwrites no newer desired state, run or pod', () => {
  const record = podRecord({ status: 'SPAWNER_SETUP' });
  const attempted = { uid: record.uid, generation: 1, run: 1 };
  const ensured: EnsureResult & { kind: 'ensured' } = { kind: 'ensured' };
  expect(planSpawnResult(record, attempted, ensured, 0)).not.toBeNull();
  for (const moved of [
    { ...record, wish: 'OFF' as const },
    { ...record, uid: 'another' },
    { ...record, deleting: { keepVolume: false } },
    { ...record, status: 'SHUTTING_DOWN' as const },
    { ...record, applied: { generation: 2, run: 1, spec: record.spec } },
    { ...record, applied: { generation: 1, run: 2, spec: record.spec } },
  ]) {
    expect(planSpawnResult(moved, attempted, ensured, 0)).toBeNull();
  }
});

test('a failed spawn is retried with growing delays, then the pod is ERROR with the reason', () => {
  let record = podRecord({ status: 'SPAWNER_SETUP' });
  const waits: number[] = [];
  for (let attempt = 1; attempt <= SPAWN_ATTEMPTS_MAX; attempt += 1) {
    const outcome = planSpawnResult(
      { ...record, status: 'SPAWNER_SETUP' },
      { uid: record.uid, generation: 1, run: 1 },
      { kind: 'failed', reason: 'no such image', retryable: true },
      0,
    );
    if (outcome === null) expect.fail('the record has not moved on');
    record = { ...record, ...outcome.change };
    if (outcome.retryMs !== null) waits.push(outcome.retryMs);
  }
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000]);
  expect(record).toMatchObject({
    status: 'ERROR',
    attempts: SPAWN_ATTEMPTS_MAX,
    statusContainer: { message: 'no such image' },
  });
});

test('a pod that its cluster ends is started again as a new run, with growing delays, without limit', () => {
  let record = podRecord();
  const waits: number[] = [];
  for (let count = 1; count <= 8; count += 1) {
    const nowMs = count * 120_000;
    const step = planPod(record, workloadOf(record, { phase: 'evicted', message: 'Short of memory.' }), nowMs);
    if (step.kind !== 'write') expect.fail(step.kind);
    expect(step).toMatchObject({
      change: { status: 'REQUESTED', run: record.run + 1, statusContainer: { message: 'Short of memory.' } },
      log: 'health set status to REQUESTED: Short of memory.',
      enqueue: true,
    });
    record = { ...record, ...step.change };
    waits.push(record.notBeforeMs - nowMs);
    // What is left of the former run goes first, and nothing else of this uid with it.
    const left = workloadOf(record, { phase: 'evicted' });
    expect(planPod(record, left, nowMs)).toEqual({ kind: 'remove', data: 'keep', run: record.run - 1 });
    record = { ...record, status: 'RUNNING', applied: { generation: 1, run: record.run, spec: record.spec } };
  }
  expect(waits).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000]);
});

test('a pod that is ended for its own resource use is an ERROR after five times in a row; a start resets the count', () => {
  const evictions = { run: 7, count: 6, excesses: 4, atMs: 0 };
  const record = podRecord({ run: 7, evictions });
  const running = { ...record, applied: { generation: 1, run: 7, spec: record.spec } };
  const exceeded = workloadOf(running, { phase: 'exceeded', message: 'The pod used more space than it may.' });
  const step = planPod(running, exceeded, 60_000);
  if (step.kind !== 'write') expect.fail(step.kind);
  expect(step.change).toMatchObject({
    status: 'ERROR',
    attempts: SPAWN_ATTEMPTS_MAX,
    statusContainer: {
      message:
        'The pod used more space than it may. That was the 5th time in a row: start it again once it needs less.',
    },
  });
  expect(planPod({ ...running, ...step.change }, exceeded, 60_000).kind).toBe('none');
  // Long ago, on a clock that was set back, or before its user started it again: the first time.
  const started = { ...running, run: 9, applied: { generation: 1, run: 9, spec: record.spec } };
  for (const [pod, nowMs] of [
    [running, 3_600_000],
    [running, -1],
    [started, 60_000],
  ] as const) {
    const again = planPod(pod, workloadOf(pod, { phase: 'exceeded' }), nowMs);
    expect(again).toMatchObject({ change: { status: 'REQUESTED', evictions: { count: 1, excesses: 1 } } });
  }
  // Trouble of its node in between shows that it is not always its own.
  const evicted = planPod(running, workloadOf(running, { phase: 'evicted' }), 60_000);
  expect(evicted).toMatchObject({ change: { evictions: { count: 7, excesses: 0 } } });
});
