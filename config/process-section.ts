import { z } from 'zod';

const MIB_MAX = 1_000_000_000;

/** `process:` of the YAML file. */
export const processSection = z.strictObject({
  volumeSizeMiB: z.int().min(1).max(MIB_MAX).nullable().default(10_240),
  ephemeralStorage: z.strictObject({ limitMiB: z.int().min(1).max(MIB_MAX).nullable().default(2_048) }).prefault({}),
  files: z.int().min(1_000).nullable().default(1_000_000),
});
