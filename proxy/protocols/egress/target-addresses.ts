import { Resolver } from 'node:dns/promises';
import type { ConnectTarget } from './connect-target.ts';

/** Of one question to one name server; it is asked twice. */
const ANSWER_MS = 2_000;
const TRIES = 2;
/** Names that are being looked up at a time, for one pod and in all: slow name servers must not gather work here. */
const LOOKUPS_PER_POD = 32;
const LOOKUPS = 512;
/** More addresses are not tried anyway. */
const ADDRESSES_MAX = 16;
const LOCALHOST = /(?:^|\.)localhost$/;

export type TargetAddresses =
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'unresolved' }
  | { readonly kind: 'full' };

/** Looks up names for pods: through the DNS alone, since /etc/hosts and the like are this machine's own. */
export class AddressLookup {
  readonly #resolver = new Resolver({ timeout: ANSWER_MS, tries: TRIES });
  readonly #underWay = new Map<string, number>();
  #total = 0;

  /** `nameServers`: with ports; empty = those of the system. */
  constructor(nameServers: readonly string[]) {
    if (nameServers.length > 0) this.#resolver.setServers(nameServers);
  }

  /** All addresses of the target, IPv6 and IPv4 in turns (RFC 8305 4). Never throws. */
  async find(target: ConnectTarget, podUid: string): Promise<TargetAddresses> {
    if (target.kind === 'address') return { kind: 'addresses', addresses: [target.address] };
    // RFC 6761 6.3. The policy then says that it is the wrong way.
    if (LOCALHOST.test(target.name)) return { kind: 'addresses', addresses: ['127.0.0.1'] };
    const ofPod = this.#underWay.get(podUid) ?? 0;
    if (ofPod >= LOOKUPS_PER_POD || this.#total >= LOOKUPS) return { kind: 'full' };
    this.#underWay.set(podUid, ofPod + 1);
    this.#total++;
    try {
      const [six, four] = await Promise.all([
        this.#resolver.resolve6(target.name).catch(() => []),
        this.#resolver.resolve4(target.name).catch(() => []),
      ]);
      const addresses = inTurns(six, four).slice(0, ADDRESSES_MAX);
      return addresses.length === 0 ? { kind: 'unresolved' } : { kind: 'addresses', addresses };
    } finally {
      this.#total--;
      const left = (this.#underWay.get(podUid) ?? 1) - 1;
      if (left > 0) this.#underWay.set(podUid, left);
      else this.#underWay.delete(podUid);
    }
  }
}

function inTurns(first: readonly string[], second: readonly string[]): string[] {
  const longest = Math.max(first.length, second.length);
  return Array.from({ length: longest }, (_, index) => [first[index], second[index]])
    .flat()
    .filter((address) => address !== undefined);
}
