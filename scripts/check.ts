// What `npm test` runs: every check, one after the other, each with its time. At the end it names what failed; the last
// line is `N passed, N failed`, counting checks and tests together. The exit code is 0 only when nothing failed (and,
// where everything is demanded, nothing was skipped).
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const BIN = join(ROOT, 'node_modules', '.bin');
const PROJECTS = ['unit', 'contract', 'integration', 'e2e', 'sim'];
/**
 * Test files at the same time, where it is not vitest.config.ts that decides: tests of integration mostly wait for servers
 * and for time to pass, and two files leave half of two cores idle.
 */
const WORKERS: Readonly<Record<string, number>> = { integration: 3 };
const TAIL_LINES = 60;
/** A skipped test is a failure then: every real component has to be there. */
const isEverythingDemanded = process.env['PODGATE_TEST_REQUIRE_ALL'] === '1';

interface Count {
  passed: number;
  failed: number;
}

/** Without that variable, which means something here alone: the program refuses settings it does not know. */
const ENVIRONMENT: NodeJS.ProcessEnv = { ...process.env, PATH: `${BIN}:${process.env['PATH'] ?? ''}`, NO_COLOR: '1' };
delete ENVIRONMENT['PODGATE_TEST_REQUIRE_ALL'];

const USAGE = `npm test [-- COMMAND...]

Checks types, lint, format and dependency direction, then runs the tests of each project: ${PROJECTS.join(', ')}.
Each COMMAND is a shell command line that is run after them and counts as one check, as .ci/run does with its trials.
COMMAND ||| COMMAND runs two side by side.
The last line is "N passed, N failed". Exit code: 0 when nothing failed, 1 otherwise, 2 for an unknown option.
With PODGATE_TEST_REQUIRE_ALL=1, a skipped test is a failure.
One test file: npx vitest run --project integration test/integration/api/pods.test.ts (see CONTRIBUTING.md).
`;

const extras = process.argv.slice(2);
const option = extras.find((word) => word.startsWith('-'));
if (option !== undefined) {
  const isHelp = option === '--help' || option === '-h';
  (isHelp ? process.stdout : process.stderr).write(isHelp ? USAGE : `Unknown option ${option}.\n\n${USAGE}`);
  process.exit(isHelp ? 0 : 2);
}

const total: Count = { passed: 0, failed: 0 };
/** What failed, for the end: the output of a failure may be far above it, or cut out where only the ends of a log are kept. */
const failedNames: string[] = [];

// Side by side: each takes one core, and none looks at the time.
await Promise.all([
  check('types', 'tsc', ['--noEmit']),
  check('lint', 'eslint', ['.', '--max-warnings', '0']),
  check('format', 'prettier', ['--check', '--log-level', 'warn', '.']),
  check('dependency direction', 'npm', ['run', '--silent', 'dependency-direction']),
]);
for (const project of PROJECTS) await runTests(project);
// Further programs that end with 0 when all is well, such as `.ci/run` asks for: one command line each.
for (const extra of extras) {
  const sideBySide = extra.split(' ||| ');
  const isShown = sideBySide.length === 1;
  await Promise.all(sideBySide.map((line) => check(line, '/bin/sh', ['-c', line], isShown)));
}

if (failedNames.length > 0) process.stdout.write(`\nfailed:\n${failedNames.map((line) => `  ${line}\n`).join('')}`);
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 ? 0 : 1;

async function check(name: string, command: string, args: readonly string[], isShown = false): Promise<void> {
  const { code, output, seconds } = await run(command, args, isShown);
  if (code === 0) {
    total.passed += 1;
  } else {
    total.failed += 1;
    failedNames.push(name);
  }
  tell(name, code === 0 ? 'ok' : 'FAILED', seconds);
  if (code !== 0 && !isShown) process.stdout.write(`${tailOf(output)}\n`);
}

async function runTests(project: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'podgate-check-'));
  const report = join(directory, 'report.json');
  try {
    const workers = WORKERS[project];
    const { code, output, seconds } = await run('vitest', [
      ...['run', '--project', project, '--passWithNoTests'],
      ...(workers === undefined ? [] : [`--maxWorkers=${workers}`]),
      ...['--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    ]);
    const counted = countOf(report);
    // A run that broke before it could report is one failure.
    const failed = Math.max(counted.failed, code === 0 ? 0 : 1) + (isEverythingDemanded ? counted.skipped : 0);
    total.passed += counted.passed;
    total.failed += failed;
    const skipped = counted.skipped === 0 ? '' : `, ${counted.skipped} skipped`;
    tell(`tests: ${project}`, `${counted.passed} passed, ${failed} failed${skipped}`, seconds);
    for (const test of counted.secondTries) process.stdout.write(`  passed at the second try: ${test}\n`);
    if (failed === 0) return;
    process.stdout.write(`${tailOf(output)}\n`);
    const named = [
      ...counted.failures,
      ...(isEverythingDemanded && counted.skipped > 0 ? [`${counted.skipped} skipped`] : []),
    ];
    failedNames.push(
      ...(named.length === 0 ? ['an error outside its tests'] : named).map((line) => `${project}: ${line}`),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The part of vitest's JSON report that counts here. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      /** Of every try: a test that passed after all keeps what went wrong before. */
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** Of one project; `failures` and `secondTries` say test and reason. */
interface Result extends Count {
  readonly skipped: number;
  readonly failures: readonly string[];
  readonly secondTries: readonly string[];
}

function countOf(file: string): Result {
  if (!existsSync(file)) return { passed: 0, failed: 0, skipped: 0, failures: [], secondTries: [] };
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  const nameOf = ({ fullName, failureMessages }: (typeof results)[number]): string =>
    `${fullName}: ${failureMessages[0]?.split('\n')[0] ?? ''}`;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
    failures: results.filter(({ status }) => status === 'failed').map(nameOf),
    secondTries: results
      .filter(({ status, failureMessages }) => status === 'passed' && failureMessages.length > 0)
      .map(nameOf),
  };
}

function run(
  command: string,
  args: readonly string[],
  isShown = false,
): Promise<{ code: number; output: string; seconds: number }> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: ENVIRONMENT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (text: string): void => {
      output += text;
      if (isShown) process.stdout.write(text);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    const end = (code: number): void => resolve({ code, output, seconds: (performance.now() - startedMs) / 1000 });
    child.on('error', (error) => {
      output += error.message;
      end(127);
    });
    child.on('close', (code) => end(code ?? 1));
  });
}

function tell(name: string, outcome: string, seconds: number): void {
  process.stdout.write(`${name.padEnd(24)} ${outcome}  (${seconds.toFixed(1)} s)\n`);
}

/** What failed stands at the end of what these tools print; vitest's summary of failures may be long. */
function tailOf(output: string): string {
  const failures = output.indexOf('Failed Tests');
  if (failures >= 0) return output.slice(failures, failures + 20_000);
  return output.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}
