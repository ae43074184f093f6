import type { Certificate } from '../../core/certificates.ts';

/** Which certificate answers for which name: exact, then `*.` for one label, then the first of all. In memory only. */
export class CertificateBook {
  #exact = new Map<string, Certificate>();
  #default: Certificate | null = null;

  replace(certificates: readonly Certificate[]): void {
    const exact = new Map<string, Certificate>();
    for (const certificate of certificates) {
      for (const name of certificate.names) {
        const key = name.toLowerCase();
        // The first certificate for a name counts: the order is the sender's choice.
        if (!exact.has(key)) exact.set(key, certificate);
      }
    }
    this.#exact = exact;
    this.#default = certificates[0] ?? null;
  }

  find(serverName: string | null): Certificate | null {
    if (serverName === null) return this.#default;
    const exact = this.#exact.get(serverName);
    if (exact !== undefined) return exact;
    const dot = serverName.indexOf('.');
    return (dot > 0 ? this.#exact.get(`*${serverName.slice(dot)}`) : undefined) ?? this.#default;
  }
}
