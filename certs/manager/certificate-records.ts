import { randomUUID } from 'node:crypto';
import type { CertificateBudgetRecord, CertificateRecord } from '../../core/certificates.ts';
import { compareAndSet } from '../../core/compare-and-set.ts';
import { PodgateError } from '../../core/errors.ts';
import type { Term } from '../../core/leadership.ts';
import type { Put, Store, Stored } from '../../core/store.ts';
import type { PlannedCertificate } from '../plan/plan-certificates.ts';

const TRIES = 5;
const BUDGET_KEY = 'acme';

/** Another replica owns the record now, or it is gone. Stop without retrying or cleaning up. */
export class LostOwnership extends Error {
  override readonly name = 'LostOwnership';
}

export interface CertificateRecords {
  /** The present record; created if there is none. */
  read(planned: PlannedCertificate): Promise<Stored<'certificate'>>;
  /** What `change` makes of the record as it is now; null leaves it. Throws LostOwnership. */
  change(
    record: CertificateRecord,
    key: string,
    change: (present: CertificateRecord) => CertificateRecord | null,
  ): Promise<CertificateRecord>;
  /** The same, with what `spend` makes of the budget in the same step; null of either = nothing is written. */
  changeWithBudget(
    record: CertificateRecord,
    key: string,
    change: (
      present: CertificateRecord,
      budget: CertificateBudgetRecord,
    ) => { readonly record: CertificateRecord; readonly budget: CertificateBudgetRecord },
  ): Promise<CertificateRecord>;
}

/**
 * Writes of the term's holder. Each carries the fence of the term, and expects the revision that was read: a holder that
 * was paused is refused, or finds another revision, and stops.
 */
export function createCertificateRecords(options: {
  readonly store: Store;
  readonly term: Term;
  readonly now: () => number;
}): CertificateRecords {
  const { store, term, now } = options;

  async function write(
    { uid }: CertificateRecord,
    key: string,
    make: (present: CertificateRecord) => Promise<readonly [CertificateRecord, ...Put[]] | null>,
  ): Promise<CertificateRecord> {
    const written = await compareAndSet(async () => {
      if (term.isOver()) throw new LostOwnership('the term is over');
      const present = await store.get('certificate', key);
      // One that was imported meanwhile is the operator's.
      if (present?.value.uid !== uid || present.value.source !== 'acme')
        throw new LostOwnership('the record no longer exists');
      const made = await make(present.value);
      if (made === null) return present.value;
      const [value, ...others] = made;
      if (term.isOver()) throw new LostOwnership('the term is over');
      const result = await store.commit({
        puts: [putOf(key, present.revision, value), ...others],
        fence: term.fence,
      });
      if (result.kind === 'fenced') throw fencedOff(term);
      return result.kind === 'committed' ? value : null;
    }, TRIES);
    if (written !== null) return written;
    throw new PodgateError('store.unavailable', { detail: `the certificate record ${key} keeps changing` });
  }

  return {
    async read(planned) {
      const { key } = planned;
      const present = await store.get('certificate', key);
      if (present !== null) return present;
      await store.commit({ puts: [putOf(key, 'absent', wishOf(planned, now()))] });
      const made = await store.get('certificate', key);
      if (made === null) throw new LostOwnership('the record no longer exists');
      return made;
    },
    change: (record, key, change) =>
      write(record, key, async (present) => {
        const changed = change(present);
        return changed === null ? null : [changed];
      }),
    changeWithBudget: (record, key, change) =>
      write(record, key, async (present) => {
        const stored = await store.get('certificate-budget', BUDGET_KEY);
        const { record: changed, budget } = change(present, stored?.value ?? { spent: [] });
        return [
          changed,
          {
            kind: 'certificate-budget',
            key: BUDGET_KEY,
            expected: stored?.revision ?? 'absent',
            value: budget,
            tenant: '',
            indexes: [],
          },
        ];
      }),
  };
}

/** Another has led since: this term is over. */
export function fencedOff(term: Term): LostOwnership {
  const reason = 'another process already writes certificates';
  term.end(reason);
  return new LostOwnership(reason);
}

/** The request for a certificate. */
export function wishOf(
  { names, tenant, user }: Pick<PlannedCertificate, 'names' | 'tenant' | 'user'>,
  nowMs: number,
): CertificateRecord {
  return {
    uid: randomUUID(),
    tenant,
    user,
    names,
    source: 'acme',
    held: null,
    order: null,
    advice: null,
    failures: 0,
    lastError: null,
    notBeforeMs: 0,
    isRenewalAsked: false,
    createdAtMs: nowMs,
  };
}

export function putOf(key: string, expected: number | 'absent', value: CertificateRecord): Put {
  return { kind: 'certificate', key, expected, value, tenant: value.tenant, indexes: [] };
}
