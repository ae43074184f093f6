import type { BlockList } from 'node:net';
import { compileAddressList, isListed } from '../../core/address-range.ts';
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
