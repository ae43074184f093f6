import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorCode } from '../core/error-code.ts';
import { PodgateError } from '../core/errors.ts';
import { isRedisUrl, REDIS_URL_RULE } from './redis-url.ts';

/** Settings that may hold a secret: read by the process that needs them, and never handed around. */
export interface Secrets {
  readonly redisUrl: string | null;
  /** Authorities (PEM) that alone may sign the certificate of Redis; null = those that Node trusts. */
  readonly redisCa: string | null;
  /** How many replicas of Redis must have a commit before it is answered; null = the default of its kind. */
  readonly redisReplicas: number | null;
}

/** Throws PodgateError 'config.invalid', as loadConfig has done before in the supervisor. */
export function readSecrets(env: NodeJS.ProcessEnv, cwd: string = process.cwd()): Secrets {
  const redisUrl = env['PODGATE_REDIS_URL'] ?? '';
  const replicas = env['PODGATE_REDIS_REPLICAS'] ?? '';
  const redisReplicas = /^\d$/.test(replicas) ? Number(replicas) : null;
  if (redisUrl === '') return { redisUrl: null, redisCa: null, redisReplicas };
  if (isRedisUrl(redisUrl)) return { redisUrl, redisCa: readRedisCa(env, cwd), redisReplicas };
  throw new PodgateError('config.invalid', { publicMessages: [`PODGATE_REDIS_URL: ${REDIS_URL_RULE}.`] });
}

function readRedisCa(env: NodeJS.ProcessEnv, cwd: string): string | null {
  const name = env['PODGATE_REDIS_CA_FILE'] ?? '';
  if (name === '') return null;
  try {
    return readFileSync(resolve(cwd, name), 'utf8');
  } catch (error) {
    const code = errorCode(error) ?? 'unknown error';
    throw new PodgateError('config.invalid', {
      publicMessages: [`PODGATE_REDIS_CA_FILE: the file cannot be read (${code}).`],
    });
  }
}
