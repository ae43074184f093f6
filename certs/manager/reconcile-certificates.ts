import { isAborted, pause } from '../../core/abort.ts';
import type { WantedName } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import type { Term } from '../../core/leadership.ts';
import type { Logger } from '../../core/logger.ts';
import type { Store } from '../../core/store.ts';
import type { Vault } from '../../core/vault.ts';
import type { ChallengeAnswers } from '../acme/acme-order.ts';
import { byUrgency, planNextStep } from '../plan/next-step.ts';
import { planCertificates, type PlannedCertificate } from '../plan/plan-certificates.ts';
import { lapseOf } from '../plan/renewal-time.ts';
import { type StoredAccount, createStoredAccount } from './stored-account.ts';
import type { AcmeSettings } from './acme-settings.ts';
import type { CertificateView } from './certificate-view.ts';
import { createCertificateRecords, LostOwnership, wishOf } from './certificate-records.ts';
import { createOrderWork, type OrderOutcome, type OrderWork } from './order-work.ts';
import { resealOldest } from './reseal.ts';
import { removeExpiredChallenges } from './stored-answers.ts';

const LOOK_MS = 15_000;
/** Orders at once: each waits most of the time. */
const AT_ONCE = 4;
const ADVICE_AT_ONCE = 2;
const SETTLE_MS = 500;
const SWEEP_EVERY_MS = 10 * 60_000;
const REMIND_EVERY_MS = 24 * 60 * 60_000;

export interface ReconcileCertificatesOptions {
  readonly settings: AcmeSettings;
  readonly store: Store;
  readonly vault: Vault;
  readonly view: CertificateView;
  readonly answers: Readonly<Record<PlannedCertificate['method'], ChallengeAnswers | null>>;
  /** Removes texts in the DNS that a killed one has left; null = there is no DNS to write to. */
  readonly removeLeftovers: ((signal: AbortSignal) => Promise<void>) | null;
  /** What the route table says of a host name; null = it is not there. */
  readonly nameOf: (host: string) => WantedName | null;
  /** The table is complete: what is not there does not exist. */
  readonly isTableComplete: () => boolean;
  /** Does the operator's own certificate cover it? Checked at each reconciliation. */
  readonly coverage: (nowMs: number) => (host: string) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly counted: (outcome: OrderOutcome) => void;
  readonly lookMs?: number;
}

/**
 * What the one replica does that has the lease: whenever something has changed, and now and then, it compares the
 * certificates there should be with those there are, and has a few at a time obtained or renewed, the most urgent first.
 * Ends when the term does.
 */
export async function reconcileCertificates(options: ReconcileCertificatesOptions, term: Term): Promise<void> {
  const { settings, store, vault, view, clock, log, lookMs = LOOK_MS } = options;
  const account = createStoredAccount({ store, vault, settings, term, clock, log });
  const records = createCertificateRecords({ store, term, now: () => clock.now() });
  const work = createOrderWork({ settings, records, account, answers: options.answers, vault, term, clock, log });
  const running = new Map<string, Promise<void>>();
  const asking = new Map<string, Promise<void>>();
  const remindedMs = new Map<string, number>();
  let sweptMs = Number.NEGATIVE_INFINITY;
  let wake: () => void = () => undefined;
  /** Grows with whatever has happened. */
  let news = 0;
  const unfollow = view.follow(() => {
    news += 1;
    wake();
  });

  /** What one certificate needs, beside the others. A failure that is not its own is logged; the next look tries again. */
  function start(tasks: Map<string, Promise<void>>, key: string, task: () => Promise<void>): void {
    const ended = task()
      .catch((error: unknown) => {
        if (term.signal.aborted || error instanceof LostOwnership) return;
        log.warn(
          { certificate: key, error: errorText(error) },
          'work on a certificate was interrupted; it will be resumed',
        );
      })
      // What the view does not show yet, or the store does not take now, is not tried all the time.
      .then(() => pause(SETTLE_MS, term.signal))
      .finally(() => {
        tasks.delete(key);
        news += 1;
        wake();
      });
    tasks.set(key, ended);
  }

  async function look(): Promise<void> {
    const nowMs = clock.now();
    const planned = plan(options, nowMs);
    remind(options, nowMs, remindedMs);
    await sweep(nowMs);
    if ((await account.pausedUntilMs()) > 0) return;
    // A roll-over of the account's key waits for nothing else.
    const nextKey = view.accounts.get(settings.server.directoryUrl)?.sealedNextKey ?? null;
    if (nextKey !== null && !running.has('')) {
      start(running, '', () => rollOver(account, term));
    }
    const due = [...planned.values()]
      .map((wanted) => ({ wanted, record: view.certificates.get(wanted.key)?.value ?? wishOf(wanted, nowMs) }))
      .map((one) => ({ ...one, step: planNextStep(one.record, one.wanted.names, nowMs) }));
    const orders = due.filter(({ step }) => step === 'order').sort((a, b) => byUrgency(a.record, b.record));
    for (const { wanted } of orders) {
      if (running.size >= AT_ONCE) break;
      if (!running.has(wanted.key)) start(running, wanted.key, () => obtain(work, wanted, options));
    }
    for (const { wanted, step } of due) {
      if (asking.size >= ADVICE_AT_ONCE) break;
      if (step === 'ask-advice' && !asking.has(wanted.key)) start(asking, wanted.key, () => work.askAdvice(wanted));
    }
  }

  /** Removes what is no longer needed, and what killed processes left behind. */
  async function sweep(nowMs: number): Promise<void> {
    if (clock.monotonicMs() - sweptMs < SWEEP_EVERY_MS) return;
    sweptMs = clock.monotonicMs();
    await removeExpiredChallenges(store, view.challenges.values(), nowMs);
    await resealOldest({ store, vault, view, term, log });
    if (options.isTableComplete()) await removeUnneeded(options, running, nowMs);
    if (options.removeLeftovers !== null) {
      await options.removeLeftovers(term.signal).catch((error: unknown) => {
        log.warn({ error: errorText(error) }, 'failed to remove leftover DNS records; will retry');
      });
    }
  }

  function lookFailed(error: unknown): false {
    if (!isAborted(term.signal) && !(error instanceof LostOwnership)) {
      log.warn({ error: errorText(error) }, 'certificate reconciliation failed; will retry');
    }
    return false;
  }

  try {
    while (!term.isOver()) {
      const known = news;
      const isDone = view.isComplete() && (await look().then(() => true, lookFailed));
      if (!isDone || news === known) {
        const waiting = new AbortController();
        wake = () => waiting.abort();
        await pause(lookMs, AbortSignal.any([term.signal, waiting.signal]));
        wake = () => undefined;
      }
    }
  } finally {
    unfollow();
    await Promise.all([...running.values(), ...asking.values()]);
  }
}

