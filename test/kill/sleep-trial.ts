import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect, parseArgs } from 'node:util';
import { SLEEPS_MOST } from '../../control/resources/pods/sleep/sleep-budget.ts';
import { Program } from '../support/program.ts';
import { processesWithVariable, processInfo } from '../support/process-table.ts';
import { until } from '../support/until.ts';
import { Chance } from '../sim/scheduler.ts';
import { AFTER_SECONDS, HOLD_SECONDS, NAME_VARIABLE, Sleeper, type SleeperKind } from './sleeper.ts';
import { strike, type Target, TARGETS } from './strike.ts';

const HELP = `sleep-trial: kills the control child, a worker, the supervisor or the whole program with SIGKILL while pods go to sleep
and while clients wake them. Checks that every client gets an answer or a refusal in time, that nothing acknowledged is lost
or done twice, that each wake is one start, that stopped pods stay stopped, and that no pod is stuck or runs twice.

  node test/kill/sleep-trial.ts [--rounds 6] [--pods 24] [--kills 6] [--seed N]

In a round, the pods are idle for ${AFTER_SECONDS} s; then there is one kill while they go to sleep, and --kills while they are woken.
A pod goes to sleep ${SLEEPS_MOST} times in quick succession: no more rounds than that.

Exit codes: 0 every check passed, 1 a check failed, 2 usage error.`;

const WORKLOAD = 'PODGATE_WORKLOAD';
const KINDS: readonly SleeperKind[] = ['journal', 'hello', 'journal', 'postgres'];
/** The idle time, twice a slow start of a pod, and the checks before it sleeps. */
const FIRST_SLEEP_MS = 180_000;
/** How long pods are watched falling asleep, until the kill. */
const WINDOW_MS = 15_000;
/** A client that tries again is served after at most so long. */
const SERVED_MS = 180_000;
/** What the kernel hands on after a kill. */
const EXCUSED_MS = 2_000;
const ATTEMPT_LATE_MS = 5_000;
const LINES_SHOWN = 60;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '6' },
      pods: { type: 'string', default: '24' },
      kills: { type: 'string', default: '6' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const [rounds, pods, kills, seed] = [values.rounds, values.pods, values.kills, values.seed].map(Number) as [
    number,
    number,
    number,
    number,
  ];
  if (![rounds, pods, kills, seed].every((value) => Number.isInteger(value) && value >= 0) || rounds > SLEEPS_MOST) {
    console.error(HELP);
    return 2;
  }
  console.log(`sleep trial: ${rounds} rounds, ${pods} pods, seed ${seed}`);
  const trial = await SleepTrial.begin(new Chance(seed), pods);
  try {
    for (let round = 1; round <= rounds && trial.problems.length === 0; round += 1) {
      await trial.round(kills);
      console.log(`  round ${round} of ${rounds}: ${trial.summary()}`);
    }
  } catch (error) {
    trial.problems.push(error instanceof Error ? `${error.stack ?? error.message}${causeOf(error)}` : String(error));
  }
  await trial.end();
  for (const problem of trial.problems) console.error(`PROBLEM: ${problem}`);
  if (trial.problems.length > 0) console.error(`the program said last:\n${trial.lastSaid()}`);
  console.log(`sleep trial: ${trial.summary()}; ${trial.problems.length} problems`);
  return trial.problems.length === 0 ? 0 : 1;
}

const causeOf = (error: Error): string => (error.cause === undefined ? '' : `\ncaused by ${inspect(error.cause)}`);

interface PodState {
  readonly pod_id: string;
  readonly status: string;
  readonly status_requested: string;
}

/** A time in which connections may break: what carries them is killed, or is not there yet. */
interface Excuse {
  readonly fromMs: number;
  toMs: number;
}

class SleepTrial {
  readonly program: Program;
  readonly problems: string[] = [];
  readonly #chance: Chance;
  readonly #sleepers: readonly Sleeper[];
  readonly #installation: string;
  /** By uid, which processes bear. */
  readonly #podIds: ReadonlyMap<string, string>;
  readonly #excuses: Excuse[] = [];
  readonly #kills: Record<Target, number> = { control: 0, worker: 0, program: 0, supervisor: 0 };
  readonly #statusAtKill = new Map<string, number>();
  readonly #refusals = new Map<string, number>();
  readonly #waitsMs: number[] = [];
  readonly #watch: NodeJS.Timeout;
  #addresses = 0;
  #sleeps = 0;
  #starts = 0;
  #stops = 0;

