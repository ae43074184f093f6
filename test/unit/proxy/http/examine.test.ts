import { describe, expect, it } from 'vitest';
import { examineRequest, isMetricsPath } from '../../../../proxy/protocols/http/exchange/examine.ts';
import { isTunnelProtocol } from '../../../../proxy/protocols/http/wire/connection-header.ts';
import { parseHost } from '../../../../proxy/protocols/http/wire/host.ts';
import type { RequestHead } from '../../../../proxy/protocols/http/wire/head.ts';

const HOST = 'hello.pods.localhost';

function examine(change: Partial<RequestHead>, serverName = HOST) {
  return examineRequest(
    { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: ['Host', HOST], ...change },
    serverName,
  );
}

describe('a Host', () => {
  it.each([
    ['a.b', 'a.b', null],
    ['A.b.:8443', 'a.b', '8443'],
    ['127.0.0.1:1', '127.0.0.1', '1'],
    ['a.b:', 'a.b', null],
    ['[::1]:8443', '[::1]', '8443'],
  ])('%s is read', (value, host, port) => {
    expect(parseHost(value)).toEqual({ host, port });
  });

  it.each([
    '',
    '.',
    'a..b',
    '-a',
    'a-',
    'a_b',
    'a b',
    'a@b',
    'a/b',
    'a:b',
    'a:123456',
    'a%2eb',
    '[::1',
    'a,b',
    'ä.b',
    'a\0b',
    `${'a.'.repeat(200)}b`,
  ])('%j is not valid', (value) => {
    expect(parseHost(value)).toBeNull();
  });
});

describe('a request', () => {
  it('is accepted for the server name of the connection, in any spelling of the Host', () => {
    const rawHeaders = ['hOsT', `${HOST.toUpperCase()}.:8443`, 'Accept', 'text/html'];
    expect(examine({ rawHeaders, url: '/a?b' })).toEqual({
      kind: 'good',
      host: HOST,
      hostHeader: `${HOST.toUpperCase()}.:8443`,
      port: '8443',
      target: '/a?b',
      framing: { kind: 'none' },
    });
  });

  it('for another name is misdirected', () => {
    expect(examine({}, 'other.pods.localhost').kind).toBe('misdirected');
    expect(examine({ rawHeaders: ['Host', '[::1]'] }).kind).toBe('misdirected');
  });

  it('has a body when its fields say so', () => {
    const withField = (name: string, value: string) => examine({ rawHeaders: ['Host', HOST, name, value] });
    expect(withField('Content-Length', '5')).toMatchObject({ framing: { kind: 'length', bytes: 5 } });
    expect(withField('Content-Length', '0')).toMatchObject({ framing: { kind: 'none' } });
    expect(withField('Transfer-Encoding', 'Chunked')).toMatchObject({ framing: { kind: 'chunked' } });
  });

  it.each([
    ['/a', '/a'],
    [`http://${HOST}`, '/'],
    [`https://${HOST}/x?y`, '/x?y'],
    [`https://${HOST}?y`, '/?y'],
    ['//evil.example/x', '//evil.example/x'],
  ])('for the target %s is sent to the pod as %s', (url, target) => {
    expect(examine({ url })).toMatchObject({ kind: 'good', target });
  });

  it.each([
    '*',
    '',
    'a',
    `${HOST}:443`,
    '/a b',
    '/a#b',
    'ftp://a/',
    'https:///x',
    `https://${HOST}:99/`,
    'https://a%2f@b/',
  ])('for the target %j is malformed', (url) => {
    expect(examine({ url }).kind).toBe('malformed');
  });

  it.each([
    [['Host', HOST, 'Host', HOST]],
    [[]],
    [['Host', '']],
    [['Host', HOST, 'Content-Length', '1', 'Content-Length', '1']],
    [['Host', HOST, 'Content-Length', '1', 'Transfer-Encoding', 'chunked']],
    [['Host', HOST, 'Content-Length', '+1']],
    [['Host', HOST, 'Content-Length', '1, 1']],
    [['Host', HOST, 'Content-Length', '']],
    [['Host', HOST, 'Transfer-Encoding', 'gzip, chunked']],
    [['Host', HOST, 'Transfer-Encoding', 'identity']],
    [['Host', HOST, 'Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']],
  ])('with the fields %j is malformed', (rawHeaders) => {
    expect(examine({ rawHeaders }).kind).toBe('malformed');
  });

  it('of HTTP/1.0 may lack a Host, but must not have a transfer coding', () => {
    expect(examine({ httpVersion: '1.0', rawHeaders: [] })).toMatchObject({ kind: 'good', host: HOST });
    const rawHeaders = ['Transfer-Encoding', 'chunked'];
    expect(examine({ httpVersion: '1.0', rawHeaders }).kind).toBe('malformed');
  });

  it.each(['CONNECT', 'TRACE'])('with %s is not served', (method) => {
    expect(examine({ method }).kind).toBe('bad-method');
  });
});

it('metrics are recognized in every spelling, and nothing else is', () => {
  const yes = [
    '/metrics',
    '/metrics?a',
    '/metrics/x',
    '/./metrics',
    '/a/%2e%2e/METRICS',
    '/%256detrics',
    '\\metrics',
    '/v3/metrics',
  ];
  const no = ['/', '/v3/pods/metrics1', '/v3/pods', '/metricsx', '/x/metrics', '/?/metrics', '/v3/pods/x/metrics'];
  expect(yes.filter(isMetricsPath)).toEqual(yes);
  expect(no.filter(isMetricsPath)).toEqual([]);
});

it('an upgrade to another HTTP version or to TLS is not a tunnel', () => {
  expect(['websocket', 'WebSocket', 'tcp', 'spdy/3.1'].every(isTunnelProtocol)).toBe(true);
  expect(['', 'h2c', 'H2C', 'HTTP/2.0', 'TLS/1.2', 'websocket, h2c', 'a b'].some(isTunnelProtocol)).toBe(false);
});
