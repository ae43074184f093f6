import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { preparedSchemathesis } from '../../scripts/setup/cache.mjs';
import { prepareSchemathesis } from '../../scripts/setup/pypi.mjs';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';

const HELP = `schemathesis-trial: requests that Schemathesis makes from /openapi.json, valid and invalid ones, as a plain user and as
an administrator. No response may be a 5xx, or have a status that the document does not name.

  node test/schemathesis/schemathesis-trial.ts [--examples 25] [--seed N] [--url URL --token TOKEN]

  --examples N             fuzzed requests for each operation, beside those that cover its parameters
  --url URL --token TOKEN  a Podgate that runs already, as the user of the token alone; its objects are changed and
                           deleted. Default: one of its own.

Exit codes: 0 every check passed, 1 a check failed, 2 usage error.`;

/** A stream without end; and statuses that the caller chooses. */
const LEFT_OUT = '^/(pods/events|error-handler/)';
/** Requests without a valid token come by the hundred. */
const CONFIG = 'api: {failedLoginsPerMinute: 1000000}\n';
const DEADLINE_MS = 2 * 60 * 60_000;

interface Target {
  /** Of the API, without /v3. */
  readonly url: string;
  readonly who: string;
  readonly token: string;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      examples: { type: 'string', default: '25' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      url: { type: 'string' },
      token: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const numbers = { examples: Number(values.examples), seed: Number(values.seed) };
  const { url, token } = values;
  const areNumbers = Object.values(numbers).every((value) => Number.isInteger(value) && value >= 0);
  if (!areNumbers || numbers.examples < 1 || (url === undefined) !== (token === undefined)) {
    console.error(HELP);
    return 2;
  }
  const problem = await prepareSchemathesis();
  if (problem !== null) {
    console.error(problem);
    return 1;
  }
  console.log(`schemathesis trial: ${numbers.examples} examples for each operation, seed ${numbers.seed}`);
  if (url !== undefined && token !== undefined) return await tryAs({ url, who: 'the user', token }, numbers);
  return await withProgram(async (targets) => {
    let code = 0;
    for (const target of targets) code ||= await tryAs(target, numbers);
    return code;
  });
}

async function withProgram(use: (targets: readonly Target[]) => Promise<number>): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'podgate-schemathesis-'));
  const config = join(directory, 'podgate.yaml');
  writeFileSync(config, CONFIG);
  const program = await Program.prepare({ workers: 1, env: { PODGATE_CONFIG: config } });
  try {
    await program.start();
    const signed = await podgateCommand(program, ['token', '--user', 'alice'], { PODGATE_ALLOW_SHARED_UID: 'yes' });
    const url = `http://127.0.0.1:${program.controlPort}`;
    return await use([
      { url, who: 'a plain user', token: signed.stdout.trim() },
      { url, who: 'an administrator', token: program.token },
    ]);
  } finally {
    await program.dispose();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Returns 0 if every check passed. */
async function tryAs(
  { url, who, token }: Target,
  { examples, seed }: { examples: number; seed: number },
): Promise<number> {
  console.log(`as ${who}:`);
  const args = [
    ...['-m', 'schemathesis.cli', 'run', `${url}/openapi.json`, '--url', `${url}/v3`],
    ...['--header', `X-Tapis-Token: ${token}`, '--exclude-path-regex', LEFT_OUT],
    ...['--checks', 'not_a_server_error,status_code_conformance', '--phases', 'examples,coverage,fuzzing'],
    ...['--max-examples', String(examples), '--seed', String(seed), '--continue-on-failure', '--no-shrink'],
    // Schemathesis is not safe with several workers on all versions of Python.
    ...['--workers', '1', '--request-timeout', '60', '--warnings', 'off', '--no-color'],
  ];
  const directory = mkdtempSync(join(tmpdir(), 'podgate-schemathesis-'));
  const child = spawn('python3', args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, PYTHONPATH: preparedSchemathesis(), PYTHONDONTWRITEBYTECODE: '1' },
    // It keeps what it found in a folder of its working directory.
    cwd: directory,
    timeout: DEADLINE_MS,
  });
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code === 0 ? 0 : 1));
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

process.exitCode = await main();
