import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Command } from 'commander';
import { kindOfError } from '../../core/error-code.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, withTarget } from '../command.ts';
import { type PodAccess, postgresAccessOf } from '../pods/pod-access.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

/** SQL on a pod: by the machine's psql, or by a small client of our own where there is none. */
export function psqlCommand(): Command {
  return withTarget(
    createCommand('psql', {
      description: `Runs psql on a Postgres pod, through the gateway, with the pod's credentials and the certificate verified.

It waits for a pod that is starting. Where this machine has no psql, a small client runs scripts and has a prompt.
Everything after the pod goes to psql.`,
      examples: [
        ['psql mypg', 'a prompt'],
        [`psql mypg -c 'SELECT version()'`, ''],
        ['psql mypg < schema.sql', ''],
      ],
      exitCodes: "psql's own; before it runs: 1 failed, 2 usage error, 3 Podgate cannot be reached",
    }),
  )
    .argument('<pod>')
    .argument('[arguments...]', 'of psql')
    .passThroughOptions()
    .action(async (podId: string, args: readonly string[], options: TargetOptions) => {
      const target = chooseTarget(options);
      const access = await postgresAccessOf(target, podId);
      process.exitCode =
        (await runPsql(access, target.caPath, args)) ?? (await runSmallPsql(access, target.caPath, args));
    });
}

async function runSmallPsql(access: PodAccess, caPath: string | null, args: readonly string[]): Promise<number> {
  const { runSmallClient } = await import('../psql/small-client.ts');
  return await runSmallClient({ ...access, caPath, database: access.username }, args);
}

/** Null when there is no psql. The connection is given by variables, so that all arguments remain the user's. */
function runPsql(access: PodAccess, caPath: string | null, args: readonly string[]): Promise<number | null> {
  const { host, port, address, username, password } = access;
  const child = spawn('psql', args, {
    stdio: 'inherit',
    env: {
      ...process.env,
      PGHOST: host,
      // The name is for the certificate alone: the system's resolver may not know it.
      ...(address === null ? {} : { PGHOSTADDR: address }),
      PGPORT: String(port),
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: caPath ?? 'system',
      PGUSER: username,
      PGPASSWORD: password,
      // As psql itself chooses; template/postgres makes a database of that name.
      PGDATABASE: process.env['PGDATABASE'] ?? username,
      // A terminal without a size, as scripts and CI have it, is too small for any result: the pager would wait for keys.
      ...(process.stdout.rows > 0 ? {} : { PSQL_PAGER: process.env['PSQL_PAGER'] ?? 'cat' }),
    },
  });
  // psql makes something else of Ctrl-C: it cancels the query.
  process.on('SIGINT', () => undefined);
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      if (kindOfError(error) === 'absent') resolve(null);
      else reject(new CliError(EXIT_FAILED, `psql cannot be started: ${error.message}`));
    });
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}
