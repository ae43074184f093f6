import { describe, expect, it } from 'vitest';
import { responseFields, fieldsObject } from '../../../../proxy/protocols/http/http2/response-fields.ts';
import { grpcRefusal, isGrpc } from '../../../../proxy/protocols/http/http2/grpc-refusal.ts';
import { translateRequest, translateTrailers } from '../../../../proxy/protocols/http/http2/request-head.ts';
import { createWebSocketKey, isWebSocketAccept } from '../../../../proxy/protocols/http/http2/websocket-key.ts';
import { problemOfCode } from '../../../../proxy/protocols/http/responses/problem.ts';
import { Chance } from '../../../sim/scheduler.ts';
import { SEED } from '../fuzz.ts';

const PSEUDO = [':method', 'GET', ':scheme', 'https', ':path', '/a?b', ':authority', 'a.b'];

function withPseudo(change: Readonly<Record<string, string | null>>, ...more: readonly string[]): string[] {
  const fields: string[] = [];
  for (let index = 0; index < PSEUDO.length; index += 2) {
    const name = PSEUDO[index] ?? '';
    const value = name in change ? change[name] : PSEUDO[index + 1];
    if (value !== null && value !== undefined) fields.push(name, value);
  }
  return [...fields, ...more];
}

describe('a request over HTTP/2', () => {
  it('becomes one of HTTP/1.1: authority as Host, cookie crumbs joined, framing unchanged', () => {
    const fields = [...PSEUDO, 'x-a', '1', 'cookie', 'a=1', 'x-a', '2', 'cookie', 'b=2', 'te', 'trailers'];
    const rawHeaders = ['host', 'a.b', 'x-a', '1', 'cookie', 'a=1; b=2', 'x-a', '2', 'te', 'trailers'];
    const head = { method: 'GET', url: '/a?b', httpVersion: '1.1', rawHeaders };
    expect(translateRequest(fields, true)).toEqual({ kind: 'request', head, isTunnel: false });
  });

  it.each([
    ['ends here', true, [], []],
    ['has a body of unknown length', false, [], ['transfer-encoding', 'chunked']],
    ['has a body of known length', false, ['content-length', '5'], ['content-length', '5']],
    ['says that it has none', true, ['content-length', '0'], ['content-length', '0']],
  ])('that %s is framed accordingly', (_what, endsHere, sent, said) => {
    const translated = translateRequest([...PSEUDO, ...sent], endsHere);
    expect(translated.kind === 'request' && translated.head.rawHeaders).toEqual(['host', 'a.b', ...said]);
  });

  it('without a body where one is possible has Content-Length 0', () => {
    const translated = translateRequest(withPseudo({ ':method': 'POST' }), true);
    expect(translated.kind === 'request' && translated.head.rawHeaders).toEqual(['host', 'a.b', 'content-length', '0']);
  });

  it('may have its host only in Host, or equally in both', () => {
    expect(translateRequest(withPseudo({ ':authority': null }, 'host', 'a.b'), true).kind).toBe('request');
    expect(translateRequest([...PSEUDO, 'host', 'A.B'], true).kind).toBe('request');
  });

  it.each([
    ['no method', withPseudo({ ':method': null })],
    ['a method that is none', withPseudo({ ':method': 'get' })],
    ['a method with a space', withPseudo({ ':method': 'GET /x HTTP/1.1' })],
    ['no path', withPseudo({ ':path': null })],
    ['an empty path', withPseudo({ ':path': '' })],
    ['a path with a space', withPseudo({ ':path': '/a b' })],
    ['a path with a line end', withPseudo({ ':path': '/a\r\nx: y' })],
    ['an absolute path', withPseudo({ ':path': 'https://a.b/' })],
    ['an asterisk in a GET', withPseudo({ ':path': '*' })],
    ['no scheme', withPseudo({ ':scheme': null })],
    ['another scheme', withPseudo({ ':scheme': 'ftp' })],
    ['no authority', withPseudo({ ':authority': null })],
    ['an empty authority', withPseudo({ ':authority': '' })],
    ['a Host that differs', [...PSEUDO, 'host', 'c.d']],
    ['two Hosts', [...PSEUDO, 'host', 'a.b', 'host', 'a.b']],
    ['a pseudo-header field twice', [...PSEUDO, ':path', '/']],
    ['a pseudo-header field of answers', [...PSEUDO, ':status', '200']],
    ['a pseudo-header field that nobody knows', [':x', '1', ...PSEUDO]],
    ['a pseudo-header field behind a field', ['x-a', '1', ...PSEUDO]],
    ['a name in capitals', [...PSEUDO, 'X-A', '1']],
    ['an empty name', [...PSEUDO, '', '1']],
    ['a name with a colon', [...PSEUDO, 'x:', '1']],
    ['a name with a space', [...PSEUDO, 'x a', '1']],
    ['a value with a line end', [...PSEUDO, 'x-a', '1\r\nx-b: 2']],
    ['a value with a line feed', [...PSEUDO, 'x-a', '1\nx-b: 2']],
    ['a value with a NUL', [...PSEUDO, 'x-a', '\0']],
    ['a value with white space around it', [...PSEUDO, 'x-a', ' 1']],
    ['a transfer coding', [...PSEUDO, 'transfer-encoding', 'chunked']],
    ['Connection', [...PSEUDO, 'connection', 'close']],
    ['Upgrade', [...PSEUDO, 'upgrade', 'h2c']],
    ['a TE of more than trailers', [...PSEUDO, 'te', 'trailers, gzip']],
    ['two lengths', [...PSEUDO, 'content-length', '0', 'content-length', '0']],
    ['a length and no body', [...PSEUDO, 'content-length', '5']],
    ['a protocol with another method', [':protocol', 'websocket', ...PSEUDO]],
    ['a protocol that is not carried', [':protocol', 'connect-udp', ...withPseudo({ ':method': 'CONNECT' })]],
    [
      'a protocol and a length',
      [':protocol', 'websocket', ...withPseudo({ ':method': 'CONNECT' }), 'content-length', '0'],
    ],
  ])('with %s is rejected', (_what, fields) => {
    expect(translateRequest(fields, true).kind).toBe('reject');
  });

  it('for a WebSocket becomes a GET that upgrades', () => {
    const fields = [...withPseudo({ ':method': 'CONNECT' }), 'sec-websocket-version', '13'];
    const translated = translateRequest([':protocol', 'websocket', ...fields], false);
    const rawHeaders = ['host', 'a.b', 'sec-websocket-version', '13', 'connection', 'upgrade', 'upgrade', 'websocket'];
    const head = { method: 'GET', url: '/a?b', httpVersion: '1.1', rawHeaders };
    expect(translated).toEqual({ kind: 'request', head, isTunnel: true });
  });

  it(`with any fields is translated or rejected, and the result has no line ends (seed ${SEED})`, () => {
    const chance = new Chance(SEED);
    const parts = ['\r', '\n', '\0', ':', ' ', 'a', '/', 'X', 'host', ':path', ':method', 'GET', 'cookie', '\xff', '0'];
    let translated = 0;
    for (let round = 0; round < 20_000; round++) {
      const fields = chance.below(2) === 0 ? [...PSEUDO] : [];
      for (let more = chance.below(5); more > 0; more--) {
        fields.splice(chance.below(fields.length + 1), chance.below(2), chance.pick(parts) + chance.pick(parts));
      }
      const one = translateRequest(fields, chance.below(2) === 0);
      if (one.kind !== 'request') continue;
      translated++;
      expect([one.head.method, one.head.url, ...one.head.rawHeaders].join('')).not.toMatch(/[\r\n\0]/);
    }
    expect(translated).toBeGreaterThan(0);
  });

  it('accepts only valid fields as trailers', () => {
    expect(translateTrailers(['x-sum', '1'])).toEqual(['x-sum', '1']);
    for (const bad of [
      [':path', '/'],
      ['X', '1'],
      ['x', 'a\nb'],
      ['', ''],
    ])
      expect(translateTrailers(bad)).toBeNull();
  });
});

