import { resolve } from 'node:path';
import { z } from 'zod';
import type { AcmeConfig } from './config.ts';
import { dnsConfigOf, dnsSection } from './dns-section.ts';
import { caProblem, checkFile } from './named-file.ts';

const CHALLENGES = ['tls-alpn-01', 'http-01'] as const;
const HMAC_KEY = /^[A-Za-z0-9_-]{16,1024}={0,2}\s*$/;
const limit = (fallback: number) => z.int().min(1).max(100_000).default(fallback);

/** The section `acme` of the YAML file. */
export const acmeSection = z.strictObject({
  directoryUrl: z
    .string({ error: 'must be the URL of an ACME directory, such as https://acme-v02.api.letsencrypt.org/directory' })
    .refine((url) => url.startsWith('https://') && URL.canParse(url), {
      error: 'must be a URL that starts with https://',
    }),
  termsOfServiceAgreed: z.literal(true, {
    error: 'must be true: read the terms of service of the ACME server, then set it to agree',
  }),
  contacts: z.array(z.email({ error: 'must be an e-mail address' })).default([]),
  tenants: z.array(z.string()).min(1).optional(),
  perHost: z.boolean().default(true),
  challenges: z
    .array(z.enum(CHALLENGES))
    .min(1)
    .refine((list) => new Set(list).size === list.length, { error: 'must not contain duplicates' })
    .default([...CHALLENGES]),
  dns: dnsSection.optional(),
  preferredChain: z.string().min(1).optional(),
  caFile: z.string().min(1).optional(),
  eab: z.strictObject({ keyId: z.string().min(1), hmacKeyFile: z.string().min(1) }).optional(),
  budgetPerWeek: z.strictObject({ perDomain: limit(50), perTenant: limit(25), perUser: limit(10) }).prefault({}),
});

/** The files that are named must be readable now; what is wrong is added to `problems`, by key. */
export function acmeConfigOf(
  given: {
    readonly section: z.infer<typeof acmeSection> | undefined;
    /** Ids of all tenants. */
    readonly tenants: readonly string[];
    readonly cwd: string;
  },
  problems: string[],
): AcmeConfig | null {
  const { section, cwd } = given;
  if (section === undefined) return null;
  const where = 'PODGATE_CONFIG acme';
  const { tenants = given.tenants, eab, caFile, preferredChain } = section;
  for (const [at, id] of tenants.entries()) {
    if (!given.tenants.includes(id)) problems.push(`${where}.tenants[${at}]: there is no such tenant; correct its id.`);
  }
  const config: AcmeConfig = {
    directoryUrl: section.directoryUrl,
    contacts: section.contacts,
    tenants,
    perHost: section.perHost,
    challenges: section.challenges,
    dns: section.dns === undefined ? null : dnsConfigOf(section.dns, cwd, `${where}.dns`, problems),
    preferredChain: preferredChain ?? null,
    caFile: caFile === undefined ? null : resolve(cwd, caFile),
    externalAccount: eab === undefined ? null : { keyId: eab.keyId, hmacKeyFile: resolve(cwd, eab.hmacKeyFile) },
    budgetPerWeek: section.budgetPerWeek,
  };
  if (config.caFile !== null) checkFile(config.caFile, `${where}.caFile`, caProblem, problems);
  if (config.externalAccount !== null) {
    checkFile(config.externalAccount.hmacKeyFile, `${where}.eab.hmacKeyFile`, hmacKeyProblem, problems);
  }
  return config;
}

/** The message does not quote the text: it is a secret. */
function hmacKeyProblem(text: string): string | null {
  return HMAC_KEY.test(text) ? null : 'must contain only the key, in base64url, as issued by the ACME server';
}
