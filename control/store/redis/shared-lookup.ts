import type { LookupAddress } from 'node:dns';
import { lookup as resolveName } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';

type Resolve = (host: string, options: Parameters<LookupFunction>[1] & { all: true }) => Promise<LookupAddress[]>;

/**
 * One question per name at a time, for all connections that want it: while name servers are away, getaddrinfo occupies a
 * thread for up to a minute and cannot be cancelled, and the questions of all attempts would pile up.
 */
export function createSharedLookup(resolve: Resolve = resolveName): LookupFunction {
  const asked = new Map<string, Promise<LookupAddress[]>>();
  return (host, options, done) => {
    const key = JSON.stringify([host, options.family, options.hints]);
    let answer = asked.get(key);
    if (answer === undefined) {
      answer = resolve(host, { ...options, all: true }).finally(() => asked.delete(key));
      asked.set(key, answer);
    }
    answer.then(
      (addresses) => {
        const [first] = addresses;
        if (options.all === true) done(null, addresses);
        else if (first !== undefined) done(null, first.address, first.family);
      },
      (error: unknown) => done(error as NodeJS.ErrnoException, ''),
    );
  };
}