describe('a response over HTTP/2', () => {
  it('has names in lower case, and no connection fields', () => {
    const rawHeaders = [
      'X-A',
      '1',
      'Connection',
      'x-b',
      'X-B',
      '2',
      'Transfer-Encoding',
      'chunked',
      'HTTP2-Settings',
      'x',
    ];
    const head = { httpVersion: '1.1', status: 200, reason: 'OK', rawHeaders } as const;
    expect(responseFields(head, { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: [] })).toEqual([
      ':status',
      '200',
      'x-a',
      '1',
    ]);
  });

  it('without a body has no length', () => {
    const head = { httpVersion: '1.1', status: 204, reason: '', rawHeaders: ['Content-Length', '3'] } as const;
    expect(responseFields(head, { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: [] })).toEqual([
      ':status',
      '204',
    ]);
  });

  it('keeps every value of a field', () => {
    expect(fieldsObject(['A', '1', 'b', '2', 'a', '3', 'a', '4'])).toEqual({ a: ['1', '3', '4'], b: '2' });
  });
});

describe('an error for a gRPC client', () => {
  const grpc = (type: string): boolean =>
    isGrpc({ method: 'POST', url: '/', httpVersion: '1.1', rawHeaders: ['content-type', type] });

  it('is only for requests that declare gRPC', () => {
    expect(['application/grpc', 'application/grpc+proto', 'application/grpc;x=y'].map(grpc)).toEqual([
      true,
      true,
      true,
    ]);
    expect(['application/grpc-web', 'text/html', ''].map(grpc)).toEqual([false, false, false]);
  });

  it('has its own status, and a message in ASCII', () => {
    const fields = grpcRefusal({ ...problemOfCode('route.starting', 'id', 'é 100%.'), message: 'Müsli' });
    expect(fields.slice(0, 6)).toEqual([':status', '200', 'content-type', 'application/grpc', 'grpc-status', '14']);
    expect(fields[7]).toBe('M%C3%BCsli %C3%A9 100%25. (request id)');
  });
});

it('a WebSocket key is only confirmed by the response that RFC 6455 requires', () => {
  const fields = ['Sec-WebSocket-Accept', 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='];
  expect(isWebSocketAccept('dGhlIHNhbXBsZSBub25jZQ==', fields)).toBe(true);
  expect(isWebSocketAccept(createWebSocketKey(), fields)).toBe(false);
  expect(isWebSocketAccept(null, fields)).toBe(false);
  expect(isWebSocketAccept('dGhlIHNhbXBsZSBub25jZQ==', [])).toBe(false);
});
