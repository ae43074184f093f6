import { randomUUID, X509Certificate } from 'node:crypto';
import type {
  CertificateAdmin,
  CertificatePems,
  CertificateStatus,
  ImportAnswer,
} from '../../core/certificate-admin.ts';
import type { CertificateRecord, ServedCertificate } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { compareAndSet } from '../../core/compare-and-set.ts';
import { PodgateError } from '../../core/errors.ts';
import type { Store } from '../../core/store.ts';
import type { Vault } from '../../core/vault.ts';
import { readCertificatePair } from '../files/certificate-pair.ts';
import { readIssued } from '../acme/issued-certificate.ts';
import { makePrivateKey } from '../acme/private-key.ts';
import { isRetryTime } from '../plan/back-off.ts';
import { budgetLeft } from '../plan/budget.ts';
import { windowOf } from '../plan/next-step.ts';
import { registeredDomain } from '../plan/registered-domain.ts';
import { fractionOf, lapseOf, renewalTimeMs } from '../plan/renewal-time.ts';
import type { AcmeSettings } from './acme-settings.ts';
import { type CertificateView, sourceOf } from './certificate-view.ts';
import { putOf, wishOf } from './certificate-records.ts';

const TRIES = 5;

export interface CertificateAdminOptions {
  readonly settings: AcmeSettings | null;
  readonly store: Store;
  readonly vault: Vault;
  readonly view: CertificateView;
  readonly served: () => Iterable<ServedCertificate>;
  readonly counts: { readonly issued: number; readonly failed: number };
  readonly clock: Clock;
}

export function createCertificateAdmin(options: CertificateAdminOptions): CertificateAdmin {
  const { settings, store, vault, view, counts, clock } = options;
  // Readiness takes the report every second.
  const parsed = new WeakMap<ServedCertificate, Parsed>();

  /** Returns false when there is no such certificate, or `change` has nothing to do. */
  async function change(
    key: string,
    change: (record: CertificateRecord) => CertificateRecord | null,
  ): Promise<boolean> {
    return await untilCommitted(`the certificate record ${key}`, async () => {
      const stored = await store.get('certificate', key);
      const changed = stored === null ? null : change(stored.value);
      if (stored === null || changed === null) return false;
      const result = await store.commit({ puts: [putOf(key, stored.revision, changed)] });
      return result.kind === 'committed' ? true : null;
    });
  }

  function parsedOf(certificate: ServedCertificate): Parsed {
    const found = parsed.get(certificate) ?? parse(certificate.certificatePem);
    parsed.set(certificate, found);
    return found;
  }

  return {
    report() {
      const nowMs = clock.now();
      const records = [...view.certificates.values()];
      const domains = records.map(({ key }) => registeredDomain(key));
      return {
        certificates: [
          ...records.map(({ key, value }) => statusOfRecord(key, value, !view.unopened.has(key), nowMs)),
          ...[...options.served()]
            .filter(({ source }) => source === 'files' || source === 'development')
            .map((one) => statusOfServed(one, parsedOf(one), nowMs)),
        ],
        budgets: settings === null ? [] : budgetLeft(view.budget().spent, domains, settings.limits, nowMs),
        accounts: [...view.accounts].map(([directoryUrl, { url, contact, failures, lastError, notBeforeMs }]) => ({
          ...{ directoryUrl, url, contact, failures, lastError },
          pausedUntilMs: isRetryTime(notBeforeMs, nowMs) ? null : notBeforeMs,
        })),
        counts: { ...counts },
      };
    },

    async renew(key) {
      const stored = await store.get('certificate', key);
      if (stored === null) return 'unknown';
      if (stored.value.source === 'imported' || settings === null) return 'not-renewable';
      return (await change(key, (record) => ({ ...record, isRenewalAsked: true }))) ? 'asked' : 'unknown';
    },

    import: (pems) => importPems(options, pems),

    async export(key) {
      const stored = await store.get('certificate', key);
      const held = stored?.value.held ?? null;
      if (stored === null || held === null) return null;
      return { certificatePem: held.certificatePem, privateKeyPem: vault.open(held.sealedKey, stored.value.uid) };
    },

    async rollOverAccountKey() {
      const key = settings?.server.directoryUrl;
      if (key === undefined) return 'no-account';
      return await untilCommitted('the account record', async () => {
        const stored = await store.get('acme-account', key);
        if (stored === null) return 'no-account';
        const { value, revision } = stored;
        // One that is on its way already is as new.
        const sealedNextKey = value.sealedNextKey ?? vault.seal(makePrivateKey(), value.uid);
        const result = await store.commit({
          puts: [
            {
              ...{ kind: 'acme-account', key, expected: revision, tenant: '', indexes: [] },
              value: { ...value, sealedNextKey },
            },
          ],
        });
        return result.kind === 'committed' ? 'asked' : null;
      });
    },
  };
}

