import { describe, expect, it } from 'vitest';
import { createBodyReader } from '../../../../proxy/protocols/http/wire/body-reader.ts';
import { ChunkedReader } from '../../../../proxy/protocols/http/wire/chunked-reader.ts';
import { HeadReader, type ReadHead } from '../../../../proxy/protocols/http/wire/head-reader.ts';
import { parseRequestHead, parseResponseHead } from '../../../../proxy/protocols/http/wire/head.ts';
import { responseFraming } from '../../../../proxy/protocols/http/wire/response-framing.ts';
import { headText, lastChunk, statusLine } from '../../../../proxy/protocols/http/wire/write-head.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('the head of a request', () => {
  it('has its line and fields, without white space around the values', () => {
    expect(parseRequestHead('GET /a?b=%20 HTTP/1.1\r\nHost: a.b\r\nX-Empty:\r\nx-1:\t a b \t\r\nX-1: \xe4')).toEqual({
      kind: 'match',
      value: {
        method: 'GET',
        url: '/a?b=%20',
        httpVersion: '1.1',
        rawHeaders: ['Host', 'a.b', 'X-Empty', '', 'x-1', 'a b', 'X-1', '\xe4'],
      },
    });
    // RFC 9110 2.5: a minor version that is not known is read as the highest one that is.
    expect(parseRequestHead('GET / HTTP/1.2')).toMatchObject({ kind: 'match', value: { httpVersion: '1.1' } });
    expect(parseResponseHead('HTTP/1.9 200 OK')).toMatchObject({ kind: 'match', value: { httpVersion: '1.1' } });
    expect(parseRequestHead('VERSION-CONTROL / HTTP/1.0')).toMatchObject({
      kind: 'match',
      value: { method: 'VERSION-CONTROL', httpVersion: '1.0', rawHeaders: [] },
    });
  });

  it.each([
    '',
    'GET /',
    'GET  / HTTP/1.1',
    'GET / HTTP/1.1 ',
    ' GET / HTTP/1.1',
    'GET /\tHTTP/1.1',
    'get / HTTP/1.1',
    'GET / HTTP/1.12',
    'GET / HTTP/1.',
    'GET / HTTP/2.0',
    'GET / http/1.1',
    'GET / HTTP/1.1\nHost: a',
    'GET / HTTP/1.1\rHost: a',
    'GET /\0 HTTP/1.1',
    'G\x80T / HTTP/1.1',
    `${'A'.repeat(34)} / HTTP/1.1`,
    'GET / HTTP/1.1\r\nHost',
    'GET / HTTP/1.1\r\n: a',
    'GET / HTTP/1.1\r\nHost : a',
    'GET / HTTP/1.1\r\n Host: a',
    'GET / HTTP/1.1\r\nA: b\r\n c',
    'GET / HTTP/1.1\r\nA: b\r\n\tc: d',
    'GET / HTTP/1.1\r\nA: b\nC: d',
    'GET / HTTP/1.1\r\nA: b\rC: d',
    'GET / HTTP/1.1\r\nA: b\0c',
    'GET / HTTP/1.1\r\nA: b\x7f',
    'GET / HTTP/1.1\r\nA(b): c',
    'GET / HTTP/1.1\r\n\r\nA: b',
  ])('is rejected if it is %j', (text) => {
    expect(parseRequestHead(text).kind).toBe('reject');
  });
});

