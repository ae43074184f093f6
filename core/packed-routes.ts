import type { Route } from './route.ts';

/**
 * Routes of one message. A bundle of authorities has up to 16 kB and is often that of many pods: with `authorities`, each
 * is there once, and `clientCa` of a route is not the text but its place in that list, as a decimal number.
 */
export interface PackedRoutes {
  readonly routes: readonly Route[];
  /** PEM. Absent when no route has any. */
  readonly authorities?: readonly string[];
}

export function packRoutes(routes: readonly Route[]): PackedRoutes {
  if (routes.every(({ clientCa }) => clientCa === undefined)) return { routes };
  const places = new Map<string, string>();
  const packed = routes.map((route): Route => {
    if (route.clientCa === undefined) return route;
    const place = places.get(route.clientCa) ?? String(places.size);
    places.set(route.clientCa, place);
    return { ...route, clientCa: place };
  });
  return { routes: packed, authorities: [...places.keys()] };
}

/** Null when a route refers to a missing bundle: without the bundle, its clients must not be let in. */
export function unpackRoutes({ routes, authorities }: PackedRoutes): readonly Route[] | null {
  if (authorities === undefined) return routes;
  const unpacked: Route[] = [];
  for (const route of routes) {
    const clientCa = route.clientCa === undefined ? undefined : authorities[Number(route.clientCa)];
    if (route.clientCa !== undefined && clientCa === undefined) return null;
    unpacked.push(clientCa === undefined ? route : { ...route, clientCa });
  }
  return unpacked;
}
