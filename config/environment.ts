import { isIP } from 'node:net';
import { z } from 'zod';
import { BASE_HOST_RULE, isBaseHost, isNamespace, isSiteName, NAMESPACE_RULE, SITE_RULE } from './names.ts';
import { parseRoles, ROLES_RULE } from './roles.ts';
import { isRedisUrl, REDIS_REPLICAS_RULE, REDIS_URL_RULE } from './redis-url.ts';

const PREFIX = 'PODGATE_';
const WORKERS_MAX = 256;

const port = (fallback: string) => {
  const rule = `must be a port number from 0 to 65535 (default: ${fallback})`;
  return z
    .string()
    .regex(/^\d{1,5}$/, { error: rule, abort: true })
    .transform(Number)
    .refine((value) => value <= 65_535, { error: rule })
    .optional();
};
const path = z.string().min(1, { error: 'must be a path; unset it for the default' }).optional();

/** Each variable with its rule, said as a sentence after its name. No rule repeats the value: it may be a secret. */
const VARIABLES = z.object({
  PODGATE_HOST: z
    .string()
    .transform((host) => (host === 'localhost' ? '127.0.0.1' : host))
    .refine((host) => isIP(host) !== 0, { error: 'must be an IP address to bind, such as 127.0.0.1 (the default)' })
    .default('127.0.0.1'),
  PODGATE_HTTPS_PORT: port('8443'),
  PODGATE_HTTP_PORT: port('8080'),
  PODGATE_PUBLIC_HTTPS_PORT: port('PODGATE_HTTPS_PORT'),
  PODGATE_PUBLIC_HTTP_PORT: port('PODGATE_HTTP_PORT'),
  PODGATE_CONTROL_PORT: port('8000'),
  PODGATE_DATA_DIR: path,
  PODGATE_SITE: z.string().refine(isSiteName, { error: SITE_RULE }).default('dev'),
  PODGATE_BASE_HOST: z.string().refine(isBaseHost, { error: BASE_HOST_RULE }).optional(),
  PODGATE_SECRET_KEY_FILE: path,
  PODGATE_REDIS_URL: z.string().refine(isRedisUrl, { error: REDIS_URL_RULE }).optional(),
  PODGATE_REDIS_CA_FILE: path,
  PODGATE_REDIS_REPLICAS: z
    .string()
    .regex(/^\d$/, { error: REDIS_REPLICAS_RULE, abort: true })
    .transform(Number)
    .optional(),
  PODGATE_ORCHESTRATOR: z
    .string()
    .pipe(z.literal(['process', 'kubernetes'], { error: 'must be process (the default) or kubernetes' }))
    .default('process'),
  PODGATE_NAMESPACE: z.string().refine(isNamespace, { error: NAMESPACE_RULE }).optional(),
  PODGATE_WORKERS: z
    .string()
    .regex(/^\d{1,3}$/, {
      error: `must be a number of processes from 0 to ${WORKERS_MAX} (default: one per core)`,
      abort: true,
    })
    .transform(Number)
    .refine((count) => count <= WORKERS_MAX, { error: `must be at most ${WORKERS_MAX}` })
    .optional(),
  PODGATE_ROLES: z
    .string()
    .transform(parseRoles)
    .refine((roles) => roles !== null, { error: ROLES_RULE })
    .optional(),
  PODGATE_CONFIG: path,
  PODGATE_ALLOW_REMOTE_PROCESS_PODS: z
    .literal(['yes', 'no'], { error: 'must be yes or no (the default)' })
    .default('no'),
  PODGATE_ALLOW_SHARED_UID: z.literal(['yes', 'no'], { error: 'must be yes or no (the default)' }).default('no'),
});

export type Environment = z.infer<typeof VARIABLES>;

/** Reads the PODGATE_ variables. What is wrong is added to `problems`; then the answer is null. */
export function readEnvironment(env: NodeJS.ProcessEnv, problems: string[]): Environment | null {
  const known = Object.keys(VARIABLES.shape);
  const given = Object.entries(env).filter(([name, value]) => name.startsWith(PREFIX) && value !== undefined);
  const unknown = given.map(([name]) => name).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    problems.push(`${unknown.join(', ')}: unknown setting; remove it. Known settings: ${known.join(', ')}.`);
  }
  // An empty variable is an unset one: that is how compose files and manifests leave settings open.
  const read = VARIABLES.safeParse(Object.fromEntries(given.filter(([, value]) => value !== '')));
  if (read.success) return read.data;
  for (const issue of read.error.issues) problems.push(`${issue.path.join('.')}: ${issue.message}.`);
  return null;
}
