import { createPublicKey } from 'node:crypto';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { parseAddressRange } from '../core/address-range.ts';
import { acmeSection } from './acme-section.ts';
import { corsSection } from './cors-section.ts';
import { apiSection } from './api-section.ts';
import { kubernetesSection } from './kubernetes-section.ts';
import { isLoopback } from './loopback.ts';
import { processSection } from './process-section.ts';
import { controlPlaneSection, gatewayListenerSection } from './roles.ts';
import { quotasSection } from './quotas-section.ts';
import { ADDRESS_RANGE_RULE, BASE_HOST_RULE, isBaseHost, isTenantId, TENANT_RULE } from './names.ts';

const count = z.int().min(0);
/** Signs of life come every second. */
const hungAfterMs = z
  .int()
  .max(3_600_000)
  .refine((ms) => ms === 0 || ms >= 3_000, { error: 'must be at least 3000, or 0 for never' });
const bounds = (unit: string) =>
  z
    .strictObject({ minimum: z.int().min(1), maximum: z.int().min(1) })
    .refine(({ minimum, maximum }) => minimum <= maximum, { error: `minimum must not exceed maximum (${unit})` });

const SERVICE_RULE = 'must be the name of a service, or name@tenant if another tenant signs its tokens';

const KEY_URL_RULE = 'must be an https URL (http only on a loopback address), without credentials';

const publicKey = z.string().superRefine((pem, context) => {
  const problem = publicKeyProblem(pem);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});

/** A public client (RFC 8252) has no secret, since its users would have it; that of a Tapis tenant is used by Podgate alone. */
const oauth = z
  .strictObject({
    clientId: z.string().min(1).max(200),
    tokenEndpoint: z.string().refine(isKeyUrl, { error: KEY_URL_RULE }),
    authorizationEndpoint: z.string().refine(isKeyUrl, { error: KEY_URL_RULE }).optional(),
    deviceAuthorizationEndpoint: z.string().refine(isKeyUrl, { error: KEY_URL_RULE }).optional(),
    scope: z.string().min(1).max(1_000).optional(),
    type: z.enum(['standard', 'tapis']).default('standard'),
    clientKeyFile: z.string().min(1).optional(),
  })
  .refine(({ type, clientKeyFile }) => (type === 'tapis') === (clientKeyFile !== undefined), {
    error: 'must have clientKeyFile with type: tapis, and only then: a public client has no key',
  })
  .refine(
    ({ type, authorizationEndpoint, deviceAuthorizationEndpoint: device, scope }) =>
      type === 'standard' || (authorizationEndpoint !== undefined && device === undefined && scope === undefined),
    { error: 'must have authorizationEndpoint with type: tapis, and neither deviceAuthorizationEndpoint nor scope' },
  )
  .refine(
    (section) => section.authorizationEndpoint !== undefined || section.deviceAuthorizationEndpoint !== undefined,
    {
      error: 'must have authorizationEndpoint or deviceAuthorizationEndpoint, or both',
    },
  );

const tenant = z
  .strictObject({
    id: z.string().refine(isTenantId, { error: TENANT_RULE }),
    baseHost: z.string().refine(isBaseHost, { error: BASE_HOST_RULE }),
    issuer: z.string().min(1).optional(),
    key: publicKey.optional(),
    jwks: z.strictObject({ keys: z.array(z.record(z.string(), z.unknown())).min(1) }).optional(),
    jwksFile: z.string().min(1).optional(),
    jwksUrl: z.string().refine(isKeyUrl, { error: KEY_URL_RULE }).optional(),
    administrators: z.array(z.string().min(1)).default([]),
    oauth: oauth.optional(),
    services: z.array(z.string().regex(/^[^\s@]+(@[^\s@]+)?$/, { error: SERVICE_RULE })).default([]),
  })
  .refine(
    ({ key, jwks, jwksFile, jwksUrl }) =>
      [key, jwks, jwksFile, jwksUrl].filter((given) => given !== undefined).length <= 1,
    { error: 'must have only one of key, jwks, jwksFile and jwksUrl' },
  );

const addressRange = z.string().refine((text) => parseAddressRange(text) !== null, { error: ADDRESS_RANGE_RULE });

/** Each is two sockets, or four with IPv6, in every worker. */
const LISTENERS_MAX = 8;

