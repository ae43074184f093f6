import { isIP } from 'node:net';

export type ProbePath = '/healthz' | '/readyz';

/**
 * What the first bytes of a connection are. 'other': whatever it is, the control process answers it; so it does probes
 * that name a host, which browsers can be led to (DNS rebinding): which names are known is its business.
 */
export type FirstRequest =
  | { readonly kind: 'more' }
  | { readonly kind: 'other' }
  | { readonly kind: 'probe'; readonly path: ProbePath; readonly hasBody: boolean };

const HEAD_MAX_BYTES = 4_096;
const LONGEST_START = 'HEAD /v3/healthz?'.length;
const REQUEST_LINE = /^(GET|HEAD) (?:\/v3)?(\/healthz|\/readyz)(?:\?[^ ]*)? HTTP\/1\.[01]$/;
const START = /^(GET|HEAD) (?:\/v3)?(\/healthz|\/readyz)[ ?]/;

/** Pure. */
export function firstRequest(bytes: Buffer): FirstRequest {
  const text = bytes.toString('latin1');
  if (!START.test(text))
    return text.length < LONGEST_START && !text.includes('\n') ? { kind: 'more' } : { kind: 'other' };
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return text.length < HEAD_MAX_BYTES ? { kind: 'more' } : { kind: 'other' };
  const [requestLine = '', ...fields] = text.slice(0, end).split('\r\n');
  const [, method, path] = REQUEST_LINE.exec(requestLine) ?? [];
  const names = fields.filter((field) => /^host:/i.test(field)).map((field) => field.slice('host:'.length).trim());
  const isPlain = !fields.some((field) => /^(content-length|transfer-encoding|upgrade|expect):/i.test(field));
  if (path === undefined || !isPlain || names.length > 1 || !names.every(isAddressHere)) return { kind: 'other' };
  return { kind: 'probe', path: path as ProbePath, hasBody: method === 'GET' };
}

/** An address, or this machine by its own name, with or without a port. */
function isAddressHere(host: string): boolean {
  const name = /^\[(.+)\](?::\d+)?$/.exec(host)?.[1] ?? host.replace(/:\d+$/, '');
  return name === 'localhost' || isIP(name) !== 0;
}
