import type { CertificateSource } from './certificates.ts';

/** A certificate that is served, or that there should be. Times in wall clock ms. */
export interface CertificateStatus {
  /** Of its record: its first name. Of the operator's file, or of the development CA: what it is known by there. */
  readonly key: string;
  readonly names: readonly string[];
  readonly source: CertificateSource | 'imported';
  /** Null: of the installation itself. */
  readonly tenant: string | null;
  /** Whose pod it is for; null: the installation itself needs it. */
  readonly user: string | null;
  /** Null: not yet issued, what it will replace is served. */
  readonly held: {
    readonly issuer: string;
    readonly serial: string;
    readonly notBeforeMs: number;
    readonly notAfterMs: number;
  } | null;
  /** `soon`: renewal was due long ago, and has failed ever since. */
  readonly lapse: 'no' | 'soon' | 'expired';
  /** When it is due; null: never, or not yet known. */
  readonly nextRenewalMs: number | null;
  readonly isOrdering: boolean;
  /** In a row. */
  readonly failures: number;
  readonly lastError: { readonly atMs: number; readonly message: string } | null;
  /** After a failure: not before; null: whenever it is due. */
  readonly notBeforeMs: number | null;
  /** False: the keyring does not open its private key. */
  readonly isKeyOpen: boolean;
}

export interface CertificateReport {
  readonly certificates: readonly CertificateStatus[];
  /** New certificates of this week, by registered domain. */
  readonly budgets: readonly {
    readonly domain: string;
    readonly limit: number;
    readonly used: number;
    readonly left: number;
  }[];
  readonly accounts: readonly {
    readonly directoryUrl: string;
    /** Null until the server has answered. */
    readonly url: string | null;
    readonly contact: readonly string[];
    readonly failures: number;
    readonly lastError: { readonly atMs: number; readonly message: string } | null;
    readonly pausedUntilMs: number | null;
  }[];
  /** Of this replica, since its start. */
  readonly counts: { readonly issued: number; readonly failed: number };
}

export type ImportAnswer =
  | { readonly kind: 'imported'; readonly key: string }
  /** A sentence about what is wrong with it; it quotes no key. */
  | { readonly kind: 'refused'; readonly reason: string };

export interface CertificatePems {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/**
 * What operators see and do. Any replica answers, from memory; what is asked for is written to the store, and done by
 * whichever replica has the lease. The writing ones throw PodgateError 'store.unavailable'.
 */
export interface CertificateAdmin {
  report(): CertificateReport;
  /** Wanted now: nothing but a pause of the account is waited for. */
  renew(key: string): Promise<'asked' | 'unknown' | 'not-renewable'>;
  /** Takes the place of what is under the same first name; is served, and never renewed. */
  import(pems: CertificatePems): Promise<ImportAnswer>;
  /** Null: there is none under this key. Throws PodgateError 'vault.cannot-open'. */
  export(key: string): Promise<CertificatePems | null>;
  rollOverAccountKey(): Promise<'asked' | 'no-account'>;
}
