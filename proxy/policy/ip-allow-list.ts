import { BlockList, isIP } from 'node:net';
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

/** Addresses and CIDRs; an entry that cannot be read stands for nobody. */
export function compileAddressList(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', prefix, ...rest] = entry.trim().split('/');
    const family = isIP(address);
    if (family === 0 || rest.length > 0) continue;
    const bits = family === 6 ? 128 : 32;
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : NaN;
    if (!(length <= bits)) continue;
    list.addSubnet(address, length, family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}