async function importPems(
  { store, vault, clock }: CertificateAdminOptions,
  { certificatePem, privateKeyPem }: CertificatePems,
): Promise<ImportAnswer> {
  const pair = readCertificatePair(certificatePem, privateKeyPem);
  if (pair.kind === 'bad') return { kind: 'refused', reason: pair.reason };
  const { certificate } = pair;
  const [key] = certificate.names;
  if (key === undefined) return { kind: 'refused', reason: 'the certificate contains no host name' };
  if (pair.notAfterMs <= clock.now()) return { kind: 'refused', reason: 'the certificate has expired' };
  const { issuer, serial, notBeforeMs, notAfterMs } = readIssued(certificate.certificatePem, certificate.privateKeyPem);
  return await untilCommitted(`the certificate record ${key}`, async () => {
    const present = await store.get('certificate', key);
    const nowMs = clock.now();
    const record = present?.value ?? wishOf({ names: certificate.names, tenant: '', user: null }, nowMs);
    const uid = present?.value.uid ?? randomUUID();
    const sealedKey = vault.seal(certificate.privateKeyPem, uid);
    const value: CertificateRecord = {
      ...wishOf({ names: certificate.names, tenant: record.tenant, user: record.user }, nowMs),
      uid,
      source: 'imported',
      held: {
        ...{ certificatePem: certificate.certificatePem, sealedKey, issuer, serial },
        ...{ notBeforeMs, notAfterMs, obtainedAtMs: nowMs },
      },
    };
    const result = await store.commit({ puts: [putOf(key, present?.revision ?? 'absent', value)] });
    return result.kind === 'committed' ? { kind: 'imported', key } : null;
  });
}

async function untilCommitted<T>(what: string, attempt: () => Promise<T | null>): Promise<T> {
  const done = await compareAndSet(attempt, TRIES);
  if (done !== null) return done;
  throw new PodgateError('store.unavailable', { detail: `${what} changes all the time` });
}

function statusOfRecord(key: string, record: CertificateRecord, isKeyOpen: boolean, nowMs: number): CertificateStatus {
  const { names, source, tenant, user, held, order, advice, failures, lastError, notBeforeMs } = record;
  const nextRenewalMs =
    held === null || source === 'imported' ? null : renewalTimeMs(held, windowOf(advice), fractionOf(held.serial));
  return {
    ...{ key, names, tenant: tenant === '' ? null : tenant, user, failures, lastError, isKeyOpen },
    source: source === 'imported' ? 'imported' : sourceOf(record),
    held: held === null ? null : heldOf(held),
    lapse: held === null ? 'no' : lapseOf(held, nowMs),
    nextRenewalMs,
    isOrdering: order !== null,
    notBeforeMs: isRetryTime(notBeforeMs, nowMs) ? null : notBeforeMs,
  };
}

interface Parsed {
  readonly issuer: string;
  readonly serial: string;
  readonly notBeforeMs: number;
}

function parse(certificatePem: string): Parsed {
  const leaf = new X509Certificate(certificatePem);
  const issuer = /^CN=(.*)$/m.exec(leaf.issuer)?.[1] ?? leaf.issuer.replaceAll('\n', ', ');
  return { issuer, serial: leaf.serialNumber, notBeforeMs: leaf.validFromDate.getTime() };
}

/** What no record says: the operator's files, and the development CA's. */
function statusOfServed(
  { id, names, source, notAfterMs }: ServedCertificate,
  { issuer, serial, notBeforeMs }: Parsed,
  nowMs: number,
): CertificateStatus {
  return {
    ...{ key: id.slice(id.indexOf(' ') + 1), names, source, tenant: null, user: null, failures: 0, lastError: null },
    held: { issuer, serial, notBeforeMs, notAfterMs },
    lapse: lapseOf({ notBeforeMs, notAfterMs, obtainedAtMs: notBeforeMs }, nowMs),
    ...{ nextRenewalMs: null, isOrdering: false, notBeforeMs: null, isKeyOpen: true },
  };
}

function heldOf({ issuer, serial, notBeforeMs, notAfterMs }: NonNullable<CertificateRecord['held']>) {
  return { issuer, serial, notBeforeMs, notAfterMs };
}
