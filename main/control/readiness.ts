import type { Readiness } from '../../control/resources/health/operations.ts';
import type { HealthLoop } from '../../control/resources/pods/reconcile/health-loop.ts';
import type { ReadinessExercise } from '../../control/resources/health/readiness-exercise.ts';
import type { StoreJudge } from '../../control/store/store-judge.ts';
import type { ControlRouteFeed } from '../../control/routes/route-feed.ts';
import type { CertificateAdmin, CertificateReport } from '../../core/certificate-admin.ts';
import type { Leadership } from '../../core/leadership.ts';
import type { Replicas } from '../../core/replicas.ts';
import { type GuardedInterval, setGuardedInterval } from '../../core/guarded-timer.ts';
import type { Logger } from '../../core/logger.ts';
import { type ControlReport, judgeReadiness } from '../control-port/probe-state.ts';
import type { SupervisorLink } from '../supervisor-link.ts';

const REPORT_EVERY_MS = 1_000;
/** For so long after a change another one is looked for this often. */
const CHANGING_MS = 3_000;
const LOOK_EVERY_MS = 50;

/**
 * Sends `report` to the supervisor now and every second: probes are answered from it (control-port/). While it changes,
 * as in a start, it is sent sooner. Returns how to stop.
 */
export function reportReadiness(link: SupervisorLink, report: () => ControlReport, log: Logger): () => void {
  let sent = '';
  let changedMs = -Infinity;
  let looking: GuardedInterval | undefined;
  const every = (everyMs: number, work: () => void): GuardedInterval =>
    setGuardedInterval({ everyMs, work, name: 'readiness', log });
  const send = (next: ControlReport, text: string): void => {
    link.send({ kind: 'readiness', report: next });
    if (text === sent) return;
    sent = text;
    changedMs = performance.now();
    looking ??= every(LOOK_EVERY_MS, look);
  };
  const look = (): void => {
    if (performance.now() - changedMs > CHANGING_MS) {
      looking?.stop();
      looking = undefined;
      return;
    }
    const next = report();
    const text = JSON.stringify(next);
    if (text !== sent) send(next, text);
  };
  const work = (): void => {
    const next = report();
    send(next, JSON.stringify(next));
  };
  work();
  const reporting = every(REPORT_EVERY_MS, work);
  return () => {
    reporting.stop();
    looking?.stop();
  };
}

export interface WaitReports {
  /** From now on, probes report that the control process waits for this. Contains no address and no secret. */
  waitingFor(what: string): void;
  /** It waits no longer. */
  end(): void;
}

/**
 * Reports while the control process waits for something outside before it can start. As with a store that is unavailable
 * later, that alone does not make a replica unready: workers keep their route table while the control process restarts. In
 * a new replica they have none yet, so they do not accept.
 */
export function createWaitReports(link: SupervisorLink, log: Logger): WaitReports {
  const ok = link.start.settings.config.roles.includes('gateway');
  let store = '';
  let stopReporting: (() => void) | undefined;
  return {
    waitingFor(what) {
      store = `waiting for ${what}`;
      stopReporting ??= reportReadiness(link, () => ({ ok, detail: { store } }), log);
    },
    end: () => stopReporting?.(),
  };
}

/** The answer of `/readyz` where the control process itself is asked: at the base host, through the gateway. */
export function readinessOf(link: SupervisorLink, control: ControlReport): Readiness {
  const { ok, detail } = judgeReadiness({ gateway: link.gateway(), control, controlAgeMs: 0 }, 0);
  return { ok, detail: detail ?? {} };
}

/** What the control process has to say for `/readyz`; the supervisor knows about the gateway. */
export function controlReport(parts: {
  readonly link: SupervisorLink;
  readonly judge: StoreJudge;
  readonly leadership: Leadership;
  readonly health: Pick<HealthLoop, 'heldBack'>;
  readonly feed: ControlRouteFeed;
  readonly replicas: Replicas;
  readonly certificates: Pick<CertificateAdmin, 'report'>;
  readonly exercise: Pick<ReadinessExercise, 'store' | 'api'>;
}): ControlReport {
  const { link, judge, leadership, health, feed, replicas, certificates, exercise } = parts;
  const trust = judge.trust();
  const unanswered = judge.unanswered();
  const hasGateway = link.start.settings.config.roles.includes('gateway');
  // Without the role gateway there is nothing to accept on: what other gateways need is the table.
  const hasWhatItServes = hasGateway || feed.isReady;
  const live = replicas.live();
  const own = live.find(({ id }) => id === replicas.id)?.shared;
  const odd = live.filter(({ shared }) => shared !== own).map(({ id }) => id);
  // Every replica has the same trouble with a shared store, and if all were unready, no pod could be reached.
  const isStoreShared = link.start.settings.config.store === 'redis';
  const storeText = (): string => {
    if (trust === null) return unanswered === 'store' ? 'does not answer' : 'not yet checked';
    if (trust.kind === 'suspect') return `suspect: ${trust.reason}`;
    return exercise.store() ?? 'healthy';
  };
  // A suspect store takes no writes: the detail says so, and running pods are served.
  const isStoreUsable = isStoreShared || trust?.kind === 'suspect' || exercise.store() === null;
  // Workers that accept have a whole table from before: what they serve needs no judgement.
  const isJudged = trust !== null || (unanswered !== null && hasGateway);
  return {
    ok: isJudged && hasWhatItServes && exercise.api() === null && isStoreUsable,
    detail: {
      store: storeText(),
      ...(unanswered === 'orchestrator' ? { orchestrator: 'does not respond; pods are as last observed' } : {}),
      ...(exercise.api() === null ? {} : { api: exercise.api() }),
      routes: feed.isReady ? 'complete' : 'not yet complete',
      followers: feed.followerCount,
      replicas: live.map(({ id }) => id),
      ...(odd.length === 0 ? {} : { configuredOtherwise: odd }),
      ...certificateTroubles(certificates.report()),
      ...heldBackRemovals(health.heldBack()?.removals.length ?? 0),
      health: leadership.isLeading() ? 'this replica leads' : 'another replica leads, or none yet',
    },
  };
}

/** No reason to be unready: what runs is served. */
function heldBackRemovals(count: number) {
  if (count === 0) return {};
  const what = `${count} workloads without a pod`;
  return { cleanUp: `the removal of ${what} is held back; list and confirm it with: podgate confirm` };
}

/**
 * Reported early, and no reason to be unready. Counts only: the response is public, and names are
 * in the log and in GET /v3/pods/certificates.
 */
function certificateTroubles({ certificates, accounts }: CertificateReport) {
  const lapsing = (lapse: string): number => certificates.filter((one) => one.lapse === lapse).length;
  const troubles = {
    endSoon: lapsing('soon'),
    expired: lapsing('expired'),
    keysUnreadable: certificates.filter(({ isKeyOpen }) => !isKeyOpen).length,
    accountsPaused: accounts.filter(({ pausedUntilMs }) => pausedUntilMs !== null).length,
  };
  return Object.values(troubles).every((count) => count === 0) ? {} : { certificates: troubles };
}