describe('the head of a response', () => {
  it('may have no reason phrase, and no space before it', () => {
    const of = (text: string) => parseResponseHead(text);
    expect(of('HTTP/1.1 200 OK\r\nA: b')).toEqual({
      kind: 'match',
      value: { httpVersion: '1.1', status: 200, reason: 'OK', rawHeaders: ['A', 'b'] },
    });
    expect(of('HTTP/1.0 404 ')).toMatchObject({
      kind: 'match',
      value: { httpVersion: '1.0', status: 404, reason: '' },
    });
    expect(of('HTTP/1.1 204')).toMatchObject({ kind: 'match', value: { status: 204, reason: '' } });
  });

  it.each(['HTTP/1.1 20 OK', 'HTTP/1.1 2000', 'HTTP/1.1  200 OK', 'HTTP/1.1 200 \x01', 'HTTP/2 200', 'ICY 200 OK'])(
    'is rejected if it is %j',
    (text) => {
      expect(parseResponseHead(text).kind).toBe('reject');
    },
  );

  it.each([
    ['GET', 200, ['Content-Length', '5'], { kind: 'length', bytes: 5 }],
    ['GET', 200, ['content-length', '0'], { kind: 'length', bytes: 0 }],
    ['GET', 200, ['Transfer-Encoding', 'Chunked'], { kind: 'chunked' }],
    ['GET', 200, [], { kind: 'until-close' }],
    ['HEAD', 200, ['Content-Length', '5'], { kind: 'none' }],
    ['HEAD', 200, ['Transfer-Encoding', 'chunked'], { kind: 'none' }],
    ['GET', 204, ['Content-Length', '5'], { kind: 'none' }],
    ['GET', 304, ['Content-Length', '5'], { kind: 'none' }],
    ['GET', 200, ['Content-Length', '5', 'Transfer-Encoding', 'chunked'], null],
    ['GET', 200, ['Content-Length', '5', 'Content-Length', '5'], null],
    ['HEAD', 200, ['Content-Length', '5', 'Content-Length', '6'], null],
    ['GET', 200, ['Content-Length', '5, 5'], null],
    ['GET', 200, ['Content-Length', '-1'], null],
    ['GET', 200, ['Content-Length', '1'.repeat(16)], null],
    ['GET', 200, ['Transfer-Encoding', 'gzip, chunked'], null],
    ['GET', 200, ['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked'], null],
  ])('to %s with status %i and the fields %j has this framing', (method, status, rawHeaders, framing) => {
    const read = responseFraming({ httpVersion: '1.1', status, reason: '', rawHeaders }, method);
    if (framing === null) expect(read).toEqual(expect.stringMatching(/[a-z]\.$/));
    else expect(read).toEqual(framing);
  });

  it('of HTTP/1.0 has no transfer coding', () => {
    const rawHeaders = ['Transfer-Encoding', 'chunked'];
    expect(responseFraming({ httpVersion: '1.0', status: 200, reason: '', rawHeaders }, 'GET')).toContain('HTTP/1.0');
  });
});

it.each([
  ['GET / HTTP/1.1\r\nHost : a', /whitespace before its colon/],
  ['GET / HTTP/1.1\r\nX A: b', /name of a header field contains a character/],
  ['GET / HTTP/1.1\r\nA: b\r\n c', /folded/],
  ['GET / HTTP/1.1\r\nA', /no colon/],
  ['GET / HTTP/1.1\r\nA: \x01', /control character/],
])('the reason why %j is rejected quotes nothing of it', (text, reason) => {
  const read = parseRequestHead(text);
  expect(read.kind === 'reject' ? read.reason : '').toMatch(reason);
});

