import { parseArgs } from 'node:util';
import type { Attack, Outcome, ProgramSettings, Scale } from './attack.ts';
import { CONNECTION_ATTACKS } from './attacks/connections.ts';
import { MEMORY_ATTACKS } from './attacks/memory.ts';
import { OPERATION_ATTACKS } from './attacks/operations.ts';
import { POD_ATTACKS } from './attacks/pods.ts';
import { Observer, residentMiB } from './observer.ts';
import { report } from './report.ts';
import { pause, Stage } from './stage.ts';

const ATTACKS: readonly Attack[] = [...MEMORY_ATTACKS, ...OPERATION_ATTACKS, ...POD_ATTACKS, ...CONNECTION_ATTACKS];

const HELP = `attack-trial: starts Podgate with a bystander's sessions and pods, and runs one attack after the other. Checks during each
that no session of the bystander is cut, its API calls and requests succeed, readiness holds, and no Podgate process exits
or grows beyond its bound. Prints memory, event-loop delay and lost sessions.

  node test/attack/attack-trial.ts [ATTACK...] [--scale small|full]

${ATTACKS.map(({ name, summary }) => `  ${name.padEnd(18)} ${summary}`).join('\n')}

Run it as root, so that each pod gets its own user ID.
Exit codes: 0 every check passed, 1 a check failed, 2 usage error.`;

/** What a process may gain in an attack that has no bound of its own: caches fill, connections have buffers. */
const GROWTH_MIB = 300;
/** For a bystander, on a machine that the attacker shares. */
const LONGEST_RESPONSE_MS = 5_000;
/** A probe may fail once: the load balancer acts on the second in a row. */
const FAILED_PROBES = 1;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { scale: { type: 'string', default: 'small' }, help: { type: 'boolean', default: false } },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const { scale } = values;
  if (
    (scale !== 'small' && scale !== 'full') ||
    positionals.some((name) => !ATTACKS.some((attack) => attack.name === name))
  ) {
    console.error(HELP);
    return 2;
  }
  const chosen = ATTACKS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  console.log(`attack trial: ${chosen.length} attacks, scale ${scale}`);
  const outcomes: Outcome[] = [];
  for (const attacks of bySettings(chosen)) outcomes.push(...(await tryOnOneStage(attacks, scale)));
  console.log(report(outcomes));
  return outcomes.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

/** Attacks that can share a program. */
function bySettings(attacks: readonly Attack[]): readonly (readonly Attack[])[] {
  return [...Map.groupBy(attacks, ({ program }) => JSON.stringify(program ?? {})).values()];
}

/** After an attack that did not hold, the next begins on a fresh program. */
async function tryOnOneStage(attacks: readonly Attack[], scale: Scale): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  const left = [...attacks];
  while (left.length > 0) {
    const stage = await Stage.begin(left[0]?.program ?? ({} satisfies ProgramSettings));
    try {
      for (let attack = left.shift(); attack !== undefined; attack = left.shift()) {
        console.log(`${attack.name}: ${attack.summary}`);
        const outcome = await tryAttack(stage, attack, scale);
        outcomes.push(outcome);
        for (const problem of outcome.problems) console.log(`  PROBLEM: ${problem}`);
        console.log(`  ${outcome.problems.length === 0 ? 'held' : 'DID NOT HOLD'}, ${outcome.seconds.toFixed(1)} s`);
        if (outcome.problems.length > 0) {
          console.error(lastWords(stage));
          break;
        }
      }
    } finally {
      await stage.end();
    }
  }
  return outcomes;
}

async function tryAttack(stage: Stage, attack: Attack, scale: Scale): Promise<Outcome> {
  const { program, sessions } = stage;
  const problems: string[] = [];
  await sessions.fill(30_000);
  const before = { control: pidsOf(stage, 'control'), worker: pidsOf(stage, 'worker') };
  const carriers = sessions.carriers(before.worker);
  const start = residentMiB(program);
  const observer = new Observer(program, await stage.ownerToken);
  const startedMs = performance.now();
  const figures = await attack.run(stage, scale).catch((error: unknown) => {
    problems.push(error instanceof Error ? error.message : String(error));
    return {};
  });
  const seconds = (performance.now() - startedMs) / 1_000;
  await observer.end();
  // Its last turn may have begun before the attack ended.
  await pause(500);
  const { replaces } = attack;
  const cuts = sessions.cutsOutside(carriers, replaces === 'worker' ? before.worker.slice(0, 1) : []);
  for (const cut of cuts) problems.push(`a session was cut: ${cut}`);
  for (const role of ['control', 'worker'] as const) {
    if (role !== replaces && before[role].some((pid) => !pidsOf(stage, role).includes(pid)))
      problems.push(`a ${role} process ended`);
  }
  const growth = Math.max(observer.controlPeakMiB - start.control, observer.workerPeakMiB - start.worker);
  const bound = attack.growthMiB ?? GROWTH_MIB;
  if (growth > bound) problems.push(`a process grew by ${growth.toFixed(0)} MiB (bound: ${bound})`);
  if (replaces === undefined) {
    problems.push(...observer.failures);
    if (observer.probesFailed > FAILED_PROBES) problems.push(`readiness failed ${observer.probesFailed} times`);
    const longestMs = Math.max(observer.apiLongestMs, observer.podLongestMs);
    if (longestMs > LONGEST_RESPONSE_MS) problems.push(`a bystander waited ${longestMs.toFixed(0)} ms`);
  }
  const { controlPeakMiB, workerPeakMiB, apiLongestMs, podLongestMs, loopDelayMs, probesFailed } = observer;
  const measured = { controlPeakMiB, workerPeakMiB, apiLongestMs, podLongestMs, loopDelayMs, probesFailed };
  return { attack: attack.name, seconds, ...measured, sessionsLost: cuts.length, figures, problems };
}

function pidsOf(stage: Stage, role: 'control' | 'worker'): readonly number[] {
  return stage.program.children(role).map(({ pid }) => pid);
}

/** What Podgate logged last, without the lines of API calls. */
function lastWords({ program }: Stage): string {
  const lines = program.output
    .split('\n')
    .filter((line) => line.startsWith('{') && !line.includes('"msg":"api request"'));
  return lines.slice(-10).join('\n');
}

process.exitCode = await main();
