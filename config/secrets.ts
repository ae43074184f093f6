import { PodgateError } from '../core/errors.ts';
import { isRedisUrl, REDIS_URL_RULE } from './redis-url.ts';

/** Settings that may hold a secret: read by the process that needs them, and never handed around. */
export interface Secrets {
  readonly redisUrl: string | null;
}

/** Throws PodgateError 'config.invalid', as loadConfig has done before in the supervisor. */
export function readSecrets(env: NodeJS.ProcessEnv): Secrets {
  const redisUrl = env['PODGATE_REDIS_URL'] ?? '';
  if (redisUrl === '') return { redisUrl: null };
  if (isRedisUrl(redisUrl)) return { redisUrl };
  throw new PodgateError('config.invalid', { publicMessages: [`PODGATE_REDIS_URL: ${REDIS_URL_RULE}.`] });
}
