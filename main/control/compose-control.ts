import { createHash, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type DevelopmentCa, type DevelopmentCaOptions, openDevelopmentCa } from '../../certs/development-ca.ts';
import { runCertificateFiles } from '../../certs/files/certificate-files.ts';
import type { Config } from '../../config/config.ts';
import { createAuthenticator, type TenantTokens } from '../../control/auth/authenticator.ts';
import { makeTokenKey, type TokenKey } from '../../control/auth/token-key.ts';
import { createPodConnectionsReader } from '../../control/workers/pod-connections-reader.ts';
import { createWorkerQuestions } from '../../control/workers/worker-questions.ts';
import { keepAllOutput } from '../../control/resources/pods/reconcile/keep-output.ts';
import { createHealthLoop } from '../../control/resources/pods/reconcile/health-loop.ts';
import { createLeadership } from '../../control/leadership/leadership.ts';
import { createReadinessExercise } from '../../control/resources/health/readiness-exercise.ts';
import { createStoreJudge } from '../../control/store/store-judge.ts';
import { createApi } from '../../control/api.ts';
import { apiMetrics } from '../../control/metrics/api-metrics.ts';
import { certificateMetrics } from '../../control/metrics/certificate-metrics.ts';
import { controlMetrics, queueMetrics } from '../../control/metrics/control-metrics.ts';
import { collectMetrics } from '../../control/metrics/exposition.ts';
import { processMetrics } from '../../control/metrics/process-metrics.ts';
import { createWorkerMetrics } from '../../control/metrics/worker-metrics.ts';
import { quotaMetrics } from '../../control/metrics/quota-metrics.ts';
import { createAdmission } from '../../control/objects/quota/admission.ts';
import { createUsageOf } from '../../control/objects/quota/count-usage.ts';
import { listKeptVolumes, removeKeptVolume } from '../../control/resources/pods/kept-volumes.ts';
import { createUsageAudit } from '../../control/objects/quota/usage-audit.ts';
import { createCancelRelay } from '../../control/workers/cancel-relay.ts';
import { createRoutableEverywhere } from '../../control/workers/routable-everywhere.ts';
import { confirmRemovals } from '../../control/operator/confirm-removals.ts';
import { OPERATOR_SOCKET, operatorCalls } from '../../control/operator/operator-handler.ts';
import { recoverStore } from '../../control/operator/recover-store.ts';
import { serveFeed } from '../../control/workers/feed-server.ts';
import { ControlRouteFeed } from '../../control/routes/route-feed.ts';
import { createTicketKeys } from '../../control/tickets/ticket-keys.ts';
import { resealPods } from '../../control/vault/reseal-pods.ts';
import { openKeyringVault } from '../../control/vault/keyring-vault.ts';
import { untilAborted } from '../../core/abort.ts';
import { openEnvironment } from '../../core/environment.ts';
import { PodgateError } from '../../core/errors.ts';
import { podHost } from '../../core/ids.ts';
import type { Logger } from '../../core/logger.ts';
import type { WorkloadRef } from '../../core/workload-ref.ts';
import type { PodRecord } from '../../core/pod.ts';
import { createSpawner } from '../../spawner/spawner.ts';
import { keepAdminToken, writeAdminToken } from './admin-token.ts';
import { type Agreeing, agreeOnFiles, checkKeyring, settleFiles } from './agree-on-files.ts';
import { callApiSocket } from '../call-api.ts';
import { composeCertificates } from './compose-certificates.ts';
import { composeConsole, createLoginCode } from './compose-console.ts';
import { CONTROL_SOCKET } from '../control-port/client-line.ts';
import { createControlServer } from './control-servers.ts';
import { openLastSeenFile } from './last-seen-file.ts';
import { type Database, openDatabase } from './open-database.ts';
import { openOrchestrator } from './open-orchestrator.ts';
import { createOperatorServer } from './operator-server.ts';
import { probesAlone } from './probes-alone.ts';
import { controlReport, createWaitReports, readinessOf, reportReadiness } from './readiness.ts';
import { listenForGateways } from '../remote/gateway-listener.ts';
import { openTicketKeyFile } from './ticket-key-file.ts';
import { watchProcessNumbers } from '../process-numbers.ts';
import type { SupervisorLink } from '../supervisor-link.ts';
import { systemClock as clock } from '../system-clock.ts';

