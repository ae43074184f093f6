/** Which header fields go on, and which are ours. Pure; works on flat name, value lists. */
import type { ClientCertificate } from '../../../tls/client-proof.ts';
import { parseHost } from '../wire/host.ts';
import { withVisitor } from './login-fields.ts';
import type { PassedOn } from './real-client.ts';
import type { Visitor } from './request-policy.ts';
import { namesDomain, withoutForeignDomain } from './set-cookie.ts';
import { mayHoldToken, withoutToken } from './visitor-token.ts';
import type { RequestHead } from '../wire/head.ts';

/** RFC 9110 7.6.1, with the older Keep-Alive and Proxy-Connection. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'proxy-authenticate',
  'proxy-authorization',
]);

/** Fields a client may not choose: they say who asked, or (httpoxy) become a CGI program's proxy setting. */
const OURS: ReadonlySet<string> = new Set([
  ...['forwarded', 'proxy', 'x-real-ip', 'x-request-id', 'expect'],
  ...['client-cert', 'client-cert-chain'],
]);

/** So begin the names under which gateways tell of certificates of clients; X-Forwarded-Client-Cert is one of ours. */
const OF_GATEWAYS = ['x-forwarded-', 'x-client-cert', 'x-ssl-', 'ssl-client-'] as const;

/** Connection may not name these: without them the message would mean something else (RFC 9110 7.6.1). */
const NEVER_NAMED: ReadonlySet<string> = new Set(['host', 'content-length', 'transfer-encoding']);

/** Written with `_`, what a lenient program could take for the field that says where the message ends or whose it is. */
const DISGUISED: ReadonlySet<string> = new Set([...NEVER_NAMED, 'connection', 'content-type']);

export interface ForwardedFor {
  /** The real client's. */
  readonly remoteAddress: string;
  /** Null = nobody who is trusted stands between. */
  readonly passedOn: PassedOn | null;
  /** The Host header as sent. */
  readonly hostHeader: string;
  /** From the Host header; null = the scheme's default. */
  readonly port: string | null;
  readonly requestId: string;
  /** Of the client, verified; null = it was not asked for one. */
  readonly certificate: ClientCertificate | null;
  /** Who has logged in; null = the pod has no login. */
  readonly visitor: Visitor | null;
}

/**
 * The fields sent to the backend. The client's X-Forwarded-*, Forwarded, X-Request-Id and Client-Cert never pass; of a
 * trusted proxy's what was understood does. The cookie with a visitor's Tapis token stays behind.
 */
export function requestHeaders(raw: readonly string[], client: ForwardedFor): string[] {
  const named = namedByConnection(raw);
  const headers = ['host', client.hostHeader];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const lower = name.toLowerCase();
    if (lower === 'host' || HOP_BY_HOP.has(lower) || named?.has(lower) === true || isOurs(lower)) continue;
    const sent = raw[index + 1] ?? '';
    const value = lower === 'cookie' && mayHoldToken(sent) ? withoutToken(sent) : sent;
    if (value !== '' || sent === '') headers.push(name, value);
  }
  const { passedOn, remoteAddress, hostHeader, port } = client;
  headers.push('x-forwarded-for', passedOn?.forwardedFor ?? remoteAddress);
  headers.push('x-forwarded-proto', passedOn?.proto ?? 'https', 'x-forwarded-host', passedOn?.host ?? hostHeader);
  headers.push('x-forwarded-port', passedOn?.port ?? port ?? '443');
  headers.push('x-request-id', client.requestId);
  if (client.certificate !== null) headers.push(...certificateHeaders(client.certificate));
  return client.visitor === null ? headers : withVisitor(headers, client.visitor);
}

/** RFC 9440, and as Envoy has it. Values are latin1 text that stands for bytes; a subject is UTF-8. */
function certificateHeaders({ der, fingerprint, subject }: ClientCertificate): readonly string[] {
  const quoted = Buffer.from(subject.replace(/["\\]/g, '\\$&'), 'utf8').toString('latin1');
  return [
    ...['client-cert', `:${der.toString('base64')}:`],
    ...['x-forwarded-client-cert', `Hash=${fingerprint};Subject="${quoted}"`],
  ];
}

/** The fields sent to the client who asked `request`. Framing is written anew; cookies stay on the host of the request. */
export function responseHeaders(raw: readonly string[], request: Pick<RequestHead, 'rawHeaders'>): string[] {
  const named = namedByConnection(raw);
  const headers: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || named?.has(lower) === true) continue;
    const value = raw[index + 1] ?? '';
    headers.push(name, lower === 'set-cookie' && namesDomain(value) ? ownCookie(value, request) : value);
  }
  return headers;
}

function ownCookie(value: string, { rawHeaders }: Pick<RequestHead, 'rawHeaders'>): string {
  return withoutForeignDomain(value, parseHost(fieldOf(rawHeaders, 'host') ?? '')?.host ?? null);
}

/** The fields of an interim response, which never has a length (RFC 9110 8.6). */
export function interimHeaders(raw: readonly string[], request: Pick<RequestHead, 'rawHeaders'>): readonly string[] {
  return without(responseHeaders(raw, request), 'content-length');
}

/** `name` in lower case. */
export function without(fields: readonly string[], name: string): readonly string[] {
  return fields.filter((_, index) => (fields[index - (index % 2)] ?? '').toLowerCase() !== name);
}

/** The first value of a field, `name` in lower case, or null. */
export function fieldOf(fields: readonly string[], name: string): string | null {
  for (let index = 0; index + 1 < fields.length; index += 2) {
    if ((fields[index] ?? '').toLowerCase() === name) return fields[index + 1] ?? '';
  }
  return null;
}

/** Trailers that would say something about the message itself (RFC 9110 6.5.1). */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  ...DISGUISED,
  'content-encoding',
  'content-range',
  'trailer',
  'set-cookie',
]);

/** The fields sent behind a chunked body, in either direction. */
export function trailerFields(raw: readonly string[]): readonly string[] {
  if (raw.length === 0) return raw;
  const trailers: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || NOT_IN_TRAILERS.has(lower) || isOurs(lower)) continue;
    trailers.push(name, raw[index + 1] ?? '');
  }
  return trailers;
}

/** WSGI and CGI turn `-` and `_` into the same variable: X_Forwarded_For would pass for ours. */
function isOurs(lower: string): boolean {
  const name = lower.includes('_') ? lower.replaceAll('_', '-') : lower;
  return (
    OURS.has(name) || OF_GATEWAYS.some((start) => name.startsWith(start)) || (name !== lower && DISGUISED.has(name))
  );
}

function namedByConnection(raw: readonly string[]): Set<string> | null {
  let named: Set<string> | null = null;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    if ((raw[index] ?? '').toLowerCase() !== 'connection') continue;
    for (const part of (raw[index + 1] ?? '').split(',')) {
      const name = part.trim().toLowerCase();
      if (name === '' || name === 'close' || name === 'keep-alive' || NEVER_NAMED.has(name)) continue;
      named ??= new Set();
      named.add(name);
    }
  }
  return named;
}
