import type { QuotaResource, QuotaStanding } from '../../../core/quota.ts';

const NAMES: Readonly<Record<QuotaResource, string>> = {
  pods: 'pods',
  cpu: 'cpu_millicores',
  memory: 'memory_mib',
  volumes: 'volumes',
  volumeMiB: 'volume_mib',
  recordBytes: 'record_bytes',
};

/** By resource what is used, and the limit (null: none). */
export function quotaAnswer({
  used,
  limits,
}: QuotaStanding): Readonly<Record<string, { readonly used: number; readonly limit: number | null }>> {
  return Object.fromEntries(
    Object.entries(NAMES).map(([resource, name]) => [
      name,
      { used: used[resource as QuotaResource], limit: limits[resource as QuotaResource] },
    ]),
  );
}
