import type { Connection } from '../connection/connection.ts';
import type { EgressTelemetry } from '../connection/egress-telemetry.ts';
import type { ConnectionInfo } from '../connection/connection-info.ts';
import type { Route } from '../../core/route.ts';
import { jsonText } from './json-text.ts';
import type { RequestTelemetry } from './request-telemetry.ts';

const PATH_MAX = 500;
const AGENT_MAX = 200;
const NAME_MAX = 255;

/** The part that all lines of a connection have in common is made once; so is that of a route. */
const common = new WeakMap<ConnectionInfo, string>();
const places = new WeakMap<Route, string>();
const NO_PLACE = '"host":null,"tenant":null,"pod":null,"stanza":null';

export interface LineOptions {
  readonly worker: number;
  /** ISO 8601. */
  readonly time: string;
  /** On the clock of the record's other times. */
  readonly endMs: number;
}

/** One line for a request that is over. By hand: it is written for every request. */
export function requestLine(telemetry: RequestTelemetry, { worker, time, endMs }: LineOptions): string {
  const { info, head, route, beganMs, connectedMs, firstByteMs } = telemetry;
  const address = telemetry.clientAddress === null ? '' : `,"client":${jsonText(telemetry.clientAddress, NAME_MAX)}`;
  const userAgent = head === null ? null : userAgentOf(head.rawHeaders);
  return (
    // Ids and codes are ours.
    `{"time":"${time}","kind":"request","id":"${telemetry.id}","worker":${worker},` +
    `${commonPart(info)}${address},"protocol":"${telemetry.protocol}",${placePart(route, telemetry.isForApi)},"method":${textOrNull(head?.method ?? null, NAME_MAX)},` +
    `"path":${pathOf(head?.url)},"status":${telemetry.status},"bytesIn":${telemetry.bytesIn},"bytesOut":${telemetry.bytesOut},` +
    `"connectMs":${since(beganMs, connectedMs)},"firstByteMs":${since(beganMs, firstByteMs)},` +
    `"totalMs":${since(beganMs, endMs)},"end":"${telemetry.end}","refused":${telemetry.code === null ? 'null' : `"${telemetry.code}"`},` +
    `"brokenRule":${textOrNull(telemetry.brokenRule, NAME_MAX)},"userAgent":${textOrNull(userAgent, AGENT_MAX)}${wokePart(telemetry.heldMs)}}\n`
  );
}

/** One line for a connection that was no HTTP's and is over: a session, or an attempt at one. */
export function sessionLine(connection: Connection, { worker, time, endMs }: LineOptions): string {
  const { info, session, acceptedMs, refusedFor } = connection;
  const route = session?.route ?? connection.refusedRoute;
  const beganMs = session?.beganMs ?? null;
  const [bytesIn, bytesOut] = [session?.backend?.bytesWritten ?? 0, session?.backend?.bytesRead ?? 0];
  return (
    `{"time":"${time}","kind":"session","id":${jsonText(info.id, NAME_MAX)},"worker":${worker},` +
    `${commonPart(info)},"protocol":${protocolOf(route)},` +
    `${placePart(route, false)},"bytesIn":${bytesIn},"bytesOut":${bytesOut},` +
    `"connectMs":${since(beganMs, session?.connectedMs ?? null)},` +
    `"firstByteMs":${since(beganMs, session?.firstByteMs ?? null)},"totalMs":${since(acceptedMs, endMs)},` +
    `"end":"${endOf(connection)}","refused":${textOrNull(refusedFor, NAME_MAX)}${wokePart(session?.heldMs ?? null)}}\n`
  );
}

