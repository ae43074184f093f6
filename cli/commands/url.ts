import type { Command } from 'commander';
import { PODGATE } from '../called-as.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { connectionStrings, type Driver, DRIVERS, type StanzaAccess } from '../connect/connection-strings.ts';
import { stanzaAccessOf } from '../connect/stanza-access.ts';
import { nearestTo } from '../output/nearest.ts';
import { printResult } from '../output/print.ts';
import { readPod } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

interface UrlOptions extends OutputOptions, TargetOptions {
  readonly driver: string;
  readonly stanza?: string;
  readonly all?: boolean;
}

export function urlCommand(): Command {
  return withTarget(
    withJson(
      createCommand('url', {
        description: `Prints the connection string of a pod for a driver. For Postgres it includes the password; Neo4j drivers take user
and password apart (${PODGATE} env).`,
        examples: [
          ['url mypg', 'for psql, psycopg and others on libpq'],
          ['url mypg --driver jdbc', ''],
          ['url mypg --all', 'every driver'],
          ['url mygraph --stanza browser', 'another entry of its networking'],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .option('-d, --driver <name>', DRIVERS.join(', '), 'url')
    .option('--stanza <name>', 'entry of its networking (default: default)')
    .option('--all', 'every driver')
    .action(async (podId: string, options: UrlOptions) => {
      const driver = driverOf(options.driver);
      const target = chooseTarget(options);
      const access = await stanzaAccessOf(target, await readPod(target, podId), options.stanza);
      warnOfResolver(access);
      const urls = connectionStrings(access);
      const url = urls[driver];
      if (url === undefined) {
        throw new CliError(
          EXIT_FAILED,
          `a ${access.kind} pod has no string for ${driver}; there are: ${Object.keys(urls).join(', ')}`,
        );
      }
      const all = Object.entries(urls).map(([name, text]) => `${name.padEnd(6)}  ${text}\n`);
      const { kind, host, port, username, password, caPath } = access;
      printResult(
        options,
        { pod_id: podId, kind, host, port, username, password, ca_path: caPath, urls },
        options.all === true ? all.join('') : `${url}\n`,
      );
    });
}

/** Most programs ask the system's resolver, which may not know names below localhost. */
export function warnOfResolver({ host, resolves }: StanzaAccess): void {
  if (resolves) return;
  process.stderr.write(
    `podgate: this machine does not resolve ${host}; on Debian: apt-get install libnss-myhostname\n`,
  );
}

function driverOf(name: string): Driver {
  const driver = DRIVERS.find((each) => each === name);
  if (driver !== undefined) return driver;
  const near = nearestTo(name, DRIVERS);
  const hint = near === null ? `there are: ${DRIVERS.join(', ')}` : `did you mean ${near}?`;
  throw new CliError(EXIT_USAGE, `--driver ${name}: unknown; ${hint}`);
}