  private constructor(
    program: Program,
    chance: Chance,
    sleepers: readonly Sleeper[],
    podIds: ReadonlyMap<string, string>,
  ) {
    this.program = program;
    this.#podIds = podIds;
    this.#chance = chance;
    this.#sleepers = sleepers;
    this.#installation = installationOf(program);
    this.#watch = setInterval(() => this.#runs(), 2_000);
  }

  static async begin(chance: Chance, pods: number): Promise<SleepTrial> {
    const program = await Program.start({ workers: 2 });
    try {
      const sleepers = Array.from({ length: pods }, (_, index) => {
        const kind = KINDS[index % KINDS.length] ?? 'hello';
        return new Sleeper(program, `${kind}${index}`, kind);
      });
      // A start takes the processor: not all at once.
      for (let first = 0; first < pods; first += 4) {
        await Promise.all(sleepers.slice(first, first + 4).map((sleeper) => sleeper.create()));
      }
      const installation = installationOf(program);
      const names = new Map(processesWithVariable(NAME_VARIABLE).map(({ pid, value }) => [pid, value]));
      // There may be another trial on this machine, and processes of a database come and go.
      const ours = processesWithVariable(WORKLOAD).filter(
        ({ pid, value }) => value.startsWith(`${installation}/`) && names.has(pid),
      );
      const podIds = new Map(ours.map(({ pid, value }) => [uidIn(value), names.get(pid) ?? '']));
      if (podIds.size !== pods) throw new Error(`${pods} pods run, but the processes are of ${podIds.size}`);
      return new SleepTrial(program, chance, sleepers, podIds);
    } catch (error) {
      await program.dispose();
      throw error;
    }
  }

