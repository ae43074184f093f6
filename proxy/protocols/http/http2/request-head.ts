import { isFieldName, isFieldValue } from '../wire/fields.ts';
import { isMethod, isTarget, type RequestHead } from '../wire/head.ts';

export interface TranslatedRequest {
  readonly kind: 'request';
  /** As HTTP/1.1 would say it, framing included: judged, and forwarded, by the same code. */
  readonly head: RequestHead;
  /** What an extended CONNECT asks for (RFC 8441); `head` is then the GET that upgrades. */
  readonly isTunnel: boolean;
}

export type Translation = TranslatedRequest | { readonly kind: 'reject'; readonly reason: string };

/** They belong to a connection of HTTP/1.1: with them a request is malformed (RFC 9113 8.2.2). */
const OF_CONNECTIONS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);
const PSEUDO: ReadonlySet<string> = new Set([':method', ':scheme', ':authority', ':path', ':protocol']);
/** Servers expect such a request to say that it has no body. */
const MEANS_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/**
 * A request of HTTP/2 as one of HTTP/1.1, or why it is none (RFC 9113 8.2, 8.3). The allow-lists are those of the
 * HTTP/1.1 reader: nothing leaves here that it would not have let in, so that no name, value, method or path can become
 * a second request behind. The library has checked most of it before; a rule that matters is not left to one reader.
 * `fields` is a flat name, value list, pseudo-header fields included; `endsHere`: no body follows.
 */
export function translateRequest(fields: readonly string[], endsHere: boolean): Translation {
  const pseudo = new Map<string, string>();
  const regular: string[] = [];
  let host: string | null = null;
  let length: string | null = null;
  let cookieAt = -1;
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    if (name.startsWith(':')) {
      if (!PSEUDO.has(name) || pseudo.has(name) || regular.length > 0)
        return reject('A pseudo-header field is not valid.');
      pseudo.set(name, value);
      continue;
    }
    if (!isFieldName(name) || name !== name.toLowerCase() || !isFieldValue(value)) {
      return reject('A header field is not valid.');
    }
    if (OF_CONNECTIONS.has(name)) return reject(`HTTP/2 does not allow the header ${name}.`);
    if (name === 'te' && value.toLowerCase() !== 'trailers')
      return reject('The TE header may only contain "trailers".');
    if (name === 'host') {
      if (host !== null) return reject('There is more than one Host header.');
      host = value;
      continue;
    }
    if (name === 'content-length') {
      if (length !== null) return reject('There is more than one Content-Length header.');
      length = value;
    }
    // A cookie may come in crumbs, which are one field elsewhere (RFC 9113 8.2.3).
    if (name === 'cookie' && cookieAt >= 0) {
      regular[cookieAt] = `${regular[cookieAt] ?? ''}; ${value}`;
      continue;
    }
    if (name === 'cookie') cookieAt = regular.length + 1;
    regular.push(name, value);
  }

  const method = pseudo.get(':method') ?? '';
  if (!isMethod(method)) return reject('The method is not valid.');
  const authority = pseudo.get(':authority') ?? host;
  if (authority === null || authority === '' || !isFieldValue(authority)) return reject('The authority is missing.');
  if (host !== null && host.toLowerCase() !== authority.toLowerCase()) {
    return reject('The authority and the Host header name different hosts.');
  }
  const protocol = pseudo.get(':protocol') ?? null;
  // Judged, and refused, as the CONNECT it is.
  if (method === 'CONNECT' && protocol === null) return request('CONNECT', authority, ['host', authority, ...regular]);
  const path = pseudo.get(':path') ?? '';
  // OPTIONS about the server as a whole has `*` (RFC 9113 8.3.1).
  if (!(path.startsWith('/') || (path === '*' && method === 'OPTIONS')) || !isTarget(path))
    return reject('The path is not valid.');
  const scheme = pseudo.get(':scheme') ?? '';
  if (scheme !== 'https' && scheme !== 'http') return reject('The scheme is neither https nor http.');
  if (protocol !== null) return tunnel(method, path, protocol, ['host', authority, ...regular], length);

  if (endsHere && length !== null && length !== '0')
    return reject('The length of the body differs from Content-Length.');
  if (endsHere && length === null && MEANS_BODY.has(method)) regular.push('content-length', '0');
  if (!endsHere && length === null) regular.push('transfer-encoding', 'chunked');
  return request(method, path, ['host', authority, ...regular]);
}

function tunnel(
  method: string,
  path: string,
  protocol: string,
  fields: readonly string[],
  length: string | null,
): Translation {
  if (method !== 'CONNECT' || length !== null)
    return reject('Only a CONNECT request without Content-Length may have the field :protocol.');
  if (protocol !== 'websocket') return reject('The only supported :protocol is websocket.');
  const { head } = request('GET', path, [...fields, 'connection', 'upgrade', 'upgrade', protocol]);
  return { kind: 'request', head, isTunnel: true };
}

function request(method: string, url: string, rawHeaders: readonly string[]): TranslatedRequest {
  return { kind: 'request', head: { method, url, httpVersion: '1.1', rawHeaders }, isTunnel: false };
}

function reject(reason: string): Translation {
  return { kind: 'reject', reason };
}

/** The fields behind a body, or null when one of them is none. Which of them pass is decided elsewhere. */
export function translateTrailers(fields: readonly string[]): readonly string[] | null {
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    if (!isFieldName(name) || name !== name.toLowerCase() || !isFieldValue(fields[index + 1] ?? '')) return null;
  }
  return fields;
}
