export const REDIS_URL_RULE =
  'must have the form redis://[user:password@]host[:port][/database], or rediss:// for TLS; user and password percent-encoded';

/** Is it a Redis URL as the IANA registered it, without options? */
export function isRedisUrl(text: string): boolean {
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
