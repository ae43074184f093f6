import { pause, untilAborted } from '../../core/abort.ts';
import type { CertificateAdmin } from '../../core/certificate-admin.ts';
import type { ServedCertificate, WantedName } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import type { Leadership } from '../../core/leadership.ts';
import type { Logger } from '../../core/logger.ts';
import type { Store } from '../../core/store.ts';
import type { Vault } from '../../core/vault.ts';
import type { ChallengeAnswers } from '../acme/acme-order.ts';
import type { AcmeSettings } from './acme-settings.ts';
import { createCertificateAdmin } from './certificate-admin.ts';
import { type CertificateSink, createCertificateView } from './certificate-view.ts';
import { putOf, wishOf } from './certificate-records.ts';
import { createStoredAnswers, type StoredAnswersOptions } from './stored-answers.ts';

const WISH_RETRY_MS = 1_000;
/** Clients come again: more than these need not be remembered while the store is away. */
const WISHES_MAX = 1_000;

export interface CertificateManagerOptions {
  /** Null: nothing is ordered; what was imported is served. */
  readonly settings: AcmeSettings | null;
  readonly store: Store;
  readonly vault: Vault;
  readonly sink: CertificateSink;
  /** Of the lease for certificates. */
  readonly leadership: Leadership;
  readonly everywhere: StoredAnswersOptions['everywhere'];
  /** For names by dns-01; null = none is set up. */
  readonly dns: (ChallengeAnswers & { removeLeftovers(signal: AbortSignal): Promise<void> }) | null;
  readonly nameOf: (host: string) => WantedName | null;
  readonly isTableComplete: () => boolean;
  /** Of all sources, as they are served. */
  readonly served: () => Iterable<ServedCertificate>;
  readonly coverage: (nowMs: number) => (host: string) => boolean;
  readonly isStoreHealthy: (signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: every 15 s, beside whenever something has changed. */
  readonly lookMs?: number;
}

export interface CertificateManager extends CertificateAdmin {
  /** A client has come for this name, and the world trusts no certificate that is served for it. */
  wanted(host: string): void;
  /** Serves what the store has, and acts while it has the lease, until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Certificates that look after themselves. Every replica serves what the store has, and writes down for which names
 * clients have come; one at a time orders and renews.
 */
export function createCertificateManager(options: CertificateManagerOptions): CertificateManager {
  const { settings, store, vault, dns, clock, log } = options;
  const view = createCertificateView(options);
  const counts = { issued: 0, failed: 0 };
  const wishes = new Map<string, WantedName>();
  let wishNow: () => void = () => undefined;

  function wanted(host: string): void {
    const name = options.nameOf(host);
    if (settings === null || name?.isEndedHere !== true || view.certificates.has(host)) return;
    const tenant = settings.tenants.find((one) => one.tenant === name.tenant);
    if (tenant === undefined || tenant.hasWildcard || !tenant.hasPerHost) return;
    if (wishes.size >= WISHES_MAX || options.coverage(clock.now())(host)) return;
    wishes.set(host, name);
    wishNow();
  }

  async function writeWishes(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const [host, { tenant, user }] of [...wishes]) {
        const wish = wishOf({ names: [host], tenant, user }, clock.now());
        try {
          // Another replica may have written it: then it is there.
          await store.commit({ puts: [putOf(host, 'absent', wish)] });
          wishes.delete(host);
        } catch (error) {
          log.debug({ host, error: errorText(error) }, 'failed to request a certificate; will retry');
        }
      }
      const waiting = new AbortController();
      wishNow = () => waiting.abort();
      if (wishes.size > 0) await pause(WISH_RETRY_MS, signal);
      else await untilAborted(AbortSignal.any([signal, waiting.signal]));
    }
  }

  async function act(signal: AbortSignal): Promise<void> {
    if (settings === null) return;
    // With the ACME library, which takes 15 MiB: most installations order nothing.
    const { reconcileCertificates } = await import('./reconcile-certificates.ts');
    const { everywhere } = options;
    const answers = { 'per-host': createStoredAnswers({ store, everywhere, clock, log }), 'dns-01': dns };
    const removeLeftovers = dns === null ? null : (ending: AbortSignal) => dns.removeLeftovers(ending);
    const counted = (outcome: string): void => {
      if (outcome === 'issued' || outcome === 'failed') counts[outcome] += 1;
    };
    const acting = { ...options, settings, view, answers, removeLeftovers, counted };
    await options.leadership.run((term) => reconcileCertificates(acting, term), signal);
  }

  return {
    wanted,
    ...createCertificateAdmin({ ...options, vault, view, counts }),
    async run(signal) {
      await Promise.all([view.run(signal), writeWishes(signal), act(signal)]);
    },
  };
}
