import type { PodLimits } from '../../../control/pods/pod-parts.ts';

export const LIMITS: PodLimits = {
  cpu: { minimum: 250, maximum: 6000 },
  memory: { minimum: 256, maximum: 12_288 },
  gpusMaximum: 1,
  defaultResources: { cpuRequest: 250, cpuLimit: 2000, memRequest: 256, memLimit: 3072, gpus: 0 },
  minTimeToStopSeconds: 300,
  podsPerUser: 20,
};