const CONFIG_FILE = z.strictObject({
  tenants: z.array(tenant).min(1).optional(),
  images: z.array(z.string().min(1)).default([]),
  siteAdminTenant: z.string().min(1).optional(),
  resources: z
    .strictObject({
      cpu: bounds('millicpu').default({ minimum: 250, maximum: 6000 }),
      memory: bounds('MiB').default({ minimum: 256, maximum: 12_288 }),
      gpusMaximum: count.default(1),
      default: z
        .strictObject({
          cpuRequest: z.int().min(1).default(250),
          cpuLimit: z.int().min(1).default(2000),
          memRequest: z.int().min(1).default(256),
          memLimit: z.int().min(1).default(3072),
          gpus: count.default(0),
        })
        .prefault({}),
    })
    .prefault({}),
  quotas: quotasSection.prefault({}),
  minTimeToStopSeconds: z.int().min(0).default(300),
  limits: z
    .strictObject({
      connections: z.int().min(1).optional(),
      connectionsPerAddress: z.int().min(1).optional(),
      connectionsPerPod: z.int().min(1).optional(),
      connectionsPerAddressAtPod: z.int().min(1).optional(),
      handshakeTimeoutMs: z.int().min(100).optional(),
      sessionIdleMs: z.int().min(1000).optional(),
      halfClosedMs: z.int().min(1000).optional(),
      stalledClientMs: z.int().min(1000).optional(),
      minClientBytesPerSecond: z.int().min(0).optional(),
      staleAfterMs: z.int().min(1000).optional(),
    })
    .prefault({}),
  listeners: z
    .array(z.strictObject({ port: z.int().min(1).max(65_535) }))
    .max(LISTENERS_MAX)
    .default([]),
  api: apiSection,
  console: z.enum(['auto', 'off']).default('auto'),
  cors: corsSection,
  status_names: z.enum(['seed', 'tapis']).default('seed'),
  kubernetes: kubernetesSection.optional(),
  volumes: z.strictObject({ maxSizeMiB: z.int().min(1).max(1_000_000).default(10_240) }).prefault({}),
  process: processSection.optional(),
  certificates: z.array(z.strictObject({ certificateFile: z.string().min(1), keyFile: z.string().min(1) })).default([]),
  acme: acmeSection.optional(),
  gatewayListener: gatewayListenerSection.optional(),
  controlPlane: controlPlaneSection.optional(),
  drain: z
    .strictObject({
      readinessDelayMs: z.int().min(0).max(600_000).default(0),
      sessionsMs: z.int().min(0).max(86_400_000).default(1_000),
      replacedMs: z.int().min(0).max(86_400_000).default(3_600_000),
    })
    .prefault({}),
  supervision: z
    .strictObject({ workerHungAfterMs: hungAfterMs.default(10_000), controlHungAfterMs: hungAfterMs.default(30_000) })
    .prefault({}),
  trustedProxies: z.array(addressRange).default([]),
  accessLog: z
    .strictObject({
      to: z.enum(['file', 'stdout', 'off']).optional(),
      file: z.string().min(1).optional(),
      maxFileMiB: z.int().min(1).max(1_048_576).default(64),
      keepFiles: z.int().min(1).max(100).default(3),
    })
    .prefault({}),
  sessions: z
    .strictObject({
      onRouteGone: z.enum(['drain', 'cut']).default('drain'),
      onClientRefused: z.enum(['drain', 'cut']).default('cut'),
      drainMs: z.int().min(0).max(86_400_000).default(30_000),
    })
    .prefault({}),
  proxyProtocol: z
    .strictObject({
      from: z.array(addressRange).default([]),
      policy: z.enum(['ignore', 'use', 'require']).default('require'),
    })
    .prefault({}),
});

export type ConfigFile = z.infer<typeof CONFIG_FILE>;

/** Reads the text of the YAML file. What is wrong is added to `problems`, by key; then the answer is null. */
export function readConfigFile(text: string, problems: string[]): ConfigFile | null {
  const lines = new LineCounter();
  // Without pretty errors, which quote the file: it may hold what a log must not.
  const document = parseDocument(text, { prettyErrors: false, lineCounter: lines });
  if (document.errors.length > 0) {
    for (const error of document.errors) {
      const { line, col } = lines.linePos(error.pos[0]);
      problems.push(`PODGATE_CONFIG line ${line} column ${col}: invalid YAML (${error.code}); correct the file.`);
    }
    return null;
  }
  const read = CONFIG_FILE.safeParse(document.toJS() ?? {});
  if (read.success) return read.data;
  for (const issue of read.error.issues) problems.push(sentenceOf(issue));
  return null;
}

function sentenceOf(issue: z.core.$ZodIssue): string {
  const path = issue.path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  const where = `PODGATE_CONFIG ${path.replace(/^\./, '')}`.trim();
  if (issue.code === 'unrecognized_keys') {
    return `${where}: unknown key: ${issue.keys.join(', ')}; remove it or correct its name.`;
  }
  return `${where}: ${issue.message.replace(/^Invalid input: /, '')}.`;
}

function isKeyUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  const isHere = hostname === 'localhost' || isLoopback(hostname.replace(/^\[|\]$/g, ''));
  return (protocol === 'https:' || (protocol === 'http:' && isHere)) && username === '' && password === '';
}

function publicKeyProblem(pem: string): string | null {
  if (pem.includes('PRIVATE KEY')) return 'is a private key; use the public one';
  try {
    return createPublicKey(pem).asymmetricKeyType === 'rsa' ? null : 'must be an RSA public key (RS256)';
  } catch {
    return 'must be an RSA public key or a certificate in PEM format';
  }
}
