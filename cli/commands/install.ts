import { dirname } from 'node:path';
import type { Command } from 'commander';
import type { Config } from '../../config/config.ts';
import { readMavenRepository } from '../../config/maven-repository.ts';
import { PodgateError } from '../../core/errors.ts';
import { acquireExclusiveLock } from '../../main/exclusive-lock.ts';
import { installPackage, packageHome } from '../../spawner/orchestrator/process/packages/install-package.ts';
import { megabytes, PackageError } from '../../spawner/orchestrator/process/packages/package-error.ts';
import { findJava } from '../../spawner/orchestrator/process/recipes/neo4j/java.ts';
import { findNeo4j } from '../../spawner/orchestrator/process/recipes/neo4j/neo4j-home.ts';
import { announcement, readNeo4jPackage } from '../../spawner/orchestrator/process/recipes/neo4j/neo4j-package.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, createSubcommand, type OutputOptions, withJson } from '../command.ts';
import { installCommandLink } from '../install/install-command.ts';
import { installJava } from '../install/install-java.ts';
import { printResult } from '../output/print.ts';
import { loadInstallationConfig } from '../target/installation.ts';

interface InstallOptions extends OutputOptions {
  readonly yes?: boolean;
}

/** Ahead of time what the first pod of a template would wait for. */
export function installCommand(): Command {
  const neo4j = withJson(
    createSubcommand('neo4j', {
      description:
        'Downloads Neo4j Community (GPLv3) into the cache of this user, and installs Java 17 or 21 where it is missing: ' +
        'from the packages of the system as root, otherwise a runtime from PyPI, each after asking.',
      examples: [
        ['install neo4j', ''],
        ['install neo4j --yes', 'without asking'],
      ],
    }),
  )
    .option('-y, --yes', 'do not ask')
    .action(async (options: InstallOptions) => {
      const { home, java } = await installNeo4j(await loadInstallationConfig(), options);
      printResult(options, { neo4j_home: home, java }, `Neo4j is in ${home}, and runs on ${java}.\n`);
    });
  const command = withJson(
    createSubcommand('command', {
      description:
        'Links podgate of this checkout into a directory of the PATH: /usr/local/bin as root, ~/.local/bin otherwise.',
      examples: [
        ['install command', ''],
        ['install command --directory ~/bin', ''],
      ],
    }),
  )
    .option('--directory <path>', 'where to put the link')
    .action((options: OutputOptions & { readonly directory?: string }) => {
      const { path, isOnPath } = installCommandLink(options.directory);
      const advice = isOnPath ? '' : ` Your shell does not look there yet: add ${dirname(path)} to your PATH.`;
      printResult(options, { path, on_path: isOnPath }, `podgate is ${path}.${advice}\n`);
    });
  return createCommand('install', {
    description:
      'Installs the podgate command itself, or the programs that templates run as processes of this machine.',
    examples: [
      ['install command', ''],
      ['install neo4j', ''],
    ],
  })
    .addCommand(command)
    .addCommand(neo4j);
}

async function installNeo4j(config: Config, options: InstallOptions): Promise<{ home: string; java: string }> {
  const asRoot = process.getuid?.() === 0;
  const settings = {
    ...{ home: config.neo4jHome, javaHome: config.javaHome, cacheDir: config.cacheDir },
    path: config.podEnvironment.path,
  };
  const java = await findJava(settings, asRoot);
  if (java.kind === 'missing') {
    await installJava(java.reason, { cacheDir: config.cacheDir, yes: options.yes === true });
  }
  const wanted = readNeo4jPackage();
  const find = () => findNeo4j(settings, packageHome(config.cacheDir, wanted), asRoot);
  let found = await find();
  if (found.kind === 'no-neo4j') {
    await download(config, wanted);
    found = await find();
  }
  if (found.kind !== 'found') throw new CliError(EXIT_FAILED, found.reason);
  return found;
}

async function download(config: Config, wanted: ReturnType<typeof readNeo4jPackage>): Promise<void> {
  let shownPercent = -1;
  const show = (text: string): void => void process.stderr.write(text);
  try {
    const source = readMavenRepository(config.process.mavenRepository, process.env);
    show(`${announcement(wanted, source)}\n`);
    const interrupted = new AbortController();
    process.once('SIGINT', () => interrupted.abort());
    await installPackage(
      {
        ...{ package: wanted, cacheDir: config.cacheDir, source, lock: acquireExclusiveLock },
        onProgress: (progress) => {
          if (progress.kind === 'elsewhere') return;
          const percent = Math.floor((progress.doneBytes / wanted.bytes) * 100);
          if (percent === shownPercent || (!process.stderr.isTTY && percent % 25 !== 0)) return;
          shownPercent = percent;
          const line = `${percent} % of ${megabytes(wanted.bytes)} MB`;
          show(process.stderr.isTTY ? `\r${line}` : `${line}\n`);
        },
      },
      interrupted.signal,
    );
    if (process.stderr.isTTY) show('\n');
  } catch (error) {
    if (error instanceof PackageError) throw new CliError(EXIT_FAILED, `${error.message} Run it again to go on.`);
    if (error instanceof PodgateError) throw new CliError(EXIT_FAILED, error.publicMessages.join(' '));
    if (error instanceof Error && error.name === 'AbortError') {
      throw new CliError(EXIT_FAILED, 'interrupted; what has arrived is kept, run it again to go on');
    }
    throw error;
  }
}
