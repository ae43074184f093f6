import { refused } from './redis-failure.ts';

/** Where a Redis is and as whom to speak to it. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly username: string | null;
  readonly password: string | null;
  readonly database: number;
  /** For messages: without the secret. */
  readonly shown: string;
}

/**
 * Reads `redis[s]://[[user]:password@]host[:port][/database]`, `rediss` being TLS. Throws PodgateError 'config.invalid',
 * which does not quote the URL: it may hold a password.
 */
export function parseRedisUrl(text: string): RedisAddress {
  const url = URL.parse(text);
  const database = /^\/?(\d{0,4})$/.exec(url?.pathname ?? '')?.[1];
  const isPlain = url?.search === '' && url.hash === '';
  if (
    !url ||
    !['redis:', 'rediss:'].includes(url.protocol) ||
    url.hostname === '' ||
    !isPlain ||
    database === undefined
  ) {
    throw refused(
      'PODGATE_REDIS_URL must have the form redis://[user:password@]host[:port][/database], or rediss:// for TLS.',
    );
  }
  const port = url.port === '' ? 6379 : Number(url.port);
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port,
    tls: url.protocol === 'rediss:',
    username: decoded(url.username),
    password: decoded(url.password),
    database: Number(database),
    shown: `${url.protocol}//${url.hostname}:${port}`,
  };
}

/** Which server to speak to: one, or whichever of a group the Sentinels call its master. */
export type RedisTarget =
  | { readonly kind: 'server'; readonly address: RedisAddress }
  | {
      readonly kind: 'sentinel';
      readonly sentinels: readonly RedisAddress[];
      readonly master: string;
      /** For messages: without the secret. */
      readonly shown: string;
    };

const SENTINEL_URL = /^(rediss?)\+sentinel:\/\/(?:([^@/]*)@)?([^@/?#]+)\/([\w.-]+)(?:\/(\d{1,4}))?$/;

/**
 * Also reads `redis[s]+sentinel://[[user]:password@]host[:26379],host ... /master name[/database]`; user, password and
 * database are those of the Redis itself.
 */
export function parseRedisTarget(text: string): RedisTarget {
  const match = SENTINEL_URL.exec(text);
  if (match === null) return { kind: 'server', address: parseRedisUrl(text) };
  const [, scheme = '', user = '', hosts = '', master = '', database = '0'] = match;
  const sentinels = hosts.split(',').map((host) => {
    const withPort = /:\d+$/.test(host) ? host : `${host}:26379`;
    return parseRedisUrl(`${scheme}://${user === '' ? '' : `${user}@`}${withPort}/${database}`);
  });
  const shown = `${scheme}+sentinel://${sentinels.map(({ host, port }) => `${host}:${port}`).join(',')}/${master}`;
  return { kind: 'sentinel', sentinels, master, shown };
}

function decoded(text: string): string | null {
  if (text === '') return null;
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused('PODGATE_REDIS_URL: user and password must be percent-encoded.');
  }
}
