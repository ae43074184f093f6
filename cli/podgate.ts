import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { errorText, PodgateError } from '../core/errors.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from './cli-error.ts';

enableCompileCache(join(import.meta.dirname, '..', 'node_modules', '.cache', 'podgate-compile'));

const HELP = `podgate: databases and other pods behind one TLS port. The program itself is started by: npm start

  npx podgate psql <pod> [psql arguments]   SQL on a Postgres pod, through the gateway
  npx podgate token --user NAME [--lifetime 30d] [--key FILE]
                                            a token of the default tenant for that user; signed with your own key where
                                            the tenant has one
  npx podgate queue [retry KEY|--all]       what waits for the spawner; keys that are parked with their error
  npx podgate kept-volumes [remove KEY]     volumes of deleted pods, which still count against a quota
  npx podgate certs list|renew|import|export|roll-over
                                            certificates: what there is, what failed, what is due
  npx podgate recover [--yes]               a suspect store (empty, older, another) is reconciled with what runs
  npx podgate confirm [--yes CODE]          workloads without a pod that are too many to be removed without your word
  npx podgate restart [--workers]           new processes take over, with the code and configuration on the disk
  npx podgate backup FILE                   a copy of the embedded store, while Podgate runs
  npx podgate migrate [--dry-run]           the embedded store moves into the Redis of PODGATE_REDIS_URL
  npx podgate ca trust                      how programs, and this machine, trust the development CA
  npx podgate doctor [--probe IMAGE]        what this installation has, and what its cluster really enforces
  npx podgate --help

They use the installation of the data directory (PODGATE_DATA_DIR, or .podgate here).
Exit codes: 0 done, 1 failed, 2 wrong use, 3 Podgate is not running.
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
