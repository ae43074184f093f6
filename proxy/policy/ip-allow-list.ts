import { BlockList, isIP } from 'node:net';
import { parseStoredAddressRange } from '../../core/address-range.ts';
import type { Route } from '../../core/route.ts';

/** Compiled once per route object: a changed route is a new object, a withdrawn one takes its list with it. */
const compiled = new WeakMap<Route, BlockList>();

/** May this address connect? An empty list lets everyone in; an entry that cannot be read lets nobody in. */
export function isAddressAllowed(route: Route, address: string): boolean {
  if (route.ipAllowList.length === 0) return true;
  let list = compiled.get(route);
  if (list === undefined) {
    list = compileAddressList(route.ipAllowList);
    compiled.set(route, list);
  }
  return isListed(list, address);
}

export function isListed(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** Addresses and CIDR blocks; an entry that cannot be parsed matches no address. */
export function compileAddressList(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const range = parseStoredAddressRange(entry);
    if (range !== null) list.addSubnet(range.address, range.prefixLength, range.family);
  }
  return list;
}
