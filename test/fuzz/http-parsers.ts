import { examineRequest, isMetricsPath } from '../../proxy/protocols/http/exchange/examine.ts';
import { parseHost } from '../../proxy/protocols/http/wire/host.ts';
import { DEFAULT_HTTP_LIMITS } from '../../proxy/protocols/http/exchange/limits.ts';
import { ChunkedReader } from '../../proxy/protocols/http/wire/chunked-reader.ts';
import { HeadReader } from '../../proxy/protocols/http/wire/head-reader.ts';
import { parseRequestHead, parseResponseHead } from '../../proxy/protocols/http/wire/head.ts';
import { responseFraming } from '../../proxy/protocols/http/wire/response-framing.ts';
import { withoutForeignDomain } from '../../proxy/protocols/http/exchange/set-cookie.ts';
import { normalizeServerName } from '../../proxy/sniff/client-hello.ts';
import type { FuzzedParser, Verdict } from './laws.ts';

export const SERVER_NAME = 'a.pods.localhost';
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const HOST = `Host: ${SERVER_NAME}\r\n`;

export const REQUESTS: readonly Buffer[] = [
  `GET /a?b=c HTTP/1.1\r\n${HOST}User-Agent: curl/8\r\nAccept: */*\r\n\r\n`,
  `POST /b HTTP/1.1\r\n${HOST}Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc`,
  `PUT /c HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nConnection: keep-alive, X-A\r\nX-A: b\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  `GET http://${SERVER_NAME}/d HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nCookie: a=b; c=d\r\n\r\n`,
  `HEAD / HTTP/1.0\r\n${HOST}\r\n`,
  `OPTIONS * HTTP/1.2\r\nHost: ${SERVER_NAME}:\r\n\r\n`,
].map(latin1);
const RESPONSES: readonly Buffer[] = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello',
  'HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\n\r\n',
  'HTTP/1.0 404 Not Found\r\nConnection: close\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  'HTTP/1.1 304 \r\nETag: "x"\r\nContent-Length: 9\r\n\r\n',
].map(latin1);
const CHUNKED_BODIES: readonly Buffer[] = [
  '5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n',
  'A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n',
  '0\r\n\r\n',
  '0000000000000005 ;a\r\nhello\r\n0002\t; b = "c"\r\nab\r\n0000 ; d\r\nX: y\r\n\r\n',
].map(latin1);
export const HTTP_TOKENS: readonly Buffer[] = [
  ...['\r\n', '\n', '\r', '\r\n\r\n', ' ', '\t', '\0', '\x0b', ':', ' :', ';', ',', '"', '\x7f', '\x80', '\xff', '#', '?', '%00'],
  ...['Content-Length: 3\r\n', 'Content-Length: +3\r\n', 'Content-Length: 3, 3\r\n', 'content-length:03\r\n', 'Content-Length: 0x3\r\n'],
  ...['Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: identity\r\n', 'transfer-encoding:\tCHUNKED\r\n', 'Transfer-Encoding: chunked,\r\n'],
  ...['Connection: close\r\n', 'Connection: content-length\r\n', 'Expect: x\r\n', 'Upgrade: h2c\r\n', ' folded\r\n', HOST, 'Host:\r\n'],
  ...['GET ', 'PRI * HTTP/2.0\r\n\r\n', 'HTTP/1.0', 'HTTP/0.9', 'HTTP/1.10', 'http://', 'https://x@y/', '//', '/../', '*', '0', 'ffffffff', '-1'],
].map(latin1); // prettier-ignore
const COOKIES: readonly Buffer[] = [
  `a=b; Domain=${SERVER_NAME}; Path=/`,
  'a="b;c"; DOMAIN = .pods.localhost ;Secure',
  'domain=x; domain; Domain=pods.localhost',
].map(latin1);
const COOKIE_TOKENS: readonly Buffer[] = [';', '=', ' ', '\t', 'Domain=', 'dOmAiN', '.localhost', '"', ',', '\xa0'].map(
  latin1,
);
const NAMES: readonly Buffer[] = ['A.Pods.Localhost.', 'x', 'a-b.example.org:8443', '[::1]:443', '127.0.0.1'].map(
  latin1,
);
const NAME_TOKENS: readonly Buffer[] = ['.', '..', '-', ':', '@', '[', ']', '%', '\0', '\xdf', '_', ' ', '443'].map(
  latin1,
);

/** The head that `parse` makes of the text; what follows it is left alone. */
function headParser(parse: (text: string) => Verdict): FuzzedParser['begin'] {
  return () => {
    const reader = new HeadReader(DEFAULT_HTTP_LIMITS.headerBytes);
    return {
      read: (bytes, before) => {
        const read = reader.read(bytes.subarray(before), 0);
        if (read.kind === 'need-more') return { kind: 'need-more', atLeast: bytes.length + 1 };
        if (read.kind === 'reject') return { kind: 'reject' };
        const verdict = parse(read.text);
        return verdict.kind === 'match' ? { kind: 'match', value: [before + read.rest, verdict.value] } : verdict;
      },
    };
  };
}

