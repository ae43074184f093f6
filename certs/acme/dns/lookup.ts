import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { errorCode, kindOfError } from '../../../core/error-code.ts';
import { AcmeError } from '../acme-error.ts';

const DNS_PORT = 53;
const TRY_MS = 3_000;
const TRIES = 2;
const CNAMES_MAX = 8;

/** The addresses of one name server: whatever it shows at one of them, it shows at all. */
export type NameServer = readonly string[];

/** What is asked of the DNS. Rejects with AcmeError 'refused' and a sentence, or with the signal's reason. */
export interface Lookup {
  /** Where the text for this name is to be written: CNAMEs are followed (RFC 8555 10.2 on delegation). */
  target(name: string, signal: AbortSignal): Promise<string>;
  /** The zone that this name is in. */
  zoneOf(name: string, signal: AbortSignal): Promise<string>;
  /** All servers of a zone, each as the `address:port` it has; those to which this machine has no route are left out. */
  serversOf(zone: string, signal: AbortSignal): Promise<readonly NameServer[]>;
  /** What one server shows at a name. */
  textsAt(server: string, name: string, signal: AbortSignal): Promise<readonly string[]>;
}

export function createLookup(resolvers: readonly string[]): Lookup {
  return {
    async target(name, signal) {
      const seen = new Set<string>();
      let at = name.toLowerCase();
      while (seen.size < CNAMES_MAX) {
        if (seen.has(at)) throw new AcmeError('refused', `the CNAMEs of ${name} form a loop: ${[...seen].join(', ')}`);
        seen.add(at);
        const [next] = await ask(resolvers, `the CNAME of ${at}`, (resolver) => resolver.resolveCname(at), signal);
        if (next === undefined) return at;
        at = plain(next);
      }
      throw new AcmeError('refused', `${name} has more than ${CNAMES_MAX} chained CNAMEs`);
    },

    async zoneOf(name, signal) {
      for (let at = name; at.includes('.'); at = at.slice(at.indexOf('.') + 1)) {
        const [found] = await ask(
          resolvers,
          `the zone of ${name}`,
          async (resolver) => [await resolver.resolveSoa(at)],
          signal,
        );
        if (found !== undefined) return at;
      }
      throw new AcmeError('refused', `found no zone that contains ${name}: does the domain exist?`);
    },

    async serversOf(zone, signal) {
      const names = await ask(resolvers, `the name servers of ${zone}`, (resolver) => resolver.resolveNs(zone), signal);
      const found = await Promise.all(
        names.map(async (name) => {
          const what = `the address of ${name}`;
          const families = await Promise.allSettled([
            ask(resolvers, what, (resolver) => resolver.resolve4(name), signal),
            ask(resolvers, what, (resolver) => resolver.resolve6(name), signal),
          ]);
          signal.throwIfAborted();
          return families.flatMap((family) => (family.status === 'fulfilled' ? family.value : []));
        }),
      );
      if (found.flat().length === 0)
        throw new AcmeError('refused', `no name server of the zone ${zone} has an address`);
      const reached = await Promise.all(found.map((addresses) => filterRoutable(addresses)));
      const servers = reached.filter((addresses) => addresses.length > 0);
      if (servers.length === 0)
        throw new AcmeError(
          'refused',
          `this machine has no route to any name server of ${zone}: ${found.flat().join(', ')}`,
        );
      return servers.map((addresses) =>
        addresses.map((address) => (address.includes(':') ? `[${address}]:53` : `${address}:53`)),
      );
    },

    async textsAt(server, name, signal) {
      const what = `${name} at the name server ${server}`;
      const found = await ask([server], what, (resolver) => resolver.resolveTxt(name), signal);
      return found.map((pieces) => pieces.join(''));
    },
  };
}

/** Nothing where there is no such record. */
async function ask<T>(
  servers: readonly string[],
  what: string,
  question: (resolver: Resolver) => Promise<readonly T[]>,
  signal: AbortSignal,
): Promise<readonly T[]> {
  signal.throwIfAborted();
  const resolver = new Resolver({ timeout: TRY_MS, tries: TRIES });
  if (servers.length > 0) resolver.setServers(servers);
  const onAbort = (): void => resolver.cancel();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await question(resolver);
  } catch (error) {
    signal.throwIfAborted();
    const code = errorCode(error) ?? 'unknown error';
    if (kindOfError(error) === 'no-such-name') return [];
    throw new AcmeError('refused', `the DNS lookup of ${what} failed (${code})`, { cause: error });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function filterRoutable(addresses: readonly string[]): Promise<readonly string[]> {
  const routable = await Promise.all(addresses.map((address) => isRoutable(address)));
  return addresses.filter((_, index) => routable[index] === true);
}

/** Is there a way to this address, such as any IPv6 at all? Sends nothing: a connected UDP socket only looks up its route. */
export function isRoutable(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const finish = (isThere: boolean): void => {
      socket.close();
      resolve(isThere);
    };
    socket.once('error', () => finish(false));
    // A callback here would be told of success and failure alike.
    socket.once('connect', () => finish(true));
    socket.connect(DNS_PORT, address);
  });
}

function plain(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}
