import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { kindOfError } from '../../core/error-code.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { findInstallation, type Installation } from '../installation.ts';
import { type PostgresAccess, postgresAccessOf } from './pod-access.ts';

const LOOPBACK = '127.0.0.1';

/** SQL on a pod: by the machine's psql, or by a small client of our own where there is none. Answers the exit code. */
export async function psqlCommand(args: readonly string[]): Promise<number> {
  const [podId, ...psqlArguments] = args;
  if (podId === undefined || podId.startsWith('-')) {
    throw new CliError(EXIT_USAGE, 'name the pod first: npx podgate psql <pod> [psql arguments]');
  }
  const installation = findInstallation();
  const access = await postgresAccessOf(installation, podId);
  const code = await runPsql(installation, access, psqlArguments);
  if (code !== null) return code;
  const { runSmallClient } = await import('./small-client.ts');
  return await runSmallClient(
    {
      address: LOOPBACK,
      port: installation.httpsPort,
      caPath: installation.caPath,
      database: access.username,
      ...access,
    },
    psqlArguments,
  );
}

/** Null when there is no psql. The connection is given by variables, so that all arguments remain the user's. */
function runPsql(installation: Installation, access: PostgresAccess, args: readonly string[]): Promise<number | null> {
  const child = spawn('psql', args, {
    stdio: 'inherit',
    env: {
      ...process.env,
      PGHOST: access.host,
      // The name is for the certificate alone: the system's resolver may not know it.
      PGHOSTADDR: LOOPBACK,
      PGPORT: String(installation.httpsPort),
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: installation.caPath,
      PGUSER: access.username,
      PGPASSWORD: access.password,
      // As psql itself chooses; template/postgres makes a database of that name.
      PGDATABASE: process.env['PGDATABASE'] ?? access.username,
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
