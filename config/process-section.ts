import { z } from 'zod';

const MIB_MAX = 1_000_000_000;
export const MAVEN_REPOSITORY_RULE =
  'must be the http or https URL of a Maven repository, without user, password, query or fragment';

/** `process:` of the YAML file. */
export const processSection = z.strictObject({
  volumeSizeMiB: z.int().min(1).max(MIB_MAX).nullable().default(10_240),
  ephemeralStorage: z.strictObject({ limitMiB: z.int().min(1).max(MIB_MAX).nullable().default(2_048) }).prefault({}),
  files: z.int().min(1_000).nullable().default(1_000_000),
  install: z.literal(['auto', 'never'], { error: 'must be auto (the default) or never' }).default('auto'),
  mavenRepository: z.string().refine(isRepositoryUrl, { error: MAVEN_REPOSITORY_RULE }).nullable().default(null),
});

export function isRepositoryUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return false;
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '';
}