const SPAWN_CONCURRENCY = 8;
/** Pods have this long to end, of the 5 s after Ctrl-C. */
const STOP_PODS_MS = 3_500;
/** Loops that are told to end and do not are left behind: the process ends anyway. */
const STOP_LOOPS_MS = 1_000;
/** What pods printed is kept as far as it goes in this time. */
const KEEP_OUTPUT_MS = 500;

/** Of a workload that does not exist a watch that is to be believed says so. */
const NOBODYS: WorkloadRef = { tenant: '', podId: '', uid: '' };

export interface Control {
  /** Works until the signal aborts; then ends in order, with the pods when it is for good. */
  run(ending: AbortSignal): Promise<void>;
}

/** Puts the control plane together: adapters into parts. */
export async function composeControl(link: SupervisorLink, log: Logger): Promise<Control> {
  const { config, version, runDir, installation, instance } = link.start.settings;
  const inDataDir = (name: string): string => join(config.dataDir, name);
  const baseHosts = config.tenants.map(({ baseHost }) => baseHost);
  const baseHostOf = (tenant: string): string =>
    config.tenants.find(({ id }) => id === tenant)?.baseHost ?? config.tenants[0].baseHost;

  const waits = createWaitReports(link, log);
  const database = await openDatabase({
    config,
    path: inDataDir('podgate.db'),
    replicaId: `${hostname()}-${instance.slice(0, 6)}`,
    shared: sharedSettings(config, installation),
    // Each store has its own: to change from one to the other is no loss of the other's records.
    memory: openLastSeenFile(inDataDir(config.store === 'sqlite' ? 'store-seen.json' : 'redis-seen.json'), log),
    env: process.env,
    clock,
    log,
    signal: link.ending,
    onWaiting(error) {
      log.warn({ error: error.publicMessages.join(' ') }, 'waiting for Redis before this replica can start');
      waits.waitingFor('Redis, which does not respond');
    },
  });
  waits.end();
  const { store, queue, logs, replicas } = database;
  const vault = openKeyringVault(config.secretKeyFile);
  const agreeing = { replicas, vault, keyringPath: config.secretKeyFile };
  await checkKeyring(agreeing);
  const tokenKey = config.tenants[0].key === null ? await sharedTokenKey(inDataDir('token.key'), agreeing) : null;
  const tickets = createTicketKeys({
    replicas,
    vault,
    file: openTicketKeyFile(inDataDir('ticket.keys')),
    clock,
    log,
  });
  await tickets.open();
  const ca = await sharedDevelopmentCa({ dir: config.dataDir, baseHosts, clock, log }, agreeing);

  const opened = await openOrchestrator({
    config,
    installation,
    instance,
    runDir,
    clock,
    log,
    openEnvironment: (uid, stored) => openEnvironment(vault, uid, stored),
  });
  const { orchestrator, templates, allowsImages, stopAll } = opened;
  const authenticator = createAuthenticator({
    tenants: config.tenants.map((tenant) => tokensOf(tenant, tokenKey)),
    defaultTenant: config.tenants[0].id,
    site: config.site,
    arePodsSeparated: opened.arePodsSeparated || config.allowsSharedUid,
    clock,
  });
  const judge = createStoreJudge({ store, guard: database.guard, orchestrator });
  const isStoreHealthy = async (signal: AbortSignal): Promise<boolean> =>
    (await judge.judge(signal)).trust.kind === 'healthy';
  const feed = new ControlRouteFeed({
    store,
    log,
    baseHostOf,
    glimpse: (ref) => orchestrator.glimpse(ref),
    isStoreHealthy,
  });
  const certificates = await composeCertificates({
    config,
    database,
    store,
    vault,
    feed,
    isStoreHealthy,
    clock,
    log,
  });
  const { served } = certificates;
  const routable = createRoutableEverywhere({ feed, replicas, clock });
  const cancels = createCancelRelay({ replicas, clock });
  const questions = createWorkerQuestions();
  const connections = createPodConnectionsReader({ questions, replicas, clock });
  const leadership = createLeadership({ lock: database.lock, name: 'health', clock, log });
  const usageOf = createUsageOf(
    ({ template, persistentVolume }) =>
      // A process pod has a directory for its template's data, whether it asks for one or not.
      persistentVolume || (config.orchestrator === 'process' && (templates.find(template)?.dataPath ?? null) !== null),
  );
  const admission = createAdmission({
    store,
    quotas: config.quotas,
    usageOf,
    monotonicMs: () => clock.monotonicMs(),
  });
  const health = createHealthLoop({
    store,
    queue,
    logs,
    orchestrator,
    judge,
    leadership,
    clock,
    log,
    observed: (key, uid, observation) => feed.observed(key, uid, observation),
    look: (key) => feed.look(key),
    lookAtAll: () => feed.lookAtAll(),
    passed: () => feed.observationsComplete(),
    usageAudit: createUsageAudit(usageOf),
    reseal: (ofTerm, term) => resealPods({ store: ofTerm, vault, log }, term),
  });
  const spawner = createSpawner({
    store,
    queue,
    logs,
    orchestrator,
    vault,
    templates,
    clock,
    log,
    concurrency: SPAWN_CONCURRENCY,
    mayWork: () => judge.trust()?.kind === 'healthy',
    trusted: () => judge.trusted(),
    hostsOf: (record) => hostsOf(record, baseHostOf(record.tenant)),
    publicHttpsPort: config.publicHttpsPort,
  });
  const exercise = createReadinessExercise({
    store,
    isTrusted: () => judge.trust()?.kind === 'healthy',
    damage: database.damage,
    examine: database.examine,
    callApi: (signal) => callApiSocket(join(runDir, 'api.sock'), signal),
    log,
  });
  const report = () =>
    controlReport({ link, judge, leadership, health, feed, replicas, exercise, certificates: certificates.manager });
  const readiness = async () => readinessOf(link, report());
  const console = await composeConsole({
    config,
    tokenKey,
    vault,
    clock,
    operator: {
      queue,
      metrics: () => collectMetrics(metricSources, log),
    },
  });
  const api = createApi({
    store,
    logs,
    orchestrator,
    vault,
    templates,
    feed: routable,
    connections,
    clock,
    log,
    authenticator,
    site: config.site,
    tenants: config.tenants,
    limits: config.pods,
    admission,
    usageOf,
    allowsImages,
    imageAllowList: config.images,
    publicHttpsPort: config.publicHttpsPort,
    statusNames: config.statusNames,
    cors: config.cors,
    version,
    calls: config.api.calls,
    slowReaders: config.api.slowReaders,
    failedLogins: { perMinute: config.api.failedLoginsPerMinute, burst: config.api.failedLoginsPerMinute },
    controlHosts: config.api.controlHosts,
    certificates: certificates.manager,
    readiness,
    ...(opened.files === null ? {} : { volumes: { files: opened.files, ...config.volumes } }),
    ...(console ?? {}),
  });
  const counts = createWorkerMetrics();
  const numbers = watchProcessNumbers();
  const metricSources = [
    () =>
      controlMetrics({
        version,
        queue,
        feed,
        trust: () => judge.trust(),
        heldBack: () => health.heldBack(),
        hung: () => link.gateway().hung,
      }),
    queueMetrics({ queue }),
    () => processMetrics('control', numbers()),
    () => apiMetrics(api.numbers()),
    () => counts.metrics(),
    () => certificateMetrics({ certificates: certificates.manager, clock }),
    quotaMetrics({ store, quotas: config.quotas, tenants: config.tenants.map(({ id }) => id), admission }),
  ];
  const server = createControlServer({
    config,
    listenerFor: config.roles.includes('control') ? api.listenerFor : probesAlone(config, readiness, version),
    serverOptions: api.serverOptions,
    metrics: () => collectMetrics(metricSources, log),
    version,
    log,
  });
  const operator = createOperatorServer({
    calls: operatorCalls({
      queue,
      recover: (options) => recoverStore({ database, orchestrator, judge, clock, log }, options, working.signal),
      backup: async ({ path }) => ({ bytes: await copyStore(database, path) }),
      confirm: (options) => confirmRemovals({ health, judge }, options),
      keptVolumes: () => listKeptVolumes({ store }),
      removeKeptVolume: (key) => removeKeptVolume({ store, orchestrator, clock }, key, working.signal),
      certificates: certificates.manager,
      loginCode: () => createLoginCode(console),
    }),
    log,
  });
  const adminTokenPath = inDataDir('admin.token');

  const working = new AbortController();
  async function run(ending: AbortSignal): Promise<void> {
    const pods = new AbortController();
    const { signal } = working;
    const failed = Promise.withResolvers<never>();
    const keep = (work: Promise<void>): Promise<void> => {
      work.catch((error: unknown) => failed.reject(error));
      return work.catch(() => undefined);
    };
    const adminToken =
      tokenKey === null ? null : { path: adminTokenPath, tenant: config.tenants[0], key: tokenKey, log };
    if (adminToken === null) await rm(adminTokenPath, { force: true });
    const hasToken = adminToken !== null && (await writeAdminToken(adminToken));

    const podWork = keep(orchestrator.run(pods.signal));
    const work = [
      keep(feed.run(signal)),
      keep(routable.run(signal)),
      keep(connections.run(signal)),
      keep(
        serveFeed(
          {
            feed,
            certificates: served,
            certificateWanted: (host) => certificates.manager.wanted(host),
            tickets,
            path: join(runDir, 'feed.sock'),
            epoch: randomUUID(),
            baseHosts,
            log,
            counts,
            cancels,
            ...(opened.podNetworks === null ? {} : { podNetworks: opened.podNetworks }),
            questions,
            replicas: () => replicas.live().length,
            isWatchFresh: () => orchestrator.glimpse(NOBODYS).kind !== 'unknown',
          },
          signal,
        ),
      ),
      keep(replicas.run(signal)),
      keep(certificates.run(signal)),
      keep(tickets.run(signal)),
      keep(
        runCertificateFiles(
          { files: config.certificates, clock, log },
          (read) => served.replace('files', read),
          signal,
        ),
      ),
      keep(ca.run((made) => served.replace('development', made), signal)),
      ...(config.roles.includes('health') ? [keep(health.run(signal))] : []),
      ...(config.roles.includes('spawner') ? [keep(spawner.run(signal))] : []),
      ...(config.gatewayListener === null
        ? []
        : [keep(listenForGateways({ config: config.gatewayListener, runDir, log }, signal))]),
      ...(adminToken === null ? [] : [keep(keepAdminToken(adminToken, hasToken, signal))]),
    ];
    await server.listen(join(runDir, 'api.sock'));
    await operator.listen(join(runDir, OPERATOR_SOCKET));
    await server.listen({ controlSocketPath: join(runDir, CONTROL_SOCKET) });
    work.push(keep(exercise.run(signal)));
    if (config.workers === 0 && config.roles.includes('gateway')) {
      const { runGateway } = await import('../gateway-role.ts');
      work.push(keep(runGateway(link, log, signal)));
    }
    link.send({ kind: 'ready', protection: opened.protection, loginCode: createLoginCode(console) });
    const reporting = reportReadiness(link, report, log);
    try {
      await Promise.race([untilAborted(ending), failed.promise]);
    } finally {
      clearInterval(reporting);
      working.abort();
      const closed = Promise.all([server.close(), operator.close()]);
      await Promise.race([Promise.all([closed, ...work]), delay(STOP_LOOPS_MS)]);
      if (stopAll !== null && link.isForGood()) {
        await keepAllOutput({ logs, orchestrator, log }, AbortSignal.timeout(KEEP_OUTPUT_MS)).catch(
          (error: unknown) => {
            log.warn({ error: String(error) }, 'some output of pods could not be stored');
          },
        );
        await stopAll(AbortSignal.timeout(STOP_PODS_MS)).catch(logUnfinished);
      }
      pods.abort();
      await Promise.race([podWork, delay(STOP_LOOPS_MS)]);
      database.close();
    }
  }

  function logUnfinished(error: unknown): void {
    log.warn({ error: String(error) }, 'some pods did not stop in time; the next start stops them');
  }

  return { run };
}

