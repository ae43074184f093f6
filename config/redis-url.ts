export const REDIS_URL_RULE =
  'must have the form redis://[user:password@]host[:port][/database], or rediss:// for TLS; with Sentinel, ' +
  'redis+sentinel://[user:password@]host[:port],host[:port]/master[/database], or rediss+sentinel://; user and password percent-encoded';
export const REDIS_REPLICAS_RULE = 'must be a number from 0 to 9 (default: 1 with Sentinel, else 0)';

const SENTINEL_URL = /^(rediss?)\+sentinel:\/\/([^@/]*@)?([^@/?#]+)\/[\w.-]+(\/\d{1,4})?$/;

/** Is it a Redis URL as the IANA registered it, without options? */
export function isRedisUrl(text: string): boolean {
  const sentinel = SENTINEL_URL.exec(text);
  if (sentinel !== null) {
    const [, scheme = '', user = '', hosts = ''] = sentinel;
    return hosts.split(',').every((host) => isRedisUrl(`${scheme}://${user}${host}`));
  }
  const url = URL.parse(text);
  return (
    url !== null &&
    ['redis:', 'rediss:'].includes(url.protocol) &&
    url.hostname !== '' &&
    /^\/?\d{0,4}$/.test(url.pathname) &&
    url.search === '' &&
    url.hash === '' &&
    [url.username, url.password].every(isPercentEncoded)
  );
}

function isPercentEncoded(text: string): boolean {
  return !/%(?![0-9a-f]{2})/i.test(text);
}
