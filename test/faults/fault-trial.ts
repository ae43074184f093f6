import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Installation, startInstallation } from '../support/installation/installation.ts';
import { controlPlaneProblem } from '../support/kubernetes/index.ts';
import { report } from './report.ts';
import type { Outcome, Scenario } from './scenario.ts';
import { type Scale, SCALES } from './scale.ts';
import { SCENARIOS } from './scenarios/all.ts';
import { TEST_IMAGE } from './test-pods.ts';
import { Trial } from './trial.ts';

const HELP = `fault-trial: runs several Podgate replicas on one real Redis and one real API server, behind HAProxy, with users who
create, change and delete pods and clients that talk to pods, and injects one fault after the other. Checks after each
that no session was cut (except through a killed replica), no acknowledged write was lost, no pod is stuck, nothing was
changed without a request, and no client received a byte from the wrong pod.

  node test/faults/fault-trial.ts [SCENARIO...] [--scale small|full] [--seed N] [--json FILE]

${SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(18)} ${summary}`).join('\n')}

Requires what \`node scripts/setup.mjs --test\` installs, and root (for a small file system for Redis).
Exit codes: 0 every check passed, 1 a check failed, 2 usage error.`;

/** Room for Redis: much more than it needs, and soon filled. */
const REDIS_DISK = '192m';
const LINES_TOLD = 25;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      scale: { type: 'string', default: 'small' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const scale = values.scale === 'small' || values.scale === 'full' ? SCALES[values.scale] : null;
  const unknown = positionals.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  const seed = Number(values.seed);
  if (scale === null || unknown.length > 0 || !Number.isInteger(seed)) {
    console.error(HELP);
    return 2;
  }
  const missing = controlPlaneProblem();
  if (missing !== null) throw new Error(missing);
  const chosen = SCENARIOS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  console.log(`fault trial: ${chosen.length} scenarios, scale ${values.scale}, seed ${seed}`);
  const outcomes = await tryAll(chosen, scale, seed);
  console.log(report(outcomes));
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ seed, scale, outcomes }, null, 2)}\n`);
  return outcomes.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

/** All on one installation; one where something did not hold is given up for a fresh one. */
async function tryAll(scenarios: readonly Scenario[], scale: Scale, seed: number): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  const left = [...scenarios];
  while (left.length > 0) {
    await onInstallation(scale, async (installation) => {
      const trial = await Trial.begin(installation, scale, seed);
      try {
        for (let scenario = left.shift(); scenario !== undefined; scenario = left.shift()) {
          console.log(`${scenario.name}: ${scenario.summary}`);
          const outcome = await trial.run(scenario);
          outcomes.push(outcome);
          console.log(`  ${outcome.problems.length === 0 ? 'held' : 'DID NOT HOLD'}, ${outcome.seconds.toFixed(1)} s`);
          for (const problem of outcome.problems) console.log(`  PROBLEM: ${problem}`);
          if (outcome.problems.length > 0) {
            tellOutputs(installation);
            return;
          }
        }
      } finally {
        await trial.end();
      }
    });
  }
  return outcomes;
}

async function onInstallation(scale: Scale, work: (installation: Installation) => Promise<void>): Promise<void> {
  const disk = mkdtempSync(join(tmpdir(), 'podgate-redis-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${REDIS_DISK},mode=0700`, 'podgate-faults', disk]);
  try {
    const { replicas } = scale;
    const redisFolder = join(disk, 'data');
    mkdirSync(redisFolder);
    const installation = await startInstallation({ replicas, images: [TEST_IMAGE], redisFolder, ownClocks: true });
    try {
      await work(installation);
    } finally {
      await installation.dispose();
    }
  } finally {
    execFileSync('umount', [disk]);
    rmSync(disk, { recursive: true, force: true });
  }
}

/** What the replicas have said that is no everyday answer. */
function tellOutputs({ replicas }: Installation): void {
  for (const { name, program } of replicas) {
    const lines = program.output.split('\n').filter((line) => !line.includes('"msg":"api request"'));
    console.error(`--- ${name} said last:\n${lines.slice(-LINES_TOLD).join('\n')}`);
  }
}

process.exitCode = await main();
