import { mayLogIn, type RouteLogin } from '../../core/pod-login.ts';
import type { Route } from '../../core/route.ts';
import { isExcluded } from './excluded-paths.ts';
import { type ClientIdentity, refusalByPolicy, type TlsEnd } from './policies.ts';

/** Whether a session that runs may go on, as the route is now. */
export type Standing = 'stays' | 'route-gone' | 'client-refused';

/** Why a session is cut. */
export type CutReason = Exclude<Standing, 'stays'> | 'drained';

export interface Held {
  /** Of the pod it leads to. */
  readonly uid: string;
  readonly identity: ClientIdentity;
  readonly tlsEnd: TlsEnd;
}

/**
 * A route is gone when the name leads to no pod, or to another one, or its pod is told to stop. A pod that is not ready
 * for a moment, or in ERROR, may still serve those who are connected: its sessions are its own business.
 */
export function standingOf(route: Route | undefined, { uid, identity, tlsEnd }: Held): Standing {
  if (route === undefined || route.uid !== uid) return 'route-gone';
  // Where TLS ends is a matter of the next connection, and no reason against this client.
  const isSameTls = (route.tls === 'passthrough') === (tlsEnd === 'pod');
  if (isSameTls && refusalByPolicy(route, identity, tlsEnd) !== null) return 'client-refused';
  if (route.login !== undefined && !isStillUser(route.login, identity)) return 'client-refused';
  switch (route.status) {
    case 'SHUTTING_DOWN':
    case 'STOPPED':
    case 'ASLEEP':
    case 'COMPLETE':
      return 'route-gone';
    case 'REQUESTED':
    case 'SPAWNER_SETUP':
    case 'CREATING_CONTAINER':
    case 'RUNNING':
    case 'ERROR':
      return 'stays';
  }
}

/** One who came before there was a login has none. */
function isStillUser(login: RouteLogin, { user = null, target }: ClientIdentity): boolean {
  if (user !== null) return mayLogIn(login, user);
  return target !== undefined && isExcluded(login.excludedPaths ?? [], target);
}
