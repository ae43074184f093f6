import { z } from 'zod';
import type { QuotasConfig } from './config.ts';

/** Null in the file = no such quota. */
const quota = (most: number) => z.int().min(1).nullable().default(most);

/** A hundred pods and volumes with the default resources and size; a tenant has room for fifty such users. */
export const quotasSection = z.strictObject({
  podsPerUser: quota(100),
  podsPerTenant: quota(5_000),
  cpuPerUser: quota(200_000),
  cpuPerTenant: quota(10_000_000),
  memoryPerUser: quota(307_200),
  memoryPerTenant: quota(15_360_000),
  volumesPerUser: quota(100),
  volumesPerTenant: quota(5_000),
  volumeMiBPerUser: quota(102_400),
  volumeMiBPerTenant: quota(5_120_000),
  recordKiBPerUser: quota(16_384),
  recordKiBPerTenant: quota(524_288),
  connectionsPerUser: quota(10_000),
  connectionsPerTenant: quota(20_000),
});

export function quotasConfigOf(section: z.infer<typeof quotasSection>): QuotasConfig {
  const bytesOf = (kiB: number | null): number | null => (kiB === null ? null : kiB * 1024);
  return {
    perUser: {
      pods: section.podsPerUser,
      cpu: section.cpuPerUser,
      memory: section.memoryPerUser,
      volumes: section.volumesPerUser,
      volumeMiB: section.volumeMiBPerUser,
      recordBytes: bytesOf(section.recordKiBPerUser),
      connections: section.connectionsPerUser,
    },
    perTenant: {
      pods: section.podsPerTenant,
      cpu: section.cpuPerTenant,
      memory: section.memoryPerTenant,
      volumes: section.volumesPerTenant,
      volumeMiB: section.volumeMiBPerTenant,
      recordBytes: bytesOf(section.recordKiBPerTenant),
      connections: section.connectionsPerTenant,
    },
  };
}