function requestVerdict(text: string): Verdict {
  const head = parseRequestHead(text);
  return head.kind === 'match'
    ? { kind: 'match', value: [head.value, examineRequest(head.value, SERVER_NAME)] }
    : { kind: 'reject' };
}

function responseVerdict(text: string): Verdict {
  const head = parseResponseHead(text);
  const framing = head.kind === 'match' ? responseFraming(head.value, 'GET') : null;
  return head.kind === 'match' && framing !== null
    ? { kind: 'match', value: [head.value, framing] }
    : { kind: 'reject' };
}

export function httpParsers(): readonly FuzzedParser[] {
  const head = { tokens: HTTP_TOKENS, waitsForMost: DEFAULT_HTTP_LIMITS.headerBytes + 5 };
  return [
    { ...head, name: 'HTTP request head', seeds: REQUESTS, begin: headParser(requestVerdict) },
    { ...head, name: 'HTTP response head', seeds: RESPONSES, begin: headParser(responseVerdict) },
    {
      name: 'HTTP chunked body',
      seeds: CHUNKED_BODIES,
      tokens: HTTP_TOKENS,
      waitsForMost: Infinity,
      begin: () => {
        const reader = new ChunkedReader();
        const body: Buffer[] = [];
        return {
          read: (bytes, before) => {
            const stopped = reader.read(bytes.subarray(before), 0, (piece) => body.push(piece));
            if (stopped < 0) return { kind: 'reject' };
            if (!reader.isDone) return { kind: 'need-more', atLeast: bytes.length + 1 };
            return { kind: 'match', value: [before + stopped, Buffer.concat(body), reader.trailers] };
          },
        };
      },
    },
  ];
}

/** Of names and paths: whole texts, which never need more. */
export function textParsers(): readonly FuzzedParser[] {
  const whole = (read: (text: string) => unknown): FuzzedParser['begin'] => {
    return () => ({
      read: (bytes) => {
        const value = read(bytes.toString('latin1'));
        return value === null ? { kind: 'reject' } : { kind: 'match', value };
      },
    });
  };
  const names = { seeds: NAMES, tokens: NAME_TOKENS, waitsForMost: 0, isWholeText: true };
  return [
    {
      ...names,
      name: 'server name',
      seeds: NAMES.slice(0, 2),
      begin: whole(normalizeServerName),
      ownLaw: (_bytes, verdict) => {
        if (verdict.kind !== 'match') return null;
        const name = String(verdict.value);
        if (!/^[a-z0-9_.-]{1,253}$/.test(name)) return `${JSON.stringify(name)} is no host name`;
        return normalizeServerName(name) === name ? null : `${name} is another the second time`;
      },
    },
    {
      ...names,
      name: 'Host header',
      begin: whole(parseHost),
      ownLaw: (_bytes, verdict) => {
        if (verdict.kind !== 'match') return null;
        const { host } = verdict.value as { readonly host: string };
        if (!/^(?:[a-z0-9.-]{1,300}|\[[0-9a-f:.]+\])$/.test(host)) return `${JSON.stringify(host)} is no host`;
        return parseHost(host)?.host === host ? null : `${host} is another the second time`;
      },
    },
    {
      name: 'Set-Cookie',
      seeds: COOKIES,
      tokens: COOKIE_TOKENS,
      waitsForMost: 0,
      isWholeText: true,
      begin: whole((text) => withoutForeignDomain(text, SERVER_NAME)),
      ownLaw: (bytes) => cookieProblem(bytes.toString('latin1')),
    },
    {
      ...names,
      name: 'path of the metrics',
      seeds: ['/metrics', '/v3/./x/..//%6detrics;a?b', '/v3/pods'].map(latin1),
      tokens: ['/', '\\', '..', '%2e', '%252f', ';', '?', 'metrics'].map(latin1),
      begin: whole(isMetricsPath),
    },
  ];
}

/** As browsers read what is passed on (RFC 6265 5.2): the last Domain counts, and it is the host's own or none. */
function cookieProblem(text: string): string | null {
  const kept = withoutForeignDomain(text, SERVER_NAME);
  if (kept.split(';')[0] !== text.split(';')[0]) return 'another name or value is passed on';
  for (const attribute of kept.split(';').slice(1)) {
    const domain = /^[\t ]*domain[\t ]*(?:=[\t ]*\.?(.*?)[\t ]*)?$/is.exec(attribute);
    if (domain !== null && domain[1]?.toLowerCase() !== SERVER_NAME)
      return `${JSON.stringify(kept)} has a foreign domain`;
  }
  return withoutForeignDomain(kept, SERVER_NAME) === kept ? null : 'it is another the second time';
}
