import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../../config/load-config.ts';
import { readSecrets } from '../../config/secrets.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { acquireExclusiveLock } from '../../main/exclusive-lock.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { migrateStore } from './migrate-store.ts';

export const MIGRATE_HELP = `PODGATE_REDIS_URL=... npx podgate migrate [--dry-run]

Moves the embedded store of the data directory into an empty Redis: records, credentials, records of deleted pods, and
logs. Stop Podgate first, and start it with the same PODGATE_REDIS_URL afterwards. Pods keep their state: those that were
running start again. You can interrupt and repeat it; Podgate does not start with that Redis until it has finished. The
embedded store is not changed. Do not return to it after Podgate has run with Redis.

  --dry-run   only show what would be moved, and whether that is possible
`;

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

/** Answers what to print. */
export async function migrateCommand(args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { 'dry-run': isDryRun, help } = argumentsOf(args);
  if (help) return MIGRATE_HELP;
  const { dataDir, site } = loadConfig(env, process.cwd());
  const { redisUrl, redisCa, redisReplicas } = readSecrets(env);
  if (redisUrl === null) {
    throw new CliError(EXIT_USAGE, 'PODGATE_REDIS_URL must name the Redis to move to; see: npx podgate migrate --help');
  }
  const path = join(dataDir, 'podgate.db');
  if (!existsSync(path)) throw new CliError(EXIT_FAILED, `there is no embedded store in ${dataDir}`);
  const lock = await acquireExclusiveLock(join(dataDir, 'supervisor.lock'), 0);
  if (lock === null) throw new CliError(EXIT_FAILED, `Podgate runs with ${dataDir}: end it first`);
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
      return report.text;
    } finally {
      database.close();
    }
  } finally {
    lock.release();
  }
}

function argumentsOf(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        'dry-run': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new CliError(EXIT_USAGE, `${errorText(error)}; see: npx podgate migrate --help`);
  }
}