  async round(kills: number): Promise<void> {
    const before = this.#runs();
    const firstMs = await this.#killWhileTheySleep();
    const asleep = await this.#settled();
    this.#sleeps += asleep.length;
    await this.#wakeUnderKills(asleep, kills);
    // Whatever state it is in: a pod that is wanted serves its next client.
    await Promise.all(this.#sleepers.map((sleeper) => this.#visit(sleeper)));
    await this.#atGoals();
    const after = this.#runs();
    // Who was served early may have been asleep a second time.
    const mostStarts = 1 + Math.floor((performance.now() - firstMs) / (AFTER_SECONDS * 1_000));
    const wanted = this.#sleepers.filter(({ isWanted }) => isWanted);
    for (const { podId } of wanted) {
      const starts = (after.get(podId) ?? 0) - (before.get(podId) ?? 0);
      this.#starts += starts;
      if (starts > mostStarts) this.problems.push(`${podId} was started ${starts} times in one round`);
      if (asleep.includes(podId) && starts === 0) this.problems.push(`${podId} was asleep and was not started`);
    }
    for (const sleeper of wanted) this.problems.push(...(await sleeper.lost()));
    await this.#startStopped();
  }

  /** Returns when the first of them went to sleep. */
  async #killWhileTheySleep(): Promise<number> {
    const share = 0.1 + 0.8 * this.#chance.next();
    const isGone = ({ status }: PodState) => status === 'ASLEEP' || status === 'SHUTTING_DOWN';
    await until('the first pod goes to sleep', async () => (await this.#states()).some(isGone), {
      timeoutMs: FIRST_SLEEP_MS,
      everyMs: 500,
    });
    const startedMs = performance.now();
    const disturbers = Array.from({ length: Math.ceil(this.#sleepers.length / 8) }, () => ({
      sleeper: this.#chance.pick(this.#sleepers),
      afterMs: this.#chance.below(6_000),
    }));
    const stopAfterMs = this.#chance.below(4_000);
    const killAfterMs = this.#chance.below(400);
    const clients = [
      ...disturbers.map(async ({ sleeper, afterMs }) => this.#visitLater(sleeper, afterMs)),
      this.#stopLater(this.#chance.pick(this.#sleepers), stopAfterMs),
    ];
    // Some of them are asleep, some go to sleep, and some do not yet.
    await until(
      'enough of them sleep',
      async () => (await this.#states()).filter(isGone).length >= share * this.#sleepers.length,
      { timeoutMs: WINDOW_MS, everyMs: 100 },
    ).catch(() => undefined);
    await pause(killAfterMs);
    await this.#kill();
    await Promise.all(clients);
    return startedMs;
  }

  /** Waits until no pod is on its way anywhere. Returns those that are asleep; nothing of them runs. */
  async #settled(): Promise<readonly string[]> {
    const rest = ['RUNNING', 'ASLEEP', 'STOPPED'];
    const states = await until(
      'no pod remains on its way',
      async () => {
        const now = await this.#states();
        return now.every(({ status }) => rest.includes(status)) ? now : null;
      },
      { timeoutMs: 90_000, everyMs: 250 },
    ).catch(async (error: unknown) => {
      throw new Error(`a pod is stuck: ${JSON.stringify(await this.#states())}`, { cause: error });
    });
    const asleep = states.filter(({ status }) => status === 'ASLEEP').map((state) => state.pod_id);
    const runs = this.#runs();
    for (const podId of asleep) if (runs.has(podId)) this.problems.push(`${podId} is asleep, and runs`);
    return asleep;
  }

  /** In as many groups as there are kills: each is woken by several clients around the moment of its kill. */
  async #wakeUnderKills(asleep: readonly string[], kills: number): Promise<void> {
    const waiting = this.#sleepers.filter(({ podId }) => asleep.includes(podId));
    for (let left = kills; left > 0; left -= 1) {
      const group = waiting.splice(0, Math.ceil(waiting.length / left));
      const clients = group.flatMap((sleeper) =>
        Array.from({ length: 1 + this.#chance.below(4) }, () => this.#visitLater(sleeper, this.#chance.below(1_200))),
      );
      const [stopped] = group;
      if (left === kills && stopped !== undefined) clients.push(this.#stopLater(stopped, this.#chance.below(1_500)));
      await pause(this.#chance.below(1_500));
      await this.#kill();
      await Promise.all(clients);
    }
  }

  async #kill(): Promise<void> {
    const target = this.#chance.pick(TARGETS);
    for (const { status } of await this.#states()) add(this.#statusAtKill, status);
    this.#kills[target] += 1;
    const excuse = { fromMs: performance.now(), toMs: Infinity };
    if (target !== 'control') this.#excuses.push(excuse);
    await strike(this.program, target, this.#chance);
    excuse.toMs = performance.now() + EXCUSED_MS;
  }

  async #visitLater(sleeper: Sleeper, afterMs: number): Promise<void> {
    await pause(afterMs);
    await this.#visit(sleeper);
  }

  /** A client, which tries again until it is served. */
  async #visit(sleeper: Sleeper): Promise<void> {
    const { podId } = sleeper;
    const begunMs = performance.now();
    for (;;) {
      const fromMs = performance.now();
      const wasWanted = sleeper.isWanted;
      const attempt = await sleeper.attempt(this.#nextAddress());
      const tookMs = performance.now() - fromMs;
      const after = `after ${Math.round(tookMs)} ms`;
      if (tookMs > HOLD_SECONDS * 1_000 + ATTEMPT_LATE_MS) this.problems.push(`a client of ${podId} waited: ${after}`);
      if (attempt.kind === 'served') {
        this.#waitsMs.push(performance.now() - begunMs);
        return;
      }
      const isExcused = this.#excuses.some((each) => each.fromMs <= fromMs + tookMs && each.toMs >= fromMs);
      const when = isExcused ? 'around a kill' : 'at other times';
      if (attempt.kind === 'refused') add(this.#refusals, `"${attempt.why}" ${when}`);
      const isTooSoon = wasWanted && sleeper.isWanted && tookMs < HOLD_SECONDS * 1_000;
      if (!isExcused && (attempt.kind !== 'refused' || isTooSoon)) {
        this.problems.push(
          `a client of ${podId} got "${attempt.why}" ${after}, and nothing that carries it was killed`,
        );
        return;
      }
      // Whoever has stopped it wants no one served.
      if (!wasWanted || !sleeper.isWanted) return;
      if (performance.now() - begunMs > SERVED_MS) {
        this.problems.push(`a client of ${podId} is not served: ${attempt.why}`);
        return;
      }
      await pause(500);
    }
  }

  /** Loopback has 16 million addresses. */
  #nextAddress(): string {
    this.#addresses += 1;
    return `127.${1 + (this.#addresses >> 16)}.${(this.#addresses >> 8) & 255}.${this.#addresses & 255}`;
  }

  async #stopLater(sleeper: Sleeper, afterMs: number): Promise<void> {
    await pause(afterMs);
    if (!sleeper.isWanted) return;
    sleeper.isWanted = false;
    this.#stops += 1;
    await this.#acknowledged(`stop ${sleeper.podId}`, 'GET', `/v3/pods/${sleeper.podId}/stop`).catch((error: unknown) =>
      this.problems.push(String(error)),
    );
  }

  async #startStopped(): Promise<void> {
    const stopped = this.#sleepers.filter(({ isWanted }) => !isWanted);
    await Promise.all(
      stopped.map(async (sleeper) => {
        await this.#acknowledged(`start ${sleeper.podId}`, 'GET', `/v3/pods/${sleeper.podId}/start`);
        await this.program.podStatus(sleeper.podId, 'RUNNING');
        sleeper.isWanted = true;
        this.problems.push(...(await sleeper.lost()));
      }),
    );
  }

  /** Every pod is where its user wants it, and the processes are those of the running pods. */
  async #atGoals(): Promise<void> {
    const wanted = new Set(this.#sleepers.filter(({ isWanted }) => isWanted).map(({ podId }) => podId));
    await until(
      'every pod is where its user wants it',
      async () =>
        (await this.#states()).every((pod) =>
          wanted.has(pod.pod_id)
            ? pod.status === 'RUNNING' && pod.status_requested === 'ON'
            : pod.status === 'STOPPED' && pod.status_requested === 'OFF',
        ),
      { timeoutMs: 30_000, everyMs: 250 },
    ).catch(async () => this.problems.push(`not at their goals: ${JSON.stringify(await this.#states())}`));
    const running = [...this.#runs().keys()].sort();
    const expected = [...wanted].sort();
    if (running.join() !== expected.join()) {
      this.problems.push(`processes are of ${running.join(' ')}; wanted are ${expected.join(' ')}`);
    }
  }

  async #states(): Promise<readonly PodState[]> {
    return until(
      'the API responds',
      async () => {
        const { status, body } = await this.program.get('/v3/pods');
        return status === 200 ? (body.result as readonly PodState[]) : null;
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
  }

  async #acknowledged(what: string, method: string, path: string): Promise<void> {
    await until(what, async () => (await this.program.api(method, path)).status === 200, {
      timeoutMs: 60_000,
      everyMs: 250,
    });
  }

  /** The run of each pod that has processes. A pod with those of two runs is a problem. */
  #runs(): ReadonlyMap<string, number> {
    const runs = new Map<string, { readonly run: number; readonly pid: number }>();
    for (const { pid, value } of processesWithVariable(WORKLOAD)) {
      const [installation, uid = '', , run] = value.split('/');
      const podId = this.#podIds.get(uid);
      if (installation !== this.#installation || podId === undefined) continue;
      const other = runs.get(podId);
      // One may have ended while the other was read.
      if (other !== undefined && other.run !== Number(run) && isAlive(other.pid) && isAlive(pid)) {
        this.problems.push(`${podId} runs twice: runs ${other.run} and ${run}`);
      }
      if (other === undefined || other.run < Number(run)) runs.set(podId, { run: Number(run), pid });
    }
    return new Map([...runs].map(([podId, { run }]) => [podId, run]));
  }

  async end(): Promise<void> {
    clearInterval(this.#watch);
    await this.program.dispose();
    const left = [...this.#runs().keys()];
    if (left.length === 0) return;
    this.problems.push(`left over after the end: ${left.join(' ')}`);
    for (const { pid, value } of processesWithVariable(WORKLOAD)) {
      if (value.startsWith(`${this.#installation}/`) && isAlive(pid)) process.kill(pid, 'SIGKILL');
    }
  }

  /** Without the calls of the API, which are many. */
  lastSaid(): string {
    const lines = this.program.output.split('\n').filter((line) => !line.includes('"msg":"api request"'));
    return lines.slice(-LINES_SHOWN).join('\n');
  }

  summary(): string {
    const sorted = this.#waitsMs.toSorted((a, b) => a - b);
    const at = (share: number) =>
      Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
    const counted = (counts: Iterable<readonly [string, number]>) =>
      [...counts].map(([what, count]) => `${count} ${what}`).join(', ');
    const acknowledged = this.#sleepers.reduce((sum, sleeper) => sum + sleeper.acknowledged, 0);
    return (
      `${counted(Object.entries(this.#kills))} killed (pods were ${counted(this.#statusAtKill)}); ` +
      `${this.#sleeps} sleeps, ${this.#starts} starts, ${this.#stops} stops; ${acknowledged} acknowledged, ` +
      `served after ${at(0.5)} ms (median), ${at(1)} ms (most); refused: ${counted(this.#refusals) || 'none'}`
    );
  }
}

const installationOf = ({ dataDir }: Program): string => readFileSync(join(dataDir, 'installation.id'), 'utf8').trim();

const uidIn = (workload: string): string => workload.split('/')[1] ?? '';

function isAlive(pid: number): boolean {
  const info = processInfo(pid);
  return info !== null && info.state !== 'Z';
}

function add(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

process.exitCode = await main();
