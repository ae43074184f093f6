import { addressKey } from '../../core/address-key.ts';
import type { RefusalCode } from '../../core/errors.ts';
import type { Route } from '../../core/route.ts';

/** Why a pod accepts no more connections: its own limit, or the quota of its owner or tenant. */
export type FullCode = Extract<RefusalCode, 'route.full' | 'route.owner-full' | 'route.tenant-full'>;

export type PodLimit = 'pod-address' | 'pod' | 'owner' | 'tenant';

export const FULL_CODE: Readonly<Record<PodLimit, FullCode>> = {
  'pod-address': 'route.full',
  pod: 'route.full',
  owner: 'route.owner-full',
  tenant: 'route.tenant-full',
};

/** What a connection to a pod is counted against, in the order in which places are taken. `key` is that of LeasedPlaces. */
export type PodPlaces = readonly { readonly limit: PodLimit; readonly key: string }[];

/** The last list of each route, so that repeated requests of a client do not build keys again. */
const placesOfRoutes = new WeakMap<Route, { readonly address: string; readonly places: PodPlaces }>();

/**
 * The places that a connection from `address` to this pod takes. Keep them with the connection, which must release the
 * same ones even if the route changes in between.
 */
export function podPlacesOf(route: Route, address: string): PodPlaces {
  const last = placesOfRoutes.get(route);
  if (last?.address === address) return last.places;
  const places = makePlaces(route, address);
  placesOfRoutes.set(route, { address, places });
  return places;
}

/**
 * The places taken by an outgoing connection of this pod. They are shared with connections to the pod, of which its own
 * may take no more than a single address may.
 */
export function egressPlacesOf(pod: PodOwner): PodPlaces {
  return makePlaces(pod, 'egress');
}

type PodOwner = Pick<Route, 'uid' | 'tenant' | 'createdBy'>;

/** Neither tenants nor users contain a slash; the first word keeps the kinds apart. */
function makePlaces({ uid, tenant, createdBy }: PodOwner, address: string): PodPlaces {
  return [
    { limit: 'pod-address', key: `pod ${uid} ${addressKey(address)}` },
    { limit: 'pod', key: `pod ${uid}` },
    // A control plane of an earlier release does not send the owner.
    ...(createdBy === undefined ? [] : [{ limit: 'owner' as const, key: `owner ${tenant}/${createdBy}` }]),
    { limit: 'tenant', key: `tenant ${tenant}` },
  ];
}
