import type { StoreJudge } from '../control/health/store-judge.ts';
import type { ControlRouteFeed } from '../control/routes/route-feed.ts';
import type { CertificateAdmin, CertificateReport } from '../core/certificate-admin.ts';
import type { Leadership } from '../core/leadership.ts';
import type { Replicas } from '../core/replicas.ts';
import type { SupervisorLink } from './supervisor-link.ts';

/** The answer of `/readyz`. */
export function readinessOf(parts: {
  readonly link: SupervisorLink;
  readonly judge: StoreJudge;
  readonly leadership: Leadership;
  readonly feed: ControlRouteFeed;
  readonly replicas: Replicas;
  readonly certificates: Pick<CertificateAdmin, 'report'>;
}) {
  const { link, judge, leadership, feed, replicas, certificates } = parts;
  const trust = judge.trust();
  const { accepting, slots, isDraining } = link.gateway();
  const hasGateway = link.start.settings.config.roles.includes('gateway');
  // Without the role gateway there is nothing to accept on: what other gateways need is the table.
  const hasWhatItServes = hasGateway ? slots > 0 && accepting === slots : feed.isReady;
  const live = replicas.live();
  const own = live.find(({ id }) => id === replicas.id)?.shared;
  const odd = live.filter(({ shared }) => shared !== own).map(({ id }) => id);
  const gatewayText = (): string => {
    if (isDraining) return 'ending: running sessions have some time left';
    return hasGateway ? `${accepting} of ${slots} accept` : 'none here: see PODGATE_ROLES';
  };
  return {
    ok: hasWhatItServes && !isDraining,
    detail: {
      store: trust === null ? 'not yet looked at' : trust.kind === 'healthy' ? 'healthy' : `suspect: ${trust.reason}`,
      routes: feed.isReady ? 'complete' : 'not yet complete',
      gateway: gatewayText(),
      followers: feed.followerCount,
      replicas: live.map(({ id }) => id),
      ...(odd.length === 0 ? {} : { configuredOtherwise: odd }),
      ...certificateTroubles(certificates.report()),
      health: leadership.isLeading() ? 'this replica leads' : 'another replica leads, or none yet',
    },
  };
}

/**
 * Said early, and no reason to be unready. How many, and not which: the answer is shown to whoever asks, and names are
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
