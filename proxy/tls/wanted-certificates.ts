import { LRUCache } from 'lru-cache';

/** A name is asked for once in this time, however many clients come. */
const AGAIN_MS = 10 * 60_000;
const NAMES_MAX = 10_000;

/** Passes on which names clients have come for, each now and then. */
export function createWantedCertificates(tell: (host: string) => void): (host: string) => void {
  const told = new LRUCache<string, true>({ max: NAMES_MAX, ttl: AGAIN_MS });
  return (host) => {
    if (told.has(host)) return;
    told.set(host, true);
    tell(host);
  };
}
