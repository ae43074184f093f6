import { PodgateError } from '../core/errors.ts';
import { isRedisUrl, REDIS_URL_RULE } from './redis-url.ts';

/** Settings that may hold a secret: read by the process that needs them, and never handed around. */
export interface Secrets {
  readonly redisUrl: string | null;
  /** How many replicas of Redis must have a commit before it is answered; null = the default of its kind. */
  readonly redisReplicas: number | null;
}

/** Throws PodgateError 'config.invalid', as loadConfig has done before in the supervisor. */
export function readSecrets(env: NodeJS.ProcessEnv): Secrets {
  const redisUrl = env['PODGATE_REDIS_URL'] ?? '';
  const replicas = env['PODGATE_REDIS_REPLICAS'] ?? '';
  const redisReplicas = /^\d$/.test(replicas) ? Number(replicas) : null;
  if (redisUrl === '') return { redisUrl: null, redisReplicas };
  if (isRedisUrl(redisUrl)) return { redisUrl, redisReplicas };
  throw new PodgateError('config.invalid', { publicMessages: [`PODGATE_REDIS_URL: ${REDIS_URL_RULE}.`] });
}
