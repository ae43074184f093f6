import { isAborted, pause } from '../../core/abort.ts';
import type {
  AcmeAccountRecord,
  Certificate,
  CertificateBudgetRecord,
  CertificateRecord,
  CertificateSource,
  ChallengeRecord,
  ServedChallenges,
} from '../../core/certificates.ts';
import { errorText } from '../../core/errors.ts';
import { readAll } from '../../core/list-all.ts';
import type { Logger } from '../../core/logger.ts';
import type { RecordKind, Store, Stored } from '../../core/store.ts';
import type { Vault } from '../../core/vault.ts';
import { createValidationCertificates } from './validation-certificates.ts';

const RETRY_MS = 500;

/** Where what is to be served goes. */
export interface CertificateSink {
  replace(source: CertificateSource, certificates: readonly CertificateToServe[]): void;
  change(source: CertificateSource, set: readonly CertificateToServe[], removed: readonly string[]): void;
  setChallenges(challenges: ServedChallenges, uids: readonly string[]): void;
}

export interface CertificateToServe extends Certificate {
  readonly id: string;
  readonly notAfterMs: number;
}

export interface CertificateViewOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly sink: CertificateSink;
  readonly log: Logger;
  /** A fresh judgement: may what the store says replace what is served? */
  readonly isStoreHealthy: (signal: AbortSignal) => Promise<boolean>;
}