/** The first replica's key signs and is believed in all. */
async function sharedTokenKey(path: string, agreeing: Agreeing): Promise<TokenKey> {
  const own = await makeTokenKey(path);
  return (await agreeOnFiles(agreeing, 'token-key', [path])) ? await makeTokenKey(path) : own;
}

/** One CA of all replicas that have these base hosts: clients trust one file, whichever replica they meet. */
async function sharedDevelopmentCa(options: DevelopmentCaOptions, agreeing: Agreeing): Promise<DevelopmentCa> {
  const own = await openDevelopmentCa(options);
  const name = `development-ca of ${options.baseHosts.join(', ')}`;
  // In the order in which they are made: a crash in between leaves a pair that does not fit.
  const paths = ['ca.key', 'ca.pem'].map((file) => join(options.dir, file));
  if (!(await agreeOnFiles(agreeing, name, paths))) return own;
  const agreed = await openDevelopmentCa(options);
  // One whose end is near was made anew.
  await settleFiles(agreeing, name, paths);
  return agreed;
}

/** What every replica must have alike, in few letters: another's text that differs is told to the operator. */
function sharedSettings({ tenants, orchestrator }: Config, installation: string): string {
  // Process pods are children of one machine: no other replica can look after them.
  const machine = orchestrator === 'process' ? installation : null;
  return createHash('sha256')
    .update(JSON.stringify([tenants, orchestrator, machine]))
    .digest('hex')
    .slice(0, 12);
}

