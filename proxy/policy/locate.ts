import type { RefusalCode } from '../../core/errors.ts';
import { isWaking, refusalOfStatus, type Backend, type Route } from '../../core/route.ts';
import { type ClientIdentity, refusalByPolicy, type TlsEnd } from './policies.ts';

/** Why what does not wake a pod gets no further, where others wait. */
export function refusalOfSleeper({ status }: Route): Extract<RefusalCode, 'route.starting' | 'route.asleep'> {
  return refusalOfStatus(status) === 'route.starting' ? 'route.starting' : 'route.asleep';
}

/**
 * Where a new connection for this route goes, or why it is refused. A client that may not connect learns nothing of the
 * pod's state; an address that was not confirmed for too long may be another pod's by now and is not dialed. 'waking': the
 * pod sleeps or starts, and the client waits for it.
 */
export function locate(
  route: Route | undefined,
  identity: ClientIdentity,
  isStale: boolean,
  tlsEnd: TlsEnd = 'gateway',
): Backend | RefusalCode | 'waking' {
  if (route === undefined) return 'route.unknown';
  const refusal = refusalByPolicy(route, identity, tlsEnd);
  if (refusal !== null) return refusal;
  if (route.backend === null) return isWaking(route) ? 'waking' : refusalOfStatus(route.status);
  return isStale ? 'route.unreachable' : route.backend;
}
