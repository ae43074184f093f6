import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Logger } from '../../core/logger.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import type { MigrateReport } from '../migrate/migrate-store.ts';
import { printResult } from '../output/print.ts';
import { installationEnvironment, loadInstallationConfig } from '../target/installation.ts';

/** Nobody else uses that Redis, and a step that fails has to be repeated with all before it. */
const DEADLINE_MS = 30_000;

/** Commands have no log; what goes wrong they say. */
const SILENT: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => SILENT,
};

export function migrateCommand(): Command {
  return withJson(
    createCommand('migrate', {
      description: `Moves the embedded store of the data directory into the empty Redis of PODGATE_REDIS_URL.

What is moved: records, credentials, records of deleted pods, and logs. Stop Podgate first, and start it with the same
PODGATE_REDIS_URL afterwards. Pods keep their state: those that were running start again. You can interrupt and repeat
it; Podgate does not start with that Redis until it has finished. The embedded store is not changed. Do not return to it
after Podgate has run with Redis.`,
      examples: [
        ['migrate --dry-run', 'with PODGATE_REDIS_URL set'],
        ['migrate', ''],
      ],
    }),
  )
    .option('--dry-run', 'only show what would be moved, and whether that is possible')
    .action(async (options: OutputOptions & { dryRun?: boolean }) => {
      const { text, isMoved } = await migrate(options.dryRun === true);
      printResult(options, { moved: isMoved, message: text.trimEnd() }, text);
    });
}

async function migrate(isDryRun: boolean): Promise<MigrateReport> {
  const { readSecrets } = await import('../../config/secrets.ts');
  const { acquireExclusiveLock } = await import('../../main/exclusive-lock.ts');
  const { migrateStore } = await import('../migrate/migrate-store.ts');
  const { dataDir, site } = await loadInstallationConfig();
  const { redisUrl, redisCa, redisReplicas } = readSecrets(installationEnvironment());
  if (redisUrl === null) {
    throw new CliError(EXIT_USAGE, 'PODGATE_REDIS_URL must name the Redis to move to; see: podgate migrate --help');
  }
  const path = join(dataDir, 'podgate.db');
  if (!existsSync(path)) throw new CliError(EXIT_FAILED, `there is no embedded store in ${dataDir}`);
  const lock = await acquireExclusiveLock(join(dataDir, 'supervisor.lock'), 0);
  if (lock === null) throw new CliError(EXIT_FAILED, `Podgate is running with ${dataDir}; stop it first`);
  try {
    const { openRedisDatabase } = await import('../../control/store/redis/redis-database.ts');
    const copies = redisReplicas === null ? {} : { copies: redisReplicas };
    const database = await openRedisDatabase({
      url: redisUrl,
      ca: redisCa,
      site,
      log: SILENT,
      isBeingFilled: true,
      deadlineMs: DEADLINE_MS,
      ...copies,
    });
    try {
      const report = await migrateStore({ path, database, act: !isDryRun });
      // What was seen of a Redis before, if any, says nothing about this one.
      if (!isDryRun && report.isMoved) rmSync(join(dataDir, 'redis-seen.json'), { force: true });
      return report;
    } finally {
      database.close();
    }
  } finally {
    lock.release();
  }
}
