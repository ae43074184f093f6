import type { RefusalCode } from '../../core/errors.ts';
import { refusalOfStatus, type Backend, type Route } from '../../core/route.ts';
import { isAddressAllowed } from './ip-allow-list.ts';

/**
 * Where a new connection for this route goes, or why it is refused. Who may not connect learns nothing of the pod's
 * state; an address that nobody has confirmed for too long may be another pod's by now and is not dialled.
 */
export function locate(route: Route | undefined, remoteAddress: string, isStale: boolean): Backend | RefusalCode {
  if (route === undefined) return 'route.unknown';
  if (!isAddressAllowed(route, remoteAddress)) return 'route.forbidden';
  if (route.backend === null) return refusalOfStatus(route.status);
  return isStale ? 'route.unreachable' : route.backend;
}
