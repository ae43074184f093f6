import type { PodLimits } from '../../../control/resources/pods/pod-limits.ts';
import type { QuotaLimits, Quotas } from '../../../core/quota.ts';

export const LIMITS: PodLimits = {
  cpu: { minimum: 250, maximum: 6000 },
  memory: { minimum: 256, maximum: 12_288 },
  gpusMaximum: 1,
  defaultResources: { cpuRequest: 250, cpuLimit: 2000, memRequest: 256, memLimit: 3072, gpus: 0 },
  minTimeToStopSeconds: 300,
};

const UNLIMITED: QuotaLimits = {
  pods: null,
  cpu: null,
  memory: null,
  volumes: null,
  volumeMiB: null,
  recordBytes: null,
};

/** No quota but those given. */
export function quotasOf(perUser: Partial<QuotaLimits>, perTenant: Partial<QuotaLimits> = {}): Quotas {
  return { perUser: { ...UNLIMITED, ...perUser }, perTenant: { ...UNLIMITED, ...perTenant } };
}