/** What the store says about certificates, as this replica last heard. */
export interface CertificateView {
  readonly certificates: ReadonlyMap<string, Stored<'certificate'>>;
  readonly accounts: ReadonlyMap<string, AcmeAccountRecord>;
  readonly challenges: ReadonlyMap<string, Stored<'challenge'>>;
  budget(): CertificateBudgetRecord;
  /** By key: certificates whose private key the keyring cannot decrypt. */
  readonly unopened: ReadonlySet<string>;
  /** Everything has been read once. */
  isComplete(): boolean;
  /** Returns a function that stops following. */
  follow(changed: () => void): () => void;
  /** Until the signal aborts; never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Serves what the store has, in every replica, whichever replica writes. While the store is unavailable or suspect, what is
 * served does not change.
 */
export function createCertificateView({
  store,
  vault,
  sink,
  log,
  isStoreHealthy,
}: CertificateViewOptions): CertificateView {
  const certificates = new Map<string, Stored<'certificate'>>();
  const accounts = new Map<string, AcmeAccountRecord>();
  const challenges = new Map<string, Stored<'challenge'>>();
  const unopened = new Set<string>();
  const followers = new Set<() => void>();
  const validation = createValidationCertificates();
  let budget: CertificateBudgetRecord = { spent: [] };
  let isComplete = false;

  async function follow(signal: AbortSignal): Promise<void> {
    const { commits } = await store.identity();
    const [all, asked, known, spent] = await Promise.all([
      readAll(store, 'certificate'),
      readAll(store, 'challenge'),
      readAll(store, 'acme-account'),
      readAll(store, 'certificate-budget'),
    ]);
    // After the reading: the store may have been replaced while it was read.
    if (isComplete && !(await isStoreHealthy(signal))) return;
    refill(certificates, all);
    refill(challenges, asked);
    accounts.clear();
    for (const { key, value } of known) accounts.set(key, value);
    budget = spent[0]?.value ?? { spent: [] };
    serveAll();
    await serveChallenges();
    isComplete = true;
    tell();
    for await (const change of store.changes(commits, signal)) {
      if (change.kind === 'gap') return;
      if (change.kind === 'put') await put(change.record);
      else await remove(change.tombstone.kind, change.tombstone.key);
    }
  }

  async function put(record: Stored): Promise<void> {
    if (isKind(record, 'certificate')) {
      const before = certificates.get(record.key)?.value;
      certificates.set(record.key, record);
      if (!isSameHeld(before, record.value)) serve(record, before);
    } else if (isKind(record, 'challenge')) {
      challenges.set(record.key, record);
      await serveChallenges();
    } else if (isKind(record, 'acme-account')) accounts.set(record.key, record.value);
    else if (isKind(record, 'certificate-budget')) budget = record.value;
    else return;
    tell();
  }

  async function remove(kind: RecordKind, key: string): Promise<void> {
    if (kind === 'certificate') {
      const before = certificates.get(key)?.value;
      certificates.delete(key);
      unopened.delete(key);
      if (before !== undefined) sink.change(sourceOf(before), [], [key]);
    } else if (kind === 'challenge') {
      challenges.delete(key);
      await serveChallenges();
    } else if (kind === 'acme-account') accounts.delete(key);
    else return;
    tell();
  }

  function serveAll(): void {
    unopened.clear();
    for (const source of ['wildcard', 'per-host'] as const) {
      const ofSource = [...certificates.values()].filter(({ value }) => sourceOf(value) === source);
      sink.replace(
        source,
        ofSource.flatMap((stored) => open(stored) ?? []),
      );
    }
  }

  function serve(stored: Stored<'certificate'>, before: CertificateRecord | undefined): void {
    const source = sourceOf(stored.value);
    const opened = open(stored);
    if (before !== undefined && sourceOf(before) !== source) sink.change(sourceOf(before), [], [stored.key]);
    if (opened !== null) sink.change(source, [opened], []);
    else if (stored.value.held === null) sink.change(source, [], [stored.key]);
  }

  /** Null: there is none, or its key cannot be opened: then what is served under it stays. */
  function open({ key, value }: Stored<'certificate'>): CertificateToServe | null {
    const { held, uid, names } = value;
    if (held === null) return null;
    try {
      const privateKeyPem = vault.open(held.sealedKey, uid);
      unopened.delete(key);
      return { id: key, names, certificatePem: held.certificatePem, privateKeyPem, notAfterMs: held.notAfterMs };
    } catch (error) {
      unopened.add(key);
      log.error(
        { names, error: errorText(error) },
        'the private key of a certificate cannot be decrypted: restore the key that encrypted it to the keyring (PODGATE_SECRET_KEY_FILE)',
      );
      return null;
    }
  }

  async function serveChallenges(): Promise<void> {
    const all: readonly ChallengeRecord[] = [...challenges.values()].map(({ value }) => value);
    const http = all.flatMap((one) => (one.type === 'http-01' ? [[one.token, one.keyAuthorization] as const] : []));
    const tls = await validation.of(all.filter(({ type }) => type === 'tls-alpn-01'));
    sink.setChallenges(
      { http: Object.fromEntries(http), tls },
      all.map(({ uid }) => uid),
    );
  }

  function tell(): void {
    for (const changed of followers) changed();
  }

  return {
    certificates,
    accounts,
    challenges,
    unopened,
    budget: () => budget,
    isComplete: () => isComplete,
    follow(changed) {
      followers.add(changed);
      return () => void followers.delete(changed);
    },
    async run(signal) {
      while (!signal.aborted) {
        await follow(signal).catch((error: unknown) => {
          if (!isAborted(signal)) {
            log.warn({ error: errorText(error) }, 'the change feed broke; reloading the certificates');
          }
        });
        await pause(RETRY_MS, signal);
      }
    },
  };
}

export function sourceOf({ names }: Pick<CertificateRecord, 'names'>): 'wildcard' | 'per-host' {
  return names.some((name) => name.startsWith('*.')) ? 'wildcard' : 'per-host';
}

function isSameHeld(one: CertificateRecord | undefined, { held }: CertificateRecord): boolean {
  if (one === undefined) return false;
  return one.held?.certificatePem === held?.certificatePem && one.held?.sealedKey === held?.sealedKey;
}

function isKind<K extends RecordKind>(record: Stored, kind: K): record is Stored<K> {
  return record.kind === kind;
}

function refill<V extends { readonly key: string }>(map: Map<string, V>, values: readonly V[]): void {
  map.clear();
  for (const value of values) map.set(value.key, value);
}
