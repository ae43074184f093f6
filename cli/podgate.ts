import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { errorText, PodgateError } from '../core/errors.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from './cli-error.ts';

enableCompileCache(join(import.meta.dirname, '..', 'node_modules', '.cache', 'podgate-compile'));

const HELP = `Podgate: databases and other pods behind one TLS port. Start the server with: npm start

  npx podgate psql <pod> [psql arguments]   run psql on a Postgres pod, through the gateway
  npx podgate token --user NAME [--lifetime 30d] [--key FILE]
                                            print a token for a user of the default tenant; sign it with your own key
                                            if the tenant has one
  npx podgate queue [retry KEY|--all]       list what waits for the spawner, and the keys that are parked
  npx podgate kept-volumes [remove KEY]     list volumes of deleted pods, which still count against a quota
  npx podgate certs list|renew|import|export|roll-over
                                            list and manage certificates
  npx podgate recover [--yes]               reconcile a suspect store (empty, older, foreign) with what runs
  npx podgate confirm [--yes CODE]          confirm the removal of workloads without a pod, where there are many
  npx podgate restart [--workers]           restart with the current code and configuration, without downtime
  npx podgate backup FILE                   copy the embedded store while Podgate runs
  npx podgate migrate [--dry-run]           move the embedded store into the Redis of PODGATE_REDIS_URL
  npx podgate ca trust                      show how programs, or this machine, can trust the development CA
  npx podgate doctor [--probe IMAGE]        check this installation, and what its cluster really enforces
  npx podgate --help                        show this help

Commands use the installation in the data directory (PODGATE_DATA_DIR, or .podgate here).
Exit codes: 0 success, 1 failed, 2 usage error, 3 Podgate is not running.
`;

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case undefined:
      process.stderr.write(HELP);
      return EXIT_USAGE;
    case '--help':
    case '-h':
    case 'help':
      process.stdout.write(HELP);
      return 0;
    case 'psql':
      return await (await import('./psql/psql-command.ts')).psqlCommand(rest);
    case 'doctor': {
      const { doctorCommand } = await import('./doctor/doctor-command.ts');
      return await doctorCommand(rest, (text) => process.stdout.write(text));
    }
    case 'token': {
      const { user, lifetime, key } = tokenArguments(rest);
      const { tokenCommand } = await import('./token-command.ts');
      process.stdout.write(`${await tokenCommand(user, lifetime, key)}\n`);
      return 0;
    }
    case 'queue':
      process.stdout.write(await (await import('./operator/queue-command.ts')).queueCommand(rest));
      return 0;
    case 'kept-volumes':
      process.stdout.write(await (await import('./operator/kept-volumes-command.ts')).keptVolumesCommand(rest));
      return 0;
    case 'certs':
      process.stdout.write(await (await import('./operator/certs-command.ts')).certsCommand(rest));
      return 0;
    case 'recover':
      process.stdout.write(await (await import('./operator/recover-command.ts')).recoverCommand(rest));
      return 0;
    case 'confirm':
      process.stdout.write(await (await import('./operator/confirm-command.ts')).confirmCommand(rest));
      return 0;
    case 'migrate':
      process.stdout.write(await (await import('./migrate/migrate-command.ts')).migrateCommand(rest, process.env));
      return 0;
    case 'ca':
      process.stdout.write((await import('./ca-command.ts')).caCommand(rest));
      return 0;
    case 'restart':
      process.stdout.write(await (await import('./restart-command.ts')).restartCommand(rest));
      return 0;
    case 'backup':
      process.stdout.write(await (await import('./operator/backup-command.ts')).backupCommand(rest));
      return 0;
    default:
      throw new CliError(EXIT_USAGE, `there is no command ${JSON.stringify(command)}; see: npx podgate --help`);
  }
}

function tokenArguments(args: readonly string[]): { user: string; lifetime: string; key: string | null } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { user: { type: 'string' }, lifetime: { type: 'string', default: '30d' }, key: { type: 'string' } },
    });
    if (values.user === undefined) throw new Error('--user is missing');
    return { user: values.user, lifetime: values.lifetime, key: values.key ?? null };
  } catch (error) {
    throw new CliError(
      EXIT_USAGE,
      `${errorText(error)}; use: npx podgate token --user NAME [--lifetime 30d] [--key FILE]`,
    );
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const messages = error instanceof PodgateError ? error.publicMessages : [errorText(error)];
  for (const message of messages) process.stderr.write(`podgate: ${message}\n`);
  process.exitCode = error instanceof CliError ? error.exitCode : EXIT_FAILED;
}