/** One line for a pod's connection to the door out of its network. */
export function egressLine(
  connection: Connection,
  egress: EgressTelemetry,
  { worker, time, endMs }: LineOptions,
): string {
  const { info } = connection;
  const { pod, target, address, outcome, backend, beganMs, connectedMs } = egress;
  const isRefused = outcome !== null && outcome !== 'connected';
  const end = isRefused ? 'refused' : (connection.closedFor ?? egress.end ?? 'client');
  return (
    `{"time":"${time}","kind":"egress","id":${jsonText(info.id, NAME_MAX)},"worker":${worker},` +
    `"tenant":${jsonText(pod.tenant, NAME_MAX)},"pod":${jsonText(pod.podId, NAME_MAX)},` +
    `"target":${textOrNull(target, PATH_MAX)},"targetAddress":${textOrNull(address, NAME_MAX)},` +
    `"bytesIn":${backend?.bytesWritten ?? 0},"bytesOut":${backend?.bytesRead ?? 0},` +
    `"connectMs":${since(beganMs, connectedMs)},"totalMs":${since(beganMs, endMs)},` +
    `"end":"${end}","refused":${isRefused ? `"egress.${outcome}"` : 'null'}}\n`
  );
}

/** Only of clients that waited for a pod that slept. */
function wokePart(heldMs: number | null): string {
  return heldMs === null ? '' : `,"woke":true,"heldMs":${rounded(heldMs)}`;
}

function endOf({ session, closedFor, refusedFor, phase }: Connection): string {
  if (refusedFor !== null) return 'refused';
  if (closedFor !== null) return closedFor;
  if (session !== null) return session.end ?? 'client-failed';
  return phase === 'sniffing' ? 'ended-early' : phase === 'handshake' ? 'tls-failed' : 'client';
}

function commonPart(info: ConnectionInfo): string {
  let part = common.get(info);
  if (part !== undefined) return part;
  const { id, remoteAddress, remotePort, serverName, tls } = info;
  const secure =
    tls === null
      ? '"tls":null,"cipher":null,"alpn":null,"resumed":null,"handshakeMs":null'
      : `"tls":${jsonText(tls.version, NAME_MAX)},"cipher":${jsonText(tls.cipher, NAME_MAX)},` +
        `"alpn":${textOrNull(tls.alpn, NAME_MAX)},"resumed":${tls.isResumed},"handshakeMs":${rounded(tls.handshakeMs)}`;
  part =
    `"connection":${jsonText(id, NAME_MAX)},"address":${jsonText(remoteAddress, NAME_MAX)},"port":${remotePort},` +
    `"serverName":${textOrNull(serverName, NAME_MAX)},${secure}`;
  common.set(info, part);
  return part;
}

function placePart(route: Route | null, isForApi: boolean): string {
  if (route === null) return `"to":${isForApi ? '"api"' : 'null'},${NO_PLACE}`;
  let part = places.get(route);
  if (part !== undefined) return part;
  const [host, tenant] = [jsonText(route.host, NAME_MAX), jsonText(route.tenant, NAME_MAX)];
  const [pod, stanza] = [jsonText(route.podId, NAME_MAX), jsonText(route.stanza, NAME_MAX)];
  part = `"to":"pod","host":${host},"tenant":${tenant},"pod":${pod},"stanza":${stanza}`;
  places.set(route, part);
  return part;
}

/** A session whose TLS is the pod's own may be anything. */
function protocolOf(route: Route | null): string {
  if (route === null) return 'null';
  return route.tls === 'passthrough' ? '"tls"' : `"${route.protocol}"`;
}

/** Neither the query nor path parameters: tokens live there. In absolute form there may be a password. */
function pathOf(url: string | undefined): string {
  if (url?.startsWith('/') !== true) return 'null';
  const end = url.search(/[?;#]/);
  return jsonText(end < 0 ? url : url.slice(0, end), PATH_MAX);
}

function userAgentOf(rawHeaders: readonly string[]): string | null {
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    // By length first: most fields are something else.
    if (name.length === 10 && name.toLowerCase() === 'user-agent') return rawHeaders[index + 1] ?? null;
  }
  return null;
}

function textOrNull(text: string | null, most: number): string {
  return text === null ? 'null' : jsonText(text, most);
}

/** In ms, to the microsecond. */
function since(beganMs: number | null, atMs: number | null): string {
  return beganMs === null || atMs === null ? 'null' : rounded(atMs - beganMs);
}

function rounded(ms: number): string {
  // By parts: a whole number is written in a fifth of the time of one with a point.
  const us = Math.round(Math.max(0, ms) * 1_000);
  const rest = us % 1_000;
  return `${(us - rest) / 1_000}.${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}`;
}
