import type { CertificateBudgetRecord, CertificateRecord } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { isStoreFailure } from '../../core/errors.ts';
import type { Term } from '../../core/leadership.ts';
import type { Logger } from '../../core/logger.ts';
import type { Stored } from '../../core/store.ts';
import type { Vault } from '../../core/vault.ts';
import { AcmeError } from '../acme/acme-error.ts';
import type { AcmeSession } from '../acme/acme-session.ts';
import { carryOutOrder, type ChallengeAnswers } from '../acme/acme-order.ts';
import type { IssuedCertificate } from '../acme/issued-certificate.ts';
import { renewalInfoId } from '../acme/issued-certificate.ts';
import { makePrivateKey } from '../acme/private-key.ts';
import { fetchRenewalAdvice } from '../acme/renewal-info.ts';
import { nameRetryAtMs } from '../plan/back-off.ts';
import { askBudget, recentSpent } from '../plan/budget.ts';
import { planNextStep } from '../plan/next-step.ts';
import type { PlannedCertificate } from '../plan/plan-certificates.ts';
import { registeredDomain } from '../plan/registered-domain.ts';
import { fractionOf, nextAdviceMs } from '../plan/renewal-time.ts';
import { type StoredAccount, messageOf } from './stored-account.ts';
import type { AcmeSettings } from './acme-settings.ts';
import { type CertificateRecords, LostOwnership } from './certificate-records.ts';

/** A budget that is used up is looked at again this often: clocks jump, and limits are raised. */
const BUDGET_LOOK_MS = 60 * 60_000;
const ADVICE_LATER_MS = 60 * 60_000;

/** What came of it, for the counts of this replica. */
export type OrderOutcome = 'issued' | 'failed' | 'budget' | 'nothing';

