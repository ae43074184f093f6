import { networkInterfaces } from 'node:os';

/** All addresses that this machine has at the moment. */
export function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((each) => each?.map(({ address }) => address) ?? []);
}

/** Those of them that other machines can dial. */
export function reachableAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, scopeid }) => !internal && (scopeid ?? 0) === 0)
    .map(({ address }) => address);
}

/** Asking the system takes some 30 ms on a machine with 400 interfaces; a pod must not make it happen at every tunnel. */
const FRESH_MS = 1_000;

/** All of them, as of the last second. `read`: asks the system. */
export function recentOwnAddresses(nowMs: () => number, read = ownAddresses): () => readonly string[] {
  let last: { readonly addresses: readonly string[]; readonly atMs: number } | null = null;
  return () => {
    if (last === null || nowMs() - last.atMs >= FRESH_MS) last = { addresses: read(), atMs: nowMs() };
    return last.addresses;
  };
}
