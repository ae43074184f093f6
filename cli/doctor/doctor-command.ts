import { parseArgs } from 'node:util';
import type { Config } from '../../config/config.ts';
import { loadConfig } from '../../config/load-config.ts';
import { readSecrets } from '../../config/secrets.ts';
import { errorText, PodgateError } from '../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';
import { systemClock } from '../../main/system-clock.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { endpointsOf } from './endpoints.ts';
import { examineGateway } from './examine-gateway.ts';
import { examineLimits } from './examine-limits.ts';
import { examineNames } from './examine-names.ts';

export const DOCTOR_HELP = `podgate doctor: checks this installation, and what its cluster really grants and enforces

  npx podgate doctor [--probe IMAGE]
  kubectl -n podgate exec deploy/podgate -- podgate doctor

  --probe IMAGE   start three pods of that image (Podgate's own will do) to test whether network policies hold, how soon
                  after a pod's start, and whether pods reach their name servers; then remove them
  --help          show this help

The doctor reads the same settings as the server. Run inside the cluster, it checks Podgate's own account and network;
run by a cluster administrator, it can check more. Each line is ok, warn or fail, and says what to do.
Exit codes: 0 no failures, 1 at least one failure, 2 usage error.
`;

const MARKS: Readonly<Record<Finding['level'], string>> = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' };

/** Prints what it finds as it finds it. */
export async function doctorCommand(args: readonly string[], print: (text: string) => void): Promise<number> {
  const { probe, help } = argumentsOf(args);
  if (help) {
    print(DOCTOR_HELP);
    return 0;
  }
  const counts = { ok: 0, warn: 0, fail: 0 };
  for await (const finding of examine(probe)) {
    counts[finding.level] += 1;
    print(lineOf(finding));
  }
  print(`\n${counts.ok} ok, ${counts.warn} to look at, ${counts.fail} failed\n`);
  return counts.fail === 0 ? 0 : EXIT_FAILED;
}

export function lineOf({ level, subject, message, remedy }: Finding): string {
  return `${MARKS[level]}  ${subject}: ${message}${remedy === '' ? '' : ` ${remedy}`}\n`;
}

function argumentsOf(args: readonly string[]): { readonly probe: string | null; readonly help: boolean } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { probe: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
    });
    return { probe: values.probe ?? null, help: values.help };
  } catch (error) {
    throw new CliError(EXIT_USAGE, `${errorText(error)}; see: npx podgate doctor --help`);
  }
}

async function* examine(probeImage: string | null): AsyncGenerator<Finding> {
  let config: Config;
  let redis: { readonly url: string | null; readonly ca: string | null };
  try {
    config = loadConfig(process.env, process.cwd());
    const { redisUrl, redisCa } = readSecrets(process.env);
    redis = { url: redisUrl, ca: redisCa };
    yield ok(
      'settings',
      `They are valid. Site ${config.site}, base hosts ${config.tenants.map(({ baseHost }) => baseHost).join(', ')}.`,
    );
  } catch (error) {
    if (!(error instanceof PodgateError)) throw error;
    for (const message of error.publicMessages) yield fail('settings', message, 'Podgate does not start with that.');
    return;
  }
  const { url, ca } = redis;
  if (url !== null) {
    const { examineRedis } = await import('../../control/store/redis/examine-redis.ts');
    yield* examineRedis({ url, ca, site: config.site, clock: systemClock });
  } else if (config.orchestrator === 'kubernetes') {
    yield warn('store', 'Records are in SQLite, for one replica alone.', 'Set PODGATE_REDIS_URL.');
  } else yield ok('store', `Records are in ${config.dataDir}.`);
  if (config.kubernetes !== null) {
    const { examineCluster } = await import('../../spawner/orchestrator/kubernetes/doctor/examine-cluster.ts');
    yield* examineCluster({ ...config.kubernetes, probeImage, clock: systemClock }, new AbortController().signal);
  } else if (probeImage !== null) {
    yield warn('network policies', 'Pods are processes of this machine: there are none.', 'Leave --probe out.');
  }
  yield examineLimits(config);
  if (config.kubernetes === null) {
    const { examineProcessPods } = await import('./examine-process-pods.ts');
    yield* examineProcessPods(config);
  }
  const running = endpointsOf(config);
  if (running.baseHost !== config.tenants[0].baseHost) {
    yield warn(
      'settings',
      `The running Podgate has other settings: its base host is ${running.baseHost}.`,
      'Run this command with the same environment variables and PODGATE_CONFIG.',
    );
  }
  yield* examineGateway(config, running, systemClock.now());
  yield* examineNames(config, running.publicHttps);
}
