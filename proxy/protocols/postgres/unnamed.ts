import type { Route } from '../../../core/route.ts';
import type { Refusal } from '../../connection/refusal.ts';
import type { Unnamed } from './named-startup.ts';

type Words = Pick<Refusal, 'message' | 'hint'>;

const HOW =
  "Connect by the host name of the pod, with a client that sends it (SNI): libpq 14 or newer does. One that cannot names it by options='-c endpoint=<host name>', or by the user '<host name>.<user>'.";

/** What a client reads that sent no server name and does not say which pod it means. */
export function describeUnnamed(reason: Exclude<Unnamed, 'malformed'>): Words {
  switch (reason) {
    case 'not-named':
      return { message: 'No server name was given.', hint: HOW };
    case 'unknown-in-user':
      return { message: 'No server name was given, and the user begins with the name of no Postgres.', hint: HOW };
    case 'named-twice':
      return { message: 'More than one endpoint was given.', hint: "Give one: options='-c endpoint=<host name>'." };
    case 'no-host-name':
      return { message: 'The endpoint is not a host name.', hint: "Write options='-c endpoint=<host name>'." };
  }
}

/**
 * Why a name in the StartupMessage is too late for this route, or null: by then the handshake is over, with the gateway,
 * and nobody was asked for a certificate.
 */
export function needsServerName(route: Route): Words | null {
  const hint = 'Connect by its host name, with a client that sends it (SNI): libpq 14 or newer does.';
  if (route.tls === 'passthrough') return { message: `${route.host} ends TLS itself: it is found by SNI alone.`, hint };
  if (route.clientCa !== undefined) {
    return { message: `${route.host} asks for client certificates: it is found by SNI alone.`, hint };
  }
  return null;
}