async function copyStore(database: Database, path: string): Promise<number> {
  if (database.copyTo !== undefined) return database.copyTo(path);
  throw new PodgateError('config.invalid', {
    publicMessages: [
      'The store is in Redis, which creates its own backups: redis-cli --rdb FILE, or see docs/operations.md.',
    ],
  });
}

function tokensOf(tenant: Config['tenants'][number], tokenKey: TokenKey | null): TenantTokens {
  const key = tenant.key ?? tokenKey?.publicKeyPem;
  // The configuration refuses it already: no tenant but the first goes without a key.
  if (key === undefined) throw new PodgateError('config.invalid', { detail: `tenant ${tenant.id} has no key` });
  return {
    ...tenant,
    key: typeof key === 'object' && 'keys' in key ? { keys: key.keys.map((jwk) => ({ ...jwk })) } : key,
  };
}

/** Outside host name of each routed stanza. */
function hostsOf(record: PodRecord, baseHost: string): Readonly<Record<string, string>> {
  const { networking } = record.applied?.spec ?? record.spec;
  return Object.fromEntries(
    Object.entries(networking)
      .filter(([, { protocol }]) => protocol !== 'local_only')
      .map(([stanza]) => [stanza, podHost(record.podId, stanza, baseHost)]),
  );
}

/**
 * Ready is a replica whose workers all accept, which they do once they have a whole table. A suspect store, or one that is
 * away, is said in the detail and is no reason to be unready: all replicas share it, and a load balancer that took them
 * all out would end every new connection to pods that run.
 */
