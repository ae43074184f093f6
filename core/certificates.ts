/** A certificate chain with its key, both PEM. `names` are host names, with `*.` for a wildcard label. */
export interface Certificate {
  readonly names: readonly string[];
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/**
 * Where certificates come from, best first: of those for a name the one of the better source is served, one that has
 * expired only when there is no other.
 */
export const CERTIFICATE_SOURCES = ['files', 'wildcard', 'per-host', 'development'] as const;
export type CertificateSource = (typeof CERTIFICATE_SOURCES)[number];

/** A certificate as the workers have it. Never changed: a new one under the same id takes its place. */
export interface ServedCertificate extends Certificate {
  /** Unique among all sources. */
  readonly id: string;
  readonly source: CertificateSource;
  /** Wall clock ms. */
  readonly notAfterMs: number;
}

/** What the workers answer ACME servers with: all that is asked for at present. */
export interface ServedChallenges {
  /** http-01: token -> key authorization. */
  readonly http: Readonly<Record<string, string>>;
  /** tls-alpn-01: the certificate that proves it (RFC 8737), by host. */
  readonly tls: readonly Certificate[];
}

/**
 * Makes or fetches certificates: slow, abortable, never called at a handshake. What it yields is sent to the workers,
 * which answer handshakes from memory alone.
 */
export interface Issuer {
  issue(names: readonly string[], signal: AbortSignal): Promise<Certificate>;
}

/** A host name that this installation answers for. */
export interface WantedName {
  readonly host: string;
  readonly tenant: string;
  /** Whose pod it is. */
  readonly user: string;
  /** TLS ends at the gateway; false = the pod has its own certificate, and its challenges go to the pod. */
  readonly isEndedHere: boolean;
}

/**
 * A certificate in the store, or a request for one. Only the holder of the lease 'certificates' changes it, with its fence.
 */
export interface CertificateRecord {
  readonly uid: string;
  readonly tenant: string;
  /** Whose pod asked for it; null = the installation itself needs it. */
  readonly user: string | null;
  readonly names: readonly string[];
  /** `imported` ones are never renewed. */
  readonly source: 'acme' | 'imported';
  readonly held: HeldCertificate | null;
  /** An order on its way, so that a successor goes on with it. */
  readonly order: PendingOrder | null;
  readonly advice: RenewalAdvice | null;
  /** In a row. */
  readonly failures: number;
  readonly lastError: { readonly atMs: number; readonly message: string } | null;
  /** Wall clock ms before which no order is tried; 0 = at once. */
  readonly notBeforeMs: number;
  /** An operator wants it now: nothing but the account's own pause is waited for. */
  readonly isRenewalAsked: boolean;
  readonly createdAtMs: number;
}

export interface HeldCertificate {
  readonly certificatePem: string;
  /** PKCS #8 in PEM, opened by the Vault with the record's uid as context. */
  readonly sealedKey: string;
  readonly issuer: string;
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly obtainedAtMs: number;
}

export interface PendingOrder {
  /** Null: it is about to be made, or was made and its answer was lost. */
  readonly url: string | null;
  /** The key it will be for, sealed as that of a held one. */
  readonly sealedKey: string;
  readonly startedAtMs: number;
}

/** What the issuer said about renewal (RFC 9773). */
export interface RenewalAdvice {
  readonly startMs: number;
  readonly endMs: number;
  readonly explanationUrl: string | null;
  /** When to ask again. */
  readonly askAgainMs: number;
}

/** An account at an ACME server. The key of its record is the URL of the server's directory. */
export interface AcmeAccountRecord {
  readonly uid: string;
  /** PKCS #8 in PEM, opened with the uid as context. */
  readonly sealedKey: string;
  /** A roll-over on its way: the server knows the one or the other. */
  readonly sealedNextKey: string | null;
  /** Null until the server has answered. */
  readonly url: string | null;
  readonly contact: readonly string[];
  readonly failures: number;
  readonly lastError: { readonly atMs: number; readonly message: string } | null;
  readonly notBeforeMs: number;
}

/** What was ordered in the last week, of all registered domains. There is one: its key is 'acme'. */
export interface CertificateBudgetRecord {
  readonly spent: readonly {
    readonly key: string;
    readonly domain: string;
    readonly tenant: string;
    readonly user: string | null;
    readonly atMs: number;
  }[];
}

/** What an ACME server will ask for, at whatever replica. Nothing of it is secret. */
export interface ChallengeRecord {
  readonly uid: string;
  readonly type: 'http-01' | 'tls-alpn-01';
  readonly host: string;
  readonly token: string;
  readonly keyAuthorization: string;
  readonly expiresAtMs: number;
}

/** A TXT record that was written for dns-01, to be removed even after a crash. The key of its record is its uid. */
export interface ChallengeTextRecord {
  readonly uid: string;
  /** The name that is proved, without `*.`. */
  readonly host: string;
  /** Where the text was written: CNAMEs are followed. */
  readonly name: string;
  readonly value: string;
  readonly createdAtMs: number;
}
