import { z } from 'zod';
import { parseAddressRange } from '../core/address-range.ts';
import { ADDRESS_RANGE_RULE } from './names.ts';
import { SERVER_ADDRESS_RULE, withDnsPort } from './server-address.ts';

const MIB_MAX = 1_000_000_000;
export const MAVEN_REPOSITORY_RULE =
  'must be the http or https URL of a Maven repository, without user, password, query or fragment';

const ranges = z
  .array(z.string().refine((text) => parseAddressRange(text) !== null, { error: ADDRESS_RANGE_RULE }))
  .max(256)
  .default([]);

/** What pods with a network of their own may reach outside this machine (decision 0048). */
const egressSection = z.strictObject({
  allow: ranges,
  deny: ranges,
  ports: z.array(z.int().min(1).max(65_535)).min(1).max(64).default([80, 443]),
  nameServers: z
    .array(z.string().refine((text) => withDnsPort(text) !== null, { error: SERVER_ADDRESS_RULE }))
    .max(8)
    .default([]),
});

/** `process:` of the YAML file. */
export const processSection = z.strictObject({
  volumeSizeMiB: z.int().min(1).max(MIB_MAX).nullable().default(10_240),
  ephemeralStorage: z.strictObject({ limitMiB: z.int().min(1).max(MIB_MAX).nullable().default(2_048) }).prefault({}),
  files: z.int().min(1_000).nullable().default(1_000_000),
  install: z.literal(['auto', 'never'], { error: 'must be auto (the default) or never' }).default('auto'),
  egress: egressSection.nullable().default(null),
  mavenRepository: z.string().refine(isRepositoryUrl, { error: MAVEN_REPOSITORY_RULE }).nullable().default(null),
});

export function isRepositoryUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return false;
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '';
}
