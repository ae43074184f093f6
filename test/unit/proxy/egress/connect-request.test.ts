import { describe, expect, it } from 'vitest';
import { parseConnectRequest } from '../../../../proxy/protocols/egress/connect-request.ts';
import { parseConnectTarget } from '../../../../proxy/protocols/egress/connect-target.ts';

describe('the target of a CONNECT', () => {
  it.each([
    ['Example.org:443', { kind: 'name', name: 'example.org', port: 443 }],
    ['example.org.:443', { kind: 'name', name: 'example.org', port: 443 }],
    ['8.8.8.8:80', { kind: 'address', address: '8.8.8.8', port: 80 }],
    ['[2001:DB8:0::1]:443', { kind: 'address', address: '2001:db8::1', port: 443 }],
    ['[::ffff:127.0.0.1]:443', { kind: 'address', address: '127.0.0.1', port: 443 }],
    ['[0:0:0:0:0:ffff:7f00:1]:443', { kind: 'address', address: '127.0.0.1', port: 443 }],
  ])('%s', (text, target) => {
    expect(parseConnectTarget(text)).toEqual(target);
  });

  it.each([
    ...['2130706433:443', '0x7f000001:443', '0x7f.1:443', '127.1:443', '017700000001:443', '1.2.3.4.5:443', '0x:443'],
    ...['example.org', 'example.org:', 'example.org:0', 'example.org:65536', 'example.org:4430000', '::1:443'],
    ...['[::1]', '[fe80::1%25eth0]:443', '[127.0.0.1]:443', '[example.org]:443', '[v1.x]:443', '[::1:443', ':443', ''],
    ...['user@example.org:443', 'http://example.org:443', 'exa mple.org:443', 'example.org:443/', 'example..org:443'],
    ...['127.0.0.1%00.example.org:443', `${'a'.repeat(64)}.org:443`, `${'a.'.repeat(140)}org:443`, '-a.org:443'],
  ])('rejects what two programs could read differently: "%s"', (text) => {
    expect(parseConnectTarget(text)).toBeNull();
  });
});

describe('requests of a pod to the proxy', () => {
  const HEAD = 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nContent-Length: 0\r\n\r\n';

  it('accepts a CONNECT with any split, without the bytes after it', () => {
    const bytes = Buffer.from(`${HEAD}hello`);
    for (let length = 1; length < HEAD.length; length++) {
      expect(parseConnectRequest(bytes.subarray(0, length)).kind, String(length)).toBe('need-more');
    }
    const value = { method: 'CONNECT', target: 'example.org:443', headBytes: HEAD.length };
    expect(parseConnectRequest(bytes)).toEqual({ kind: 'match', value });
    expect(parseConnectRequest(bytes.subarray(0, HEAD.length))).toEqual({ kind: 'match', value });
  });

  it.each([
    'CONNECT example.org:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello',
    'CONNECT example.org:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'CONNECT example.org:443 HTTP/1.1\nHost: x\n\n',
    'CONNECT  example.org:443 HTTP/1.1\r\n\r\n',
    'CONNECT example.org:443 HTTP/2.0\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    `CONNECT example.org:443 HTTP/1.1\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`,
  ])('refuses %j', (text) => {
    expect(parseConnectRequest(Buffer.from(text, 'latin1')).kind).toBe('reject');
  });
});
