import type { Route } from '../../../core/route.ts';
import type { Refusal } from '../../connection/refusal.ts';
import type { Unnamed } from './named-startup.ts';

type Words = Pick<Refusal, 'message' | 'hint'>;

const HOW =
  "Connect to the pod's host name with a client that sends it in TLS (SNI), such as libpq 14 or newer. With other clients, set options='-c endpoint=<host name>' or the user '<host name>.<user>'.";

/** What a client reads that sent no server name and does not say which pod it means. */
export function describeUnnamed(reason: Exclude<Unnamed, 'malformed'>): Words {
  switch (reason) {
    case 'not-named':
      return { message: 'No server name was given.', hint: HOW };
    case 'unknown-in-user':
      return {
        message: 'No server name was given, and the user does not begin with the host name of a Postgres pod.',
        hint: HOW,
      };
    case 'named-twice':
      return {
        message: 'More than one endpoint was given.',
        hint: "Give only one: options='-c endpoint=<host name>'.",
      };
    case 'no-host-name':
      return { message: 'The endpoint is not a host name.', hint: "Write options='-c endpoint=<host name>'." };
  }
}

/**
 * Why a name in the StartupMessage is too late for this route, or null: by then the handshake is over, with the gateway,
 * and nobody was asked for a certificate.
 */
export function needsServerName(route: Route): Words | null {
  const hint = 'Connect to its host name with a client that sends it in TLS (SNI), such as libpq 14 or newer.';
  if (route.tls === 'passthrough')
    return { message: `The pod at ${route.host} terminates TLS itself: the gateway can find it only by SNI.`, hint };
  if (route.clientCa !== undefined) {
    return {
      message: `The pod at ${route.host} requires client certificates: the gateway can find it only by SNI.`,
      hint,
    };
  }
  return null;
}