describe('a head that comes in pieces', () => {
  const text = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
  const whole = bytes(`${text}rest`);

  it('gives the same result with any split', () => {
    for (let first = 1; first < whole.length; first++) {
      for (const second of [first + 1, Math.min(whole.length, first + 7), whole.length]) {
        const reader = new HeadReader(100);
        const pieces = [whole.subarray(0, first), whole.subarray(first, second), whole.subarray(second)];
        let read: ReadHead = { kind: 'need-more' };
        const left: Buffer[] = [];
        for (const piece of pieces) {
          if (read.kind === 'head') {
            left.push(piece);
            continue;
          }
          if (piece.length === 0) continue;
          read = reader.read(piece, 0);
          if (read.kind === 'head') left.push(piece.subarray(read.rest));
        }
        expect(read).toMatchObject({ kind: 'head', text: text.slice(0, -4) });
        expect(Buffer.concat(left).toString()).toBe('rest');
        expect(reader.hasBegun).toBe(false);
      }
    }
  });

  it('is rejected as soon as it cannot become valid: too long, a bare line feed, no method', () => {
    const readAll = (all: string, step: number): string => {
      const reader = new HeadReader(64);
      for (let at = 0; at < all.length; at += step) {
        const read = reader.read(bytes(all.slice(at, at + step)), 0);
        if (read.kind === 'reject') return `${read.reason} after ${at + step}`;
        if (read.kind === 'head') return 'head';
      }
      return 'need-more';
    };
    expect(readAll(`GET /${'a'.repeat(1_000)}`, 1)).toBe('too-large after 69');
    expect(readAll(`GET /${'a'.repeat(1_000)}\r\n\r\n`, 5_000)).toBe('too-large after 5000');
    expect(readAll('GET / HTTP/1.1\nHost: a\n\n', 1)).toBe('bare-line-feed after 15');
    expect(readAll('\x16\x03\x01', 1)).toBe('no-head after 1');
    expect(readAll(`GET /${'a'.repeat(54)}\r\nA: b`, 1)).toBe('need-more');
  });

  it('costs time in proportion to its length, even byte by byte', () => {
    const reader = new HeadReader(1_000_000);
    const started = performance.now();
    const one = bytes('a');
    reader.read(bytes('GET /'), 0);
    for (let count = 0; count < 300_000; count++) reader.read(one, 0);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});

describe('a chunked body', () => {
  const read = (text: string, step = text.length) => {
    const reader = new ChunkedReader();
    let body = '';
    const all = bytes(text);
    for (let at = 0; at < all.length; at += step) {
      const chunk = all.subarray(at, at + step);
      const end = reader.read(chunk, 0, (piece) => (body += piece.toString('latin1')));
      if (end < 0) return 'rejected';
      if (reader.isDone) return { body, trailers: reader.trailers, rest: text.slice(at + end) };
    }
    return 'unfinished';
  };

  it('yields its data and trailers, and leaves the bytes after it, with any split', () => {
    const text = '5\r\nhello\r\n00A;name="value"\r\n0123456789\r\n0\r\nX-A: b\r\nX-C:  d \r\n\r\nGET /';
    const expected = { body: 'hello0123456789', trailers: ['X-A', 'b', 'X-C', 'd'], rest: 'GET /' };
    for (const step of [1, 2, 3, 7, text.length]) expect(read(text, step)).toEqual(expected);
    const padded = '0000000000000005 \t; a = "b c"\r\nhello\r\n0000 ;x\r\n\r\n';
    for (const step of [1, 2, 5, padded.length]) expect(read(padded, step)).toMatchObject({ body: 'hello', rest: '' });
    expect(read('0\r\n\r\n')).toEqual({ body: '', trailers: [], rest: '' });
    expect(read('3\r\nab')).toBe('unfinished');
  });

  it.each([
    '\r\n0\r\n\r\n',
    ' 5\r\nhello\r\n0\r\n\r\n',
    '5 \r\nhello\r\n0\r\n\r\n',
    '0x5\r\nhello\r\n0\r\n\r\n',
    '+5\r\nhello\r\n0\r\n\r\n',
    '5\nhello\r\n0\r\n\r\n',
    '5\rhello\r\n0\r\n\r\n',
    '5\r\nhello0\r\n\r\n',
    '5\r\nhello\n0\r\n\r\n',
    '5;a\nb\r\nhello\r\n0\r\n\r\n',
    `5;${'a'.repeat(5_000)}\r\nhello\r\n0\r\n\r\n`,
    '1000000000000\r\n',
    '00000000000000005\r\nhello\r\n0\r\n\r\n',
    '5\t \r\nhello\r\n0\r\n\r\n',
    '5 x;a\r\nhello\r\n0\r\n\r\n',
    '5 5;a\r\nhello\r\n0\r\n\r\n',
    `5${' '.repeat(5_000)};a\r\nhello\r\n0\r\n\r\n`,
    '0\r\n X: y\r\n\r\n',
    '0\r\nX y\r\n\r\n',
    '0\r\nX: y\n\r\n',
    '0\r\nX: \0\r\n\r\n',
    `0\r\nX: ${'a'.repeat(9_000)}\r\n\r\n`,
    '0\r\n\rX',
  ])('is rejected if it is %j', (text) => {
    expect(read(text)).toBe('rejected');
    expect(read(text, 1)).toBe('rejected');
  });
});

it('a body of known length ends there, and one without a length never ends', () => {
  const taken: string[] = [];
  const take = (piece: Buffer): void => void taken.push(piece.toString());
  const five = createBodyReader({ kind: 'length', bytes: 5 });
  expect(five.read(bytes('xhel'), 1, take)).toBe(4);
  expect(five.isDone).toBe(false);
  expect(five.read(bytes('lomore'), 0, take)).toBe(2);
  expect([five.isDone, taken]).toEqual([true, ['hel', 'lo']]);
  expect(createBodyReader({ kind: 'none' }).isDone).toBe(true);
  const endless = createBodyReader({ kind: 'until-close' });
  expect(endless.read(bytes('abc'), 0, take)).toBe(3);
  expect(endless.isDone).toBe(false);
});

it('heads and last chunks are written exactly as they were read', () => {
  expect(headText(statusLine(404), ['A', 'b'])).toBe('HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n');
  expect(headText(statusLine(299, ''), [])).toBe('HTTP/1.1 299 \r\n\r\n');
  expect(lastChunk([])).toBe('0\r\n\r\n');
  expect(lastChunk(['A', 'b'])).toBe('0\r\nA: b\r\n\r\n');
});
