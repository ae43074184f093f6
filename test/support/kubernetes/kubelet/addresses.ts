/**
 * Addresses of pods. The lowest free one is given next, on purpose: in a test the address of a pod that has just ended
 * belongs to another pod at once, and whoever still dials it for the old pod is found out.
 */
export interface Addresses {
  take(): string;
  release(address: string): void;
}

/** 127.N.0.2 to 127.N.254.255; .0.1 is the node itself. */
export function createAddresses(network: number): Addresses {
  const taken = new Set<number>();
  let lowest = FIRST;
  return {
    take() {
      while (taken.has(lowest)) lowest += 1;
      if (lowest > LAST) throw new Error('the node has no free address for another pod');
      taken.add(lowest);
      return `127.${network}.${lowest >> 8}.${lowest & 0xff}`;
    },
    release(address) {
      const [, , high, low] = address.split('.').map(Number);
      const index = ((high ?? 0) << 8) | (low ?? 0);
      taken.delete(index);
      lowest = Math.min(lowest, index);
    },
  };
}

const FIRST = 2;
const LAST = (254 << 8) | 0xff;
