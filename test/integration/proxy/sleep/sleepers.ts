import type { Route, RouteSleep } from '../../../../core/route.ts';
import { type GatewayFixture, route, runningRoute } from '../support/gateway-fixture.ts';

const SLEEP: RouteSleep = { holdMs: 20_000, probePaths: [] };

/** The route of a pod that sleeps. */
export function asleep(host: string, changes: Partial<Route> = {}): Route {
  return route(host, { status: 'ASLEEP', sleep: SLEEP, ...changes });
}

/** The route of the same pod, once it is there. */
export function awake(sleeping: Route, port: number): Route {
  return runningRoute(sleeping.host, port, { ...sleeping, status: 'RUNNING' });
}

/** Hosts of the wakes that were asked, in order. */
export function wakes({ feed }: GatewayFixture): readonly string[] {
  return feed.received.flatMap((message) => (message.kind === 'wake' ? [message.host] : []));
}
