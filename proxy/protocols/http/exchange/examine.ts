import { parseHost } from '../wire/host.ts';
import type { Framing } from '../wire/body-reader.ts';
import type { RequestHead } from '../wire/head.ts';
import { requestFraming } from '../wire/request-framing.ts';

export interface GoodRequest {
  readonly kind: 'good';
  /** Lower case, without port and trailing dot; equals the connection's server name. */
  readonly host: string;
  readonly hostHeader: string;
  readonly port: string | null;
  /** Origin-form: path and query; or `*`, of OPTIONS alone. */
  readonly target: string;
  /** Of its body. */
  readonly framing: Framing;
}

export type Examination =
  | GoodRequest
  | { readonly kind: 'malformed'; readonly reason: string }
  | { readonly kind: 'misdirected' }
  | { readonly kind: 'bad-method' };

/**
 * What a request asks for, or why it gets no further. Everything two readers could understand differently is refused:
 * several Host fields, an authority in the target that is not the Host's, a transfer coding besides chunked (RFC 9112
 * 3.2, 6.1). The Host must be the server name the TLS connection was opened for: a wildcard certificate must not let one
 * connection walk into another pod.
 */
export function examineRequest(
  head: RequestHead,
  serverName: string,
  framing: Framing | string = requestFraming(head),
): Examination {
  if (head.method === 'CONNECT' || head.method === 'TRACE') return { kind: 'bad-method' };
  if (typeof framing === 'string') return { kind: 'malformed', reason: framing };

  const hosts = hostsOf(head.rawHeaders);
  // HTTP/1.0 may do without Host: then it is the name the connection was opened for.
  const hostHeader = hosts[0] ?? (head.httpVersion === '1.0' ? serverName : undefined);
  if (hostHeader === undefined) return { kind: 'malformed', reason: 'The Host header is missing.' };
  if (hosts.length > 1) return { kind: 'malformed', reason: 'There is more than one Host header.' };
  const host = parseHost(hostHeader);
  if (host === null) return { kind: 'malformed', reason: 'The Host header is not a host name.' };

  const target = originForm(head);
  if (target === null) return { kind: 'malformed', reason: 'The request target is not a path.' };
  if (target.authority !== null) {
    const authority = parseHost(target.authority);
    if (authority?.host !== host.host || authority.port !== host.port) {
      return { kind: 'malformed', reason: 'The request target and the Host header name different hosts.' };
    }
  }
  if (host.host !== serverName) return { kind: 'misdirected' };
  return {
    kind: 'good',
    host: host.host,
    hostHeader: hostHeader.endsWith(':') ? hostHeader.slice(0, -1) : hostHeader,
    port: host.port,
    target: target.path,
    framing,
  };
}

function hostsOf(raw: readonly string[]): readonly string[] {
  const hosts: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    // By length first: most fields are something else.
    if (name.length === 4 && name.toLowerCase() === 'host') hosts.push(raw[index + 1] ?? '');
  }
  return hosts;
}

function originForm({ method, url }: RequestHead): { readonly path: string; readonly authority: string | null } | null {
  // About the server as a whole (RFC 9112 3.2.4).
  if (method === 'OPTIONS' && url === '*') return { path: '*', authority: null };
  // A fragment is never sent (RFC 9112 3.2).
  if (!/^[\u0021\u0022\u0024-\u00ff]+$/.test(url)) return null;
  if (url.startsWith('/')) return { path: url, authority: null };
  const absolute = /^https?:\/\/([^/?]+)(\/[^]*|\?[^]*)?$/i.exec(url);
  if (absolute?.[1] === undefined) return null;
  const rest = absolute[2] ?? (method === 'OPTIONS' ? '*' : '/');
  return { path: /^[/*]/.test(rest) ? rest : `/${rest}`, authority: absolute[1] };
}

/** Does this path name the metrics, in any of the spellings a lenient server may fold together? */
export function isMetricsPath(target: string): boolean {
  let path = target.split('?', 1)[0] ?? '';
  for (let round = 0; round < 3; round += 1) path = percentDecode(path);
  const segments: string[] = [];
  for (const segment of path.toLowerCase().split(/[/\\]+/)) {
    const name = segment.split(';', 1)[0] ?? '';
    if (name === '' || name === '.') continue;
    if (name === '..') segments.pop();
    else segments.push(name);
  }
  return segments[0] === 'metrics' || (segments[0] === 'v3' && segments[1] === 'metrics');
}

function percentDecode(text: string): string {
  return text.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
