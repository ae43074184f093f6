import {
  CERTIFICATE_SOURCES,
  type Certificate,
  type CertificateSource,
  type ServedCertificate,
  type ServedChallenges,
} from '../../core/certificates.ts';

/** What has changed, by id; `removed` first. */
export interface CertificateChange {
  readonly set: readonly ServedCertificate[];
  readonly removed: readonly string[];
}

/** A connection to a worker. */
export interface CertificateFollower {
  changed(change: CertificateChange): void;
  challengesChanged(): void;
  /** The number of the challenges that this one has last said to have; -1 before. */
  readonly appliedChallenges: number;
  /** Every source has told what it has for the first time. */
  becameReady(): void;
}

/** A certificate as its source gives it. */
export interface SourceCertificate extends Certificate {
  /** Unique within its source. */
  readonly id: string;
  readonly notAfterMs: number;
}

/**
 * The certificates this replica serves, from all sources, in the clear: in memory alone, and sent to the workers as they
 * change. It is ready when every source it waits for has told what it has: before, nothing leaves it.
 */
export class ServedCertificates {
  readonly #certificates = new Map<string, ServedCertificate>();
  readonly #followers = new Set<CertificateFollower>();
  readonly #waitingFor: Set<CertificateSource>;
  #challenges: ServedChallenges = { http: {}, tls: [] };
  #challengeUids: readonly string[] = [];
  #challengesNumber = 0;

  constructor(waitingFor: readonly CertificateSource[]) {
    this.#waitingFor = new Set(waitingFor);
  }

  get isReady(): boolean {
    return this.#waitingFor.size === 0;
  }
  get size(): number {
    return this.#certificates.size;
  }
  get challenges(): ServedChallenges {
    return this.#challenges;
  }
  get challengesNumber(): number {
    return this.#challengesNumber;
  }

  all(): IterableIterator<ServedCertificate> {
    return this.#certificates.values();
  }

  /** Returns a check whether these sources have an unexpired certificate for a name. */
  coverage(sources: readonly CertificateSource[], nowMs: number): (host: string) => boolean {
    const covered = new Set<string>();
    for (const { names, source, notAfterMs } of this.#certificates.values()) {
      if (notAfterMs > nowMs && sources.includes(source)) for (const name of names) covered.add(name);
    }
    return (host) => covered.has(host) || (!host.startsWith('*.') && covered.has(wildcardOf(host)));
  }

  /** All that a source has. */
  replace(source: CertificateSource, certificates: readonly SourceCertificate[]): void {
    const ids = new Set(certificates.map(({ id }) => idOf(source, id)));
    const gone = [...this.#certificates.values()].filter((one) => one.source === source && !ids.has(one.id));
    this.#apply(
      source,
      certificates,
      gone.map(({ id }) => id),
    );
    if (!this.#waitingFor.delete(source) || !this.isReady) return;
    for (const follower of this.#followers) follower.becameReady();
  }

  /** What has changed at a source. */
  change(source: CertificateSource, set: readonly SourceCertificate[], removed: readonly string[]): void {
    this.#apply(
      source,
      set,
      removed.map((id) => idOf(source, id)),
    );
  }

  /** `uids`: of the records they are from. */
  setChallenges(challenges: ServedChallenges, uids: readonly string[]): void {
    this.#challenges = challenges;
    this.#challengeUids = uids;
    this.#challengesNumber += 1;
    if (this.isReady) for (const follower of this.#followers) follower.challengesChanged();
  }

  /** Does every worker of this replica answer these? */
  answersChallenges(uids: readonly string[]): boolean {
    if (this.#followers.size === 0 || !uids.every((uid) => this.#challengeUids.includes(uid))) return false;
    return [...this.#followers].every(({ appliedChallenges }) => appliedChallenges === this.#challengesNumber);
  }

  follow(follower: CertificateFollower): () => void {
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  #apply(source: CertificateSource, given: readonly SourceCertificate[], gone: readonly string[]): void {
    const set = given
      .map((certificate): ServedCertificate => ({ ...certificate, id: idOf(source, certificate.id), source }))
      .filter((certificate) => !isSame(this.#certificates.get(certificate.id), certificate));
    const removed = gone.filter((id) => this.#certificates.delete(id));
    for (const certificate of set) this.#certificates.set(certificate.id, certificate);
    if (!this.isReady || (set.length === 0 && removed.length === 0)) return;
    for (const follower of this.#followers) follower.changed({ set, removed });
  }
}

function wildcardOf(host: string): string {
  return `*${host.slice(Math.max(0, host.indexOf('.')))}`;
}

function idOf(source: CertificateSource, id: string): string {
  return `${CERTIFICATE_SOURCES.indexOf(source)} ${id}`;
}

function isSame(one: ServedCertificate | undefined, other: ServedCertificate): boolean {
  return one?.certificatePem === other.certificatePem && one.privateKeyPem === other.privateKeyPem;
}
