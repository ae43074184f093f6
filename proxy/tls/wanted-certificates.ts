import { LRUCache } from 'lru-cache';

/** Each name is reported at most once in this time, however many clients request it. */
const AGAIN_MS = 10 * 60_000;
const NAMES_MAX = 10_000;

/** Reports the names that clients request, each from time to time. */
export function createWantedCertificates(tell: (host: string) => void): (host: string) => void {
  const told = new LRUCache<string, true>({ max: NAMES_MAX, ttl: AGAIN_MS });
  return (host) => {
    if (told.has(host)) return;
    told.set(host, true);
    tell(host);
  };
}