export interface OrderWorkOptions {
  readonly settings: AcmeSettings;
  readonly records: CertificateRecords;
  readonly account: StoredAccount;
  readonly answers: Readonly<Record<PlannedCertificate['method'], ChallengeAnswers | null>>;
  readonly vault: Vault;
  readonly term: Term;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface OrderWork {
  /** Carries it to a certificate, or notes why not. Rejects when the store is away, or the term is over. */
  obtain(planned: PlannedCertificate): Promise<OrderOutcome>;
  /** Asks the issuer when to renew, and notes it. */
  askAdvice(planned: PlannedCertificate): Promise<void>;
}

/**
 * One certificate at a time. Each step is recorded before it is taken, so that the next holder continues from there after a
 * kill, with the same order if the server still has it.
 */
export function createOrderWork(options: OrderWorkOptions): OrderWork {
  const { settings, records, account, answers, vault, term, clock, log } = options;

  async function obtain(planned: PlannedCertificate): Promise<OrderOutcome> {
    const stored = await records.read(planned);
    if (planNextStep(stored.value, planned.names, clock.now()) !== 'order') return 'nothing';
    let record = stored.value;
    const session = await openSession(planned, record);
    if (session === null) return 'failed';
    try {
      checkOpened(stored);
      record = await begin(planned, record);
      const order = record.order;
      if (order === null) return 'budget';
      const issued = await carryOutOrder(
        {
          session,
          answers: answersOf(planned),
          names: planned.names,
          challenges: planned.method === 'dns-01' ? ['dns-01'] : settings.challenges,
          privateKey: vault.open(order.sealedKey, record.uid),
          url: order.url,
          begun: async (url) => {
            record = await records.change(record, planned.key, (now) => ({ ...now, order: { ...order, url } }));
          },
          replaces: record.held === null ? null : renewalInfoId(record.held.certificatePem),
          preferredChain: settings.preferredChain,
        },
        term.signal,
      );
      await keep(planned, record, order.sealedKey, issued);
      await account.succeeded();
      return 'issued';
    } catch (error) {
      if (isForOthers(error)) throw error;
      await fail(planned, record, error);
      return 'failed';
    }
  }

  /** Null, and noted: the account cannot be used now. No order is begun then. */
  async function openSession(planned: PlannedCertificate, record: CertificateRecord): Promise<AcmeSession | null> {
    try {
      return await account.session(term.signal);
    } catch (error) {
      if (isForOthers(error)) throw error;
      await account.failed(error);
      const lastError = { atMs: clock.now(), message: messageOf(error) };
      await records.change(record, planned.key, (now) => ({ ...now, lastError }));
      return null;
    }
  }

  function isForOthers(error: unknown): boolean {
    if (term.signal.aborted || error instanceof LostOwnership) return true;
    return isStoreFailure(error);
  }

  /** The keyring that cannot open what is held would seal what others cannot open. */
  function checkOpened({ value }: Stored<'certificate'>): void {
    if (value.held !== null && !value.isRenewalAsked) vault.open(value.held.sealedKey, value.uid);
  }

  /** In the record, and in the budget, before the server hears of it. */
  async function begin(planned: PlannedCertificate, record: CertificateRecord): Promise<CertificateRecord> {
    if (record.order !== null) return record;
    const nowMs = clock.now();
    const sealedKey = vault.seal(makePrivateKey(), record.uid);
    const order = { url: null, sealedKey, startedAtMs: nowMs };
    // Renewals of the same names do not count.
    const isNew = record.held === null || planned.names.some((name) => !record.names.includes(name));
    if (!isNew) return records.change(record, planned.key, (now) => ({ ...now, order }));
    const { key, tenant, user } = planned;
    const spending = { domain: registeredDomain(key), tenant, user };
    return records.changeWithBudget(record, key, (now, budget) => {
      const answer = askBudget(budget.spent, spending, settings.limits, nowMs);
      if (answer.kind === 'granted') {
        const spent = [...recentSpent(budget.spent, nowMs), { ...spending, key, atMs: nowMs }];
        return { record: { ...now, order }, budget: { spent } };
      }
      const until = new Date(answer.untilMs).toISOString();
      const message = `the weekly budget of new certificates for this ${answer.whose} of ${spending.domain} is used up until ${until}`;
      const notBeforeMs = Math.min(answer.untilMs, nowMs + BUDGET_LOOK_MS);
      log.warn(
        { names: planned.names, whose: answer.whose, until },
        'a certificate order waits: the budget is used up',
      );
      const waiting = { ...now, notBeforeMs, isRenewalAsked: false, lastError: { atMs: nowMs, message } };
      return { record: waiting, budget };
    });
  }

  function answersOf({ method }: PlannedCertificate): ChallengeAnswers {
    const found = answers[method];
    if (found === null) throw new AcmeError('refused', `${method} is not configured`);
    return found;
  }

  async function keep(
    planned: PlannedCertificate,
    record: CertificateRecord,
    sealedKey: string,
    issued: IssuedCertificate,
  ): Promise<void> {
    const { certificatePem, issuer, serial, notBeforeMs, notAfterMs } = issued;
    const obtainedAtMs = clock.now();
    await records.change(record, planned.key, (now) => ({
      ...now,
      names: planned.names,
      held: { certificatePem, sealedKey, issuer, serial, notBeforeMs, notAfterMs, obtainedAtMs },
      order: null,
      advice: null,
      failures: 0,
      lastError: null,
      notBeforeMs: 0,
      isRenewalAsked: false,
    }));
    log.info(
      { names: planned.names, issuer, validTo: new Date(notAfterMs).toISOString() },
      record.held === null ? 'a certificate has been obtained' : 'a certificate has been renewed',
    );
  }

  async function fail(planned: PlannedCertificate, record: CertificateRecord, error: unknown): Promise<void> {
    const fault = error instanceof AcmeError ? error.fault : 'refused';
    const isOrderOver = fault === 'refused';
    // What the server itself is to blame for holds up the account, and the name goes on as soon as that does.
    if (fault !== 'refused') await account.failed(error);
    const isOfServer = fault === 'server' || fault === 'account';
    const nowMs = clock.now();
    const message = messageOf(error);
    const failed = (now: CertificateRecord): CertificateRecord => {
      const failures = now.failures + (isOfServer ? 0 : 1);
      const retryAfterMs = error instanceof AcmeError ? error.retryAfterMs : null;
      const fraction = fractionOf(`${planned.key} ${failures}`);
      return {
        ...now,
        failures,
        lastError: { atMs: nowMs, message },
        notBeforeMs: isOfServer ? 0 : nameRetryAtMs({ failures, nowMs, retryAfterMs, fraction }),
        isRenewalAsked: false,
        order: isOrderOver ? null : now.order,
      };
    };
    log.warn({ names: planned.names, fault, error: message }, 'failed to obtain a certificate');
    if (!isOrderOver) {
      await records.change(record, planned.key, failed);
      return;
    }
    // It came to nothing for certain: the issuer has counted none.
    const startedAtMs = record.order?.startedAtMs;
    const isThis = ({ key, atMs }: CertificateBudgetRecord['spent'][number]): boolean =>
      key === planned.key && atMs === startedAtMs;
    await records.changeWithBudget(record, planned.key, (now, { spent }) => ({
      record: failed(now),
      budget: { spent: spent.filter((one) => !isThis(one)) },
    }));
  }

  async function askAdvice(planned: PlannedCertificate): Promise<void> {
    const { value: record } = await records.read(planned);
    const { held } = record;
    if (held === null || planNextStep(record, planned.names, clock.now()) !== 'ask-advice') return;
    const nowMs = clock.now();
    const session = await account.session(term.signal);
    const advice = await fetchRenewalAdvice(session, held.certificatePem, nowMs, term.signal).catch(
      (error: unknown) => {
        if (term.signal.aborted) throw error;
        log.debug(
          { names: planned.names, error: messageOf(error) },
          'failed to fetch the renewal information from the issuer',
        );
        return null;
      },
    );
    // None is noted, too, as a window that says nothing: it is not asked for all the time.
    const none = { startMs: 0, endMs: 0, explanationUrl: null };
    const kept = record.advice === null ? none : record.advice;
    const noted = advice ?? { ...kept, askAgainMs: nextAdviceMs(nowMs, ADVICE_LATER_MS) };
    await records.change(record, planned.key, (now) =>
      now.held?.serial === held.serial ? { ...now, advice: noted } : null,
    );
  }

  return { obtain, askAdvice };
}
