import type { Command } from 'commander';
import type { Config } from '../../config/config.ts';
import { PodgateError } from '../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../core/finding.ts';
import { asTyped } from '../called-as.ts';
import { EXIT_FAILED } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import { print, printJson } from '../output/print.ts';
import { installationEnvironment, loadInstallationConfig } from '../target/installation.ts';

const MARKS: Readonly<Record<Finding['level'], string>> = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' };

export function doctorCommand(): Command {
  return withJson(
    createCommand('doctor', {
      description: `Checks this installation, and what its cluster really grants and enforces.

The doctor reads the same settings as the server. Run inside the cluster, it checks Podgate's own account and network;
run by a cluster administrator, it can check more. Each line is ok, warn or fail, and says what to do.`,
      examples: [
        ['doctor', ''],
        ['doctor --probe registry.example.org/podgate:0.1.0', 'test network policies, too'],
      ],
      exitCodes: '0 no failures, 1 at least one failure, 2 usage error',
    }),
  )
    .option(
      '--probe <image>',
      "start three pods of that image (Podgate's own will do) to test whether network policies hold, how soon after a pod's start, and whether pods reach their name servers; then remove them",
    )
    .option('--egress <host:port>', 'connect to this target as a process pod would (process.egress)')
    .action(async ({ probe, egress, json = false }: OutputOptions & { probe?: string; egress?: string }) => {
      const counts = { ok: 0, warn: 0, fail: 0 };
      const findings: Finding[] = [];
      for await (const finding of examine(probe ?? null, egress ?? null)) {
        counts[finding.level] += 1;
        findings.push(finding);
        // As it is found: a check may take a while.
        if (!json) print(lineOf(finding));
      }
      if (json) printJson({ findings, ...counts });
      else print(`\n${counts.ok} ok, ${counts.warn} to look at, ${counts.fail} failed\n`);
      process.exitCode = counts.fail === 0 ? 0 : EXIT_FAILED;
    });
}

export function lineOf({ level, subject, message, remedy }: Finding): string {
  return `${MARKS[level]}  ${subject}: ${message}${remedy === '' ? '' : ` ${asTyped(remedy)}`}\n`;
}

async function* examine(probeImage: string | null, egressTarget: string | null): AsyncGenerator<Finding> {
  let config: Config;
  let redis: { readonly url: string | null; readonly ca: string | null };
  try {
    config = await loadInstallationConfig();
    const { readSecrets } = await import('../../config/secrets.ts');
    const { redisUrl, redisCa } = readSecrets(installationEnvironment());
    redis = { url: redisUrl, ca: redisCa };
    yield ok(
      'settings',
      `The settings are valid. Site ${config.site}, base hosts ${config.tenants.map(({ baseHost }) => baseHost).join(', ')}.`,
    );
  } catch (error) {
    if (!(error instanceof PodgateError)) throw error;
    for (const message of error.publicMessages)
      yield fail('settings', message, 'Podgate does not start with these settings.');
    return;
  }
  const { url, ca } = redis;
  const { systemClock } = await import('../../main/system-clock.ts');
  if (url !== null) {
    const { examineRedis } = await import('../../control/store/redis/examine-redis.ts');
    yield* examineRedis({ url, ca, site: config.site, clock: systemClock });
  } else if (config.orchestrator === 'kubernetes') {
    yield warn('store', 'Records are in SQLite, which supports a single replica.', 'Set PODGATE_REDIS_URL.');
  } else {
    const { examineDisk } = await import('../doctor/examine-disk.ts');
    yield examineDisk(config.dataDir);
  }
  if (config.kubernetes !== null) {
    const { examineCluster } = await import('../../spawner/orchestrator/kubernetes/doctor/examine-cluster.ts');
    yield* examineCluster({ ...config.kubernetes, probeImage, clock: systemClock }, new AbortController().signal);
  } else if (probeImage !== null) {
    yield warn('network policies', 'Pods are processes on this machine: there are no policies.', 'Omit --probe.');
  }
  const { examineLimits } = await import('../doctor/examine-limits.ts');
  yield examineLimits(config);
  if (config.kubernetes === null) {
    const { examineProcessPods } = await import('../doctor/examine-process-pods.ts');
    yield* examineProcessPods(config);
    const { examineEgress } = await import('../doctor/examine-egress.ts');
    yield* examineEgress(config, egressTarget);
  }
  const { endpointsOf } = await import('../doctor/endpoints.ts');
  const running = endpointsOf(config);
  if (running.baseHost !== config.tenants[0].baseHost) {
    yield warn(
      'settings',
      `The running Podgate has different settings: its base host is ${running.baseHost}.`,
      'Run this command with the same environment variables and PODGATE_CONFIG.',
    );
  }
  if (config.kubernetes !== null) {
    const { judgeAddresses } = await import('../doctor/examine-addresses.ts');
    const { reachableAddresses } = await import('../../proxy/socket/own-addresses.ts');
    const addresses = judgeAddresses(running.listenHost, reachableAddresses());
    if (addresses !== null) yield addresses;
  }
  const { examineGateway } = await import('../doctor/examine-gateway.ts');
  const { examineNames } = await import('../doctor/examine-names.ts');
  yield* examineGateway(config, running, systemClock.now());
  yield* examineNames(config, running.publicHttps);
}
