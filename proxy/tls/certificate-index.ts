import { CERTIFICATE_SOURCES, type ServedCertificate } from '../../core/certificates.ts';

/** A stored certificate: what a TLS context is made from, and what certificates are compared by. */
export interface CertificateEntry {
  readonly id: string;
  readonly names: readonly string[];
  /** Rank of its source; higher is better. */
  readonly rank: number;
  readonly notAfterMs: number;
  readonly leafPem: string;
  /** The intermediate certificates; equal chains share one string. */
  readonly chainPem: string;
  readonly privateKeyPem: string;
}

const LEAF_END = '-----END CERTIFICATE-----\n';
const DEVELOPMENT = CERTIFICATE_SOURCES.indexOf('development');

/**
 * Finds the certificate for a server name, in memory. Considers those for the exact name and for its wildcard (`*.` in
 * place of the first label) and picks the one from the best source; an expired one only if there is no other. A name
 * without a certificate gets that of the first base host, or any.
 */
export class CertificateIndex {
  readonly #entries = new Map<string, CertificateEntry>();
  /** Best first. There is nearly always just one. */
  readonly #byName = new Map<string, readonly CertificateEntry[]>();
  /** Issuers sign with few keys, so ten thousand certificates share about three chains. */
  readonly #chains = new Map<string, { readonly text: string; users: number }>();
  #defaultNames: readonly string[] = [];

  get size(): number {
    return this.#entries.size;
  }

  setDefaultNames(names: readonly string[]): void {
    this.#defaultNames = names;
  }

  /** Returns the removed entries. */
  replace(certificates: readonly ServedCertificate[]): readonly CertificateEntry[] {
    const kept = new Set(certificates.map(({ id }) => id));
    return this.change(
      certificates,
      [...this.#entries.keys()].filter((id) => !kept.has(id)),
    );
  }

  /** Returns the removed entries. */
  change(set: readonly ServedCertificate[], removed: readonly string[]): readonly CertificateEntry[] {
    const gone = [...removed, ...set.map(({ id }) => id)].flatMap((id) => this.#remove(id) ?? []);
    for (const certificate of set) this.#add(certificate);
    return gone;
  }

  find(serverName: string | null, nowMs: number): CertificateEntry | null {
    const own = serverName === null ? null : this.#best(serverName, nowMs);
    if (own !== null) return own;
    for (const name of this.#defaultNames) {
      const found = this.#best(name, nowMs);
      if (found !== null) return found;
    }
    for (const entry of this.#entries.values()) return entry;
    return null;
  }

  /** Whether there is a publicly trusted certificate for this name; those of the development CA do not count. */
  hasTrusted(serverName: string, nowMs: number): boolean {
    const best = this.#best(serverName, nowMs);
    return best !== null && best.rank !== DEVELOPMENT && best.notAfterMs > nowMs;
  }

  #best(name: string, nowMs: number): CertificateEntry | null {
    const dot = name.indexOf('.');
    const exact = firstValid(this.#byName.get(name), nowMs);
    const wildcard = dot > 0 ? firstValid(this.#byName.get(`*${name.slice(dot)}`), nowMs) : null;
    if (exact === null || wildcard === null) return exact ?? wildcard;
    return isBetter(wildcard, exact, nowMs) ? wildcard : exact;
  }

  #add(certificate: ServedCertificate): void {
    const leafEnd = certificate.certificatePem.indexOf(LEAF_END);
    const split = leafEnd < 0 ? certificate.certificatePem.length : leafEnd + LEAF_END.length;
    const entry: CertificateEntry = {
      id: certificate.id,
      names: certificate.names.map((name) => name.toLowerCase()),
      rank: CERTIFICATE_SOURCES.indexOf(certificate.source),
      notAfterMs: certificate.notAfterMs,
      leafPem: ownText(certificate.certificatePem.slice(0, split)),
      chainPem: this.#useChain(certificate.certificatePem.slice(split)),
      privateKeyPem: certificate.privateKeyPem,
    };
    this.#entries.set(entry.id, entry);
    for (const name of entry.names) {
      const entries = [...(this.#byName.get(name) ?? []), entry];
      this.#byName.set(
        name,
        entries.sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1)),
      );
    }
  }

  #remove(id: string): CertificateEntry | null {
    const entry = this.#entries.get(id);
    if (entry === undefined) return null;
    this.#entries.delete(id);
    for (const name of entry.names) {
      const rest = (this.#byName.get(name) ?? []).filter((one) => one !== entry);
      if (rest.length === 0) this.#byName.delete(name);
      else this.#byName.set(name, rest);
    }
    const chain = this.#chains.get(entry.chainPem);
    if (chain !== undefined && --chain.users === 0) this.#chains.delete(entry.chainPem);
    return entry;
  }

  #useChain(text: string): string {
    const known = this.#chains.get(text);
    if (known !== undefined) {
      known.users += 1;
      return known.text;
    }
    const own = ownText(text);
    this.#chains.set(own, { text: own, users: 1 });
    return own;
  }
}

/** A substring keeps the whole string in memory; a copy does not. PEM is ASCII. */
function ownText(part: string): string {
  return Buffer.from(part, 'latin1').toString('latin1');
}

/** The best one that has not expired, otherwise the one that expired last. */
function firstValid(entries: readonly CertificateEntry[] | undefined, nowMs: number): CertificateEntry | null {
  let best: CertificateEntry | null = null;
  for (const entry of entries ?? []) if (best === null || isBetter(entry, best, nowMs)) best = entry;
  return best;
}

function isBetter(one: CertificateEntry, other: CertificateEntry, nowMs: number): boolean {
  const [isOneValid, isOtherValid] = [one.notAfterMs > nowMs, other.notAfterMs > nowMs];
  if (isOneValid !== isOtherValid) return isOneValid;
  return isOneValid ? one.rank < other.rank : one.notAfterMs > other.notAfterMs;
}
