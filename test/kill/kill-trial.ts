import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Program } from '../support/program.ts';
import { processesWithVariable, processTable } from '../support/process-table.ts';
import { Promises } from '../support/promises.ts';
import { until } from '../support/until.ts';
import { Chance } from '../sim/scheduler.ts';
import { ApiWriters } from './api-writers.ts';
import { EchoSessions } from './echo-sessions.ts';
import { strike, type Target, TARGETS } from './strike.ts';

const HELP = `kill-trial: kills the control child, a worker, the supervisor or the whole program with SIGKILL, at random moments
under load. Checks that no acknowledged record is lost, no pod is stuck, no process is left over, and no session is cut
unnecessarily.

  node test/kill/kill-trial.ts [--times 200] [--seed N] [--sessions 20]

Exit codes: 0 every check passed, 1 a check failed, 2 usage error.`;

const WORKLOAD = 'PODGATE_WORKLOAD';
const ECHO = [
  'node',
  '-e',
  "require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(process.env.PORT, '127.0.0.1')",
];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      times: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      sessions: { type: 'string', default: '20' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const [times, seed, sessionCount] = [Number(values.times), Number(values.seed), Number(values.sessions)];
  if (![times, seed, sessionCount].every((value) => Number.isInteger(value) && value >= 0)) {
    console.error(HELP);
    return 2;
  }
  console.log(`kill trial: ${times} kills, seed ${seed}`);
  const trial = await Trial.begin(new Chance(seed), sessionCount);
  const problems: string[] = [];
  try {
    for (let kill = 1; kill <= times && problems.length === 0; kill += 1) {
      problems.push(...(await trial.kill(kill)));
      if (kill % 10 === 0 || kill === times) problems.push(...(await trial.settle()));
      if (kill % 10 === 0) console.log(`  ${kill} of ${times}: ${trial.summary()}`);
    }
  } catch (error) {
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  problems.push(...(await trial.end()));
  for (const problem of problems) console.error(`PROBLEM: ${problem}`);
  if (problems.length > 0) console.error(trial.program.output.slice(-8_000));
  console.log(`kill trial: ${trial.summary()}; ${problems.length} problems`);
  return problems.length === 0 ? 0 : 1;
}

class Trial {
  readonly program: Program;
  readonly #chance: Chance;
  readonly #promises = new Promises();
  readonly #writers: ApiWriters;
  readonly #sessions: EchoSessions;
  /** Marks the processes of this program's pods among others on the machine. */
  readonly #installation: string;
  readonly #kills: Record<Target, number> = { control: 0, worker: 0, program: 0, supervisor: 0 };
  readonly #recoveryMs: number[] = [];

  private constructor(program: Program, chance: Chance, sessions: EchoSessions) {
    this.program = program;
    this.#chance = chance;
    this.#sessions = sessions;
    this.#installation = readFileSync(join(program.dataDir, 'installation.id'), 'utf8').trim();
    this.#writers = new ApiWriters(program, this.#promises, chance);
  }

  static async begin(chance: Chance, sessionCount: number): Promise<Trial> {
    const program = await Program.start({ workers: 2 });
    await program.createPod({
      pod_id: 'echo',
      pod_template: 'podgate/process',
      command: ECHO,
      networking: { default: { protocol: 'tcp', port: 7000 } },
      time_to_stop_default: -1,
    });
    const sessions = new EchoSessions(sessionCount, {
      port: program.httpsPort,
      ca: program.ca,
      servername: 'echo.pods.localhost',
    });
    const trial = new Trial(program, chance, sessions);
    await sessions.fill(20_000);
    trial.#writers.start();
    return trial;
  }

  async kill(number: number): Promise<readonly string[]> {
    await new Promise((resolve) => setTimeout(resolve, this.#chance.below(600)));
    const target = this.#chance.pick(TARGETS);
    this.#kills[target] += 1;
    const workers = this.program.children('worker').map(({ pid }) => pid);
    const carriers = this.#sessions.carriers(workers);
    const started = performance.now();
    const victims = await strike(this.program, target, this.#chance);
    await this.program.podStatus('echo', 'RUNNING', 30_000);
    this.#recoveryMs.push(performance.now() - started);
    const cuts = this.#sessions.cutsOutside(carriers, victims);
    await this.#sessions.fill(30_000);
    return [
      ...cuts.map((cut) => `kill ${number} (${target}) cut a session it need not have: ${cut}`),
      ...(await this.#lost()).map((problem) => `after kill ${number} (${target}): ${problem}`),
    ];
  }

  async #lost(): Promise<readonly string[]> {
    await this.#writers.stop();
    const problems: string[] = [];
    for (const podId of this.#writers.podIds) {
      const answer = await this.program.get(`/v3/pods/${podId}`);
      const pod = answer.body.result as { description?: string } | null;
      const problem = this.#promises.problem(podId, answer.status === 404 ? null : (pod?.description ?? '?'));
      if (problem !== null) problems.push(`an acknowledged write is lost: ${problem}`);
    }
    this.#writers.start();
    return problems;
  }

  /** With the users at rest every pod reaches its goal, and nothing runs that no pod accounts for. */
  async settle(): Promise<readonly string[]> {
    await this.#writers.stop();
    const problems: string[] = [];
    const running = await until('every pod is at its goal', () => this.#runningPods(), {
      timeoutMs: 60_000,
      everyMs: 200,
    }).catch(async () => {
      const { body } = await this.program.get('/v3/pods');
      problems.push(`a pod is stuck: ${JSON.stringify(body.result)}`);
      return null;
    });
    if (running !== null) {
      await until('the processes are those of the running pods', () => this.#workloads().size === running.length).catch(
        () => problems.push(`${running.length} pods run, but the processes are of ${[...this.#workloads()].join(' ')}`),
      );
      const uids = [...this.#workloads()].map((workload) => workload.split('/')[1]);
      if (new Set(uids).size !== uids.length) problems.push(`a pod runs twice: ${[...this.#workloads()].join(' ')}`);
    }
    const zombies = processTable().filter(({ parent, state }) => state === 'Z' && parent === this.program.pid);
    if (zombies.length > 0) problems.push(`${zombies.length} zombies`);
    this.#writers.start();
    return problems;
  }

  /** Names of the running pods once every pod is where its user wants it, else null. */
  async #runningPods(): Promise<readonly string[] | null> {
    const { body } = await this.program.get('/v3/pods');
    const pods = body.result as readonly { pod_id: string; status: string; status_requested: string }[];
    const isAtGoal = pods.every(
      ({ status, status_requested: wish }) => status === (wish === 'ON' ? 'RUNNING' : 'STOPPED'),
    );
    return isAtGoal ? pods.filter(({ status }) => status === 'RUNNING').map((pod) => pod.pod_id) : null;
  }

  #workloads(): ReadonlySet<string> {
    const ours = processesWithVariable(WORKLOAD).filter(({ value }) => value.startsWith(`${this.#installation}/`));
    return new Set(ours.map(({ value }) => value));
  }

  async end(): Promise<readonly string[]> {
    await this.#writers.stop();
    this.#sessions.close();
    const started = performance.now();
    await this.program.dispose();
    const problems = performance.now() - started > 5_000 ? ['the program took more than 5 s to end'] : [];
    const left = [...this.#workloads()];
    return left.length === 0 ? problems : [...problems, `left over after the end: ${left.join(' ')}`];
  }

  summary(): string {
    const sorted = this.#recoveryMs.toSorted((a, b) => a - b);
    const at = (share: number) =>
      Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
    const kills = Object.entries(this.#kills)
      .map(([target, count]) => `${count} ${target}`)
      .join(', ');
    return (
      `${kills} killed; ${this.#writers.acknowledged} writes acknowledged, ${this.#writers.unanswered} unanswered; ` +
      `${this.#sessions.exchanges} exchanges; whole again after ${at(0.5)} ms (median), ${at(1)} ms (most)`
    );
  }
}

process.exitCode = await main();
