import type { WantedName } from '../../core/certificates.ts';

/** What is configured for the names of one tenant. */
export interface TenantNames {
  readonly tenant: string;
  readonly baseHost: string;
  /** dns-01 is set up: one certificate for the base host and all its pods. */
  readonly hasWildcard: boolean;
  /** Names have certificates of their own, by http-01 or tls-alpn-01. */
  readonly hasPerHost: boolean;
}

/** A certificate there should be. */
export interface PlannedCertificate {
  /** Of its record: the first of its names. */
  readonly key: string;
  readonly names: readonly string[];
  readonly tenant: string;
  readonly user: string | null;
  readonly method: 'dns-01' | 'per-host';
}

/**
 * Which certificates there should be. `asked`: names for which a client has come. Names that the operator's own files
 * cover need none; names below a wildcard need none of their own; per host only what is in the route table, is ended
 * here and has been asked for gets one - never what a scanner asks.
 */
export function planCertificates(
  tenants: readonly TenantNames[],
  asked: readonly WantedName[],
  isCovered: (host: string) => boolean,
): readonly PlannedCertificate[] {
  const planned = new Map<string, PlannedCertificate>();
  const add = (certificate: PlannedCertificate): void => {
    if (!planned.has(certificate.key)) planned.set(certificate.key, certificate);
  };
  for (const { tenant, baseHost, hasWildcard, hasPerHost } of tenants) {
    const wildcard = `*.pods.${baseHost}`;
    const names = [wildcard, baseHost];
    if (hasWildcard && !names.every(isCovered)) {
      add({ key: wildcard, names, tenant, user: null, method: 'dns-01' });
    } else if (hasPerHost && !isCovered(baseHost)) {
      add({ key: baseHost, names: [baseHost], tenant, user: null, method: 'per-host' });
    }
  }
  for (const { host, tenant, user, isEndedHere } of asked) {
    const settings = tenants.find((one) => one.tenant === tenant);
    if (settings === undefined || settings.hasWildcard || !settings.hasPerHost) continue;
    if (!isEndedHere || isCovered(host)) continue;
    add({ key: host, names: [host], tenant, user, method: 'per-host' });
  }
  return [...planned.values()];
}
