import { PodgateError } from '../../../core/errors.ts';
import type { QuotaOwner, QuotaResource, QuotaScope, QuotaStanding, Usage } from '../../../core/quota.ts';

/** How each quota is called in sentences and in the configuration (`quotas.<setting>PerUser`), and what helps. */
const RESOURCES: Readonly<
  Record<QuotaResource, { readonly unit: string; readonly setting: string; readonly remedy: string }>
> = {
  pods: { unit: 'pods', setting: 'pods', remedy: 'delete a pod' },
  cpu: { unit: 'millicpu', setting: 'cpu', remedy: 'stop a pod, or lower its resources.cpu_limit' },
  memory: { unit: 'MiB of memory', setting: 'memory', remedy: 'stop a pod, or lower its resources.mem_limit' },
  volumes: {
    unit: 'volumes',
    setting: 'volumes',
    remedy:
      'delete a volume, a snapshot, or a pod together with its volume (without keep_volume), or have an operator remove a kept volume',
  },
  volumeMiB: {
    unit: 'MiB of volumes and snapshots',
    setting: 'volumeMiB',
    remedy: 'delete a volume or a snapshot, or ask for a smaller size_limit',
  },
  recordBytes: {
    unit: 'bytes of records',
    setting: 'recordKiB',
    remedy:
      'delete pods, secrets or templates, or shorten what their fields, environment variables and permissions hold',
  },
};

/** Names the quota, what is used of it, what was asked for, and what to do. */
export function quotaRefusal(refused: {
  readonly scope: QuotaScope;
  readonly resource: QuotaResource;
  readonly owner: QuotaOwner;
  readonly standing: QuotaStanding;
  readonly change: Usage;
}): PodgateError {
  const { scope, resource, owner, standing, change } = refused;
  const { unit, setting, remedy } = RESOURCES[resource];
  const who = scope === 'user' ? `User ${owner.createdBy}` : `Tenant ${owner.tenant} as a whole`;
  const name = `quotas.${setting}${scope === 'user' ? 'PerUser' : 'PerTenant'}`;
  const asked = change[resource] > 0 ? ` This needs ${change[resource]} more:` : ' To keep volumes,';
  return new PodgateError('api.forbidden', {
    publicMessages: [
      `Quota exceeded (${name}): ${who} uses ${standing.used[resource]} of ${standing.limits[resource] ?? 'unlimited'} ${unit}.${asked} ${remedy}, or ask the operator for a higher quota.`,
    ],
  });
}