async function obtain(
  work: OrderWork,
  wanted: PlannedCertificate,
  { counted }: ReconcileCertificatesOptions,
): Promise<void> {
  counted(await work.obtain(wanted));
}

async function rollOver(account: StoredAccount, { signal }: Term): Promise<void> {
  try {
    await account.session(signal);
  } catch (error) {
    if (signal.aborted || error instanceof LostOwnership) throw error;
    await account.failed(error);
  }
}

/** By key: what there should be. */
function plan(options: ReconcileCertificatesOptions, nowMs: number): ReadonlyMap<string, PlannedCertificate> {
  const { view, settings, nameOf } = options;
  const asked: WantedName[] = [];
  const imported = new Set<string>();
  for (const { key, value } of view.certificates.values()) {
    if (value.source === 'imported') for (const name of value.names) imported.add(name);
    const name = nameOf(key);
    if (name !== null) asked.push(name);
  }
  const isOperators = options.coverage(nowMs);
  const isCovered = (host: string): boolean =>
    isOperators(host) || imported.has(host) || imported.has(`*${host.slice(host.indexOf('.'))}`);
  return new Map(planCertificates(settings.tenants, asked, isCovered).map((one) => [one.key, one]));
}

/** Requests for names that are gone, and expired certificates that are no longer requested. */
async function removeUnneeded(
  options: ReconcileCertificatesOptions,
  running: ReadonlyMap<string, unknown>,
  nowMs: number,
): Promise<void> {
  const { store, view } = options;
  // Together: what comes while one is removed is none of them.
  const planned = plan(options, nowMs);
  const present = [...view.certificates.values()];
  for (const { key, revision, value } of present) {
    if (planned.has(key) || running.has(key) || value.source === 'imported') continue;
    if (value.held !== null && value.held.notAfterMs > nowMs) continue;
    await store.commit({ deletes: [{ kind: 'certificate', key, expected: revision, uid: value.uid }] });
  }
}

/** Loud, once a day for each: renewal has failed for long. */
function remind({ view, log }: ReconcileCertificatesOptions, nowMs: number, remindedMs: Map<string, number>): void {
  for (const { key, value } of view.certificates.values()) {
    const { held, names, lastError } = value;
    const lapse = held === null ? 'no' : lapseOf(held, nowMs);
    if (held === null || lapse === 'no' || nowMs - (remindedMs.get(key) ?? 0) < REMIND_EVERY_MS) continue;
    remindedMs.set(key, nowMs);
    log.error(
      { names, validTo: new Date(held.notAfterMs).toISOString(), lastError: lastError?.message ?? null },
      lapse === 'expired' ? 'a certificate has expired' : 'a certificate will expire soon and has not been renewed',
    );
  }
}
