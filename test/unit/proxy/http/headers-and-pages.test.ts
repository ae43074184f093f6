import { duplexPair } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { requestHeaders, responseHeaders, trailerFields } from '../../../../proxy/protocols/http/exchange/headers.ts';
import { escapeHtml } from '../../../../core/escape-html.ts';
import { renderProblem } from '../../../../proxy/protocols/http/responses/page.ts';
import { HTTP_STATUS, problemOfApi, problemOfRefusal } from '../../../../proxy/protocols/http/responses/problem.ts';
import { refuseHttp } from '../../../../proxy/protocols/http/responses/refuse.ts';
import type { Refusal } from '../../../../proxy/connection/refusal.ts';

const client = {
  remoteAddress: '2001:db8::1',
  passedOn: null,
  hostHeader: 'a.b',
  port: null,
  requestId: 'id-1',
  certificate: null,
  visitor: null,
};
const OURS = [
  ...['x-forwarded-for', '2001:db8::1', 'x-forwarded-proto', 'https', 'x-forwarded-host', 'a.b'],
  ...['x-forwarded-port', '443', 'x-request-id', 'id-1'],
];

describe('fields sent to a pod', () => {
  it('keep their order, case and repetitions, after a single Host', () => {
    const raw = ['X-A', '1', 'Host', 'a.b', 'x-a', '2', 'Cookie', 'c'];
    expect(requestHeaders(raw, client)).toEqual(['host', 'a.b', 'X-A', '1', 'x-a', '2', 'Cookie', 'c', ...OURS]);
  });

  it.each([
    ['a=1; X-Tapis-Token=ey.secret; b=2', 'a=1; b=2'],
    ['X-Tapis-Token=ey.secret; b=2', 'b=2'],
    ['a=1;x-tapis-token=ey.secret', 'a=1'],
    ['a=x-tapis-token; my-X-Tapis-Token=1', 'a=x-tapis-token; my-X-Tapis-Token=1'],
    ['X-Tapis-Token = "ey.secret"', null],
    ['X-Tapis-Token', null],
  ])('do not include a visitor’s Tapis token, which browsers send to every pod: %s', (sent, expected) => {
    const fields = requestHeaders(['Cookie', sent, 'cookie', 'c=3'], client);
    const kept = expected === null ? [] : ['Cookie', expected];
    expect(fields).toEqual(['host', 'a.b', ...kept, 'cookie', 'c=3', ...OURS]);
  });

  it('do not include hop-by-hop fields, those in Connection, and those that only the gateway sets', () => {
    const raw = [
      ...['Connection', 'X-One, keep-alive', 'connection', 'x-two', 'X-One', '1', 'X-Two', '2', 'Keep-Alive', '5'],
      ...['TE', 'trailers', 'Transfer-Encoding', 'chunked', 'Upgrade', 'x', 'Proxy-Connection', 'x', 'Expect', 'x'],
      ...[
        'X-Forwarded-For',
        'x',
        'X_FORWARDED_HOST',
        'x',
        'X-Forwarded-Anything',
        'x',
        'Forwarded',
        'x',
        'X-Real_IP',
        'x',
      ],
      ...['X-Request-ID', 'x', 'Proxy', 'x', 'Proxy-Authorization', 'x'],
      ...['Client-Cert', 'x', 'client_cert', 'x', 'Client-Cert-Chain', 'x', 'X-Forwarded-Client-Cert', 'x'],
      ...['X-Client-Cert-Subject', 'x', 'X-SSL-Client-Verify', 'x', 'X_SSL_CLIENT_CN', 'x', 'SSL-Client-S-DN', 'x'],
    ];
    expect(requestHeaders(raw, client)).toEqual(['host', 'a.b', ...OURS]);
  });

  it('include the client certificate, in the formats of RFC 9440 and of Envoy', () => {
    const certificate = {
      subject: 'CN=a"b\\\\,Å,O=Lab',
      commonName: 'a"b,Å',
      fingerprint: '00ff',
      der: Buffer.from([0x30, 0x03, 0xff]),
    };
    const sent = requestHeaders(['Client-Cert', ':AAAA:'], { ...client, certificate });
    const subject = Buffer.from('CN=a\\"b\\\\\\\\,Å,O=Lab', 'utf8').toString('latin1');
    expect(sent).toEqual([
      ...['host', 'a.b', ...OURS, 'client-cert', ':MAP/:'],
      ...['x-forwarded-client-cert', `Hash=00ff;Subject="${subject}"`],
    ]);
  });

  it('do not include names that a program which treats - and _ alike could read as framing', () => {
    const raw = ['Content_Length', '5', 'Transfer_Encoding', 'chunked', 'X_Own', 'kept'];
    const sent = requestHeaders(raw, client);
    const names = sent.filter((_part, index) => index % 2 === 0).map((name) => name.toLowerCase());
    expect(names).not.toContain('content_length');
    expect(names).not.toContain('transfer_encoding');
    expect(names).toContain('x_own');
  });

  it('keep Host and Content-Length even when Connection names them', () => {
    const raw = ['Connection', 'host, content-length, transfer-encoding', 'Content-Length', '3'];
    expect(requestHeaders(raw, client)).toEqual(['host', 'a.b', 'Content-Length', '3', ...OURS]);
  });
});

it('fields sent to a client only lose framing and hop-by-hop fields', () => {
  const raw = [
    'Connection',
    'close, x-hop',
    'X-Hop',
    '1',
    'Transfer-Encoding',
    'chunked',
    'Server',
    's',
    'Trailer',
    'X-T',
  ];
  expect(responseHeaders(raw, { rawHeaders: [] })).toEqual(['Server', 's', 'Trailer', 'X-T']);
});

describe('a cookie that a pod sets', () => {
  const request = { rawHeaders: ['Host', 'A.pods.example.org:8443'] };
  const passed = (value: string): string | undefined => responseHeaders(['Set-Cookie', value], request)[1];

  it.each([
    ['a=b; Domain=example.org; Path=/', 'a=b; Path=/'],
    ['a=b; Domain=pods.example.org', 'a=b'],
    ['a=b;DOMAIN = .Pods.Example.Org ;Secure', 'a=b;Secure'],
    ['a=b;\tdomain\t=\tpods.example.org', 'a=b'],
    ['a=b; Domain=other.pods.example.org', 'a=b'],
    ['a=b; Domain=x.a.pods.example.org', 'a=b'],
    ['a=b; Domain=a.pods.example.org; Domain=example.org', 'a=b; Domain=a.pods.example.org'],
    ['a=b; Domain=example.org; domain=pods.example.org', 'a=b'],
    ['a="x; Domain=example.org"', 'a="x'],
    ['a=b; Domain', 'a=b'],
    ['a=b; Domain=', 'a=b'],
    ['a=b; Domain=example%2eorg', 'a=b'],
    ['a=b; domain=example.org\xa0', 'a=b'],
    ['; Domain=example.org', ''],
  ])('%j stays on its host', (value, expected) => {
    expect(passed(value)).toBe(expected);
  });

  it.each([
    'a=b',
    'a=b; Path=/; HttpOnly; SameSite=Lax',
    'a=b; Domain=a.pods.example.org',
    'a=b; domain = .A.PODS.example.org',
    'domain=example.org; Path=/',
    'a=my domain; Path=/domain',
    'a=b; XDomain=example.org',
  ])('%j is unchanged', (value) => {
    expect(passed(value)).toBe(value);
  });

  it('is removed from trailers', () => {
    expect(trailerFields(['Set-Cookie', 'a=b', 'X-A', '1'])).toEqual(['X-A', '1']);
  });
});

const refusal = (code: Refusal['code'], text = 'It <b>happened</b> & "so".'): Refusal => ({
  code,
  message: text,
  hint: "What's next",
  requestId: 'id-1',
});

describe('an error page', () => {
  it('is HTML for clients that accept HTML, with everything escaped, and loads nothing', () => {
    const page = renderProblem(problemOfRefusal(refusal('route.stopped')), 'text/html,*/*', null);
    const html = page.body.toString();
    expect(html).toContain('It &lt;b&gt;happened&lt;/b&gt; &amp; &quot;so&quot;.');
    expect(html).toContain('What&#39;s next');
    expect(html).toContain('id-1');
    expect(page.headers).toContain("default-src 'none'; style-src 'unsafe-inline'");
    expect(html).not.toMatch(/<script|src=|href=/);
  });

  it.each(['', '*/*', 'application/json', 'text/plain'])('is JSON for %j', (accept) => {
    const page = renderProblem(problemOfRefusal(refusal('route.unknown')), accept, null);
    expect(JSON.parse(page.body.toString())).toEqual({
      status: 404,
      code: 'route.unknown',
      message: 'It <b>happened</b> & "so".',
      hint: "What's next",
      request_id: 'id-1',
    });
    expect(page.headers).toContain('no-store');
  });

  it('separates the command of a hint from the full stop of its sentence', () => {
    const hint = 'Its logs: GET https://localhost:8443/v3/pods/a/logs. Then GET https://h/v3/pods/a/restart.';
    const page = renderProblem(problemOfRefusal({ ...refusal('route.stopped'), hint }), 'text/html', null);
    expect(page.body.toString()).toContain(
      'Its logs: <code>GET https://localhost:8443/v3/pods/a/logs</code>. Then <code>GET https://h/v3/pods/a/restart</code>.',
    );
  });

  it('of the API uses its envelope, whatever the client accepts', () => {
    const page = renderProblem(problemOfApi(503, 'id-1', false), 'text/html', '1.6.0');
    expect(JSON.parse(page.body.toString())).toMatchObject({
      result: null,
      status: 'error',
      version: '1.6.0',
      metadata: { request_id: 'id-1' },
    });
  });

  it('escapes all five special characters', () => {
    expect(escapeHtml(`<a href='x' title="y">&`)).toBe('&lt;a href=&#39;x&#39; title=&quot;y&quot;&gt;&amp;');
  });
});

it('every refusal has its status, and is one complete response on a bare socket', async () => {
  expect(HTTP_STATUS).toMatchObject({
    'route.unknown': 404,
    'route.stopped': 503,
    'route.starting': 503,
    'route.asleep': 503,
    'route.unreachable': 502,
    'route.forbidden': 403,
    'route.certificate': 403,
    'route.full': 503,
    'route.held-full': 503,
    'route.no-descriptors': 503,
    'route.owner-full': 503,
    'route.tenant-full': 503,
    'route.misdirected': 421,
    'tls.required': 400,
  });
  const [socket, other] = duplexPair();
  refuseHttp(socket, refusal('tls.required'));
  const chunks: Buffer[] = [];
  other.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => other.once('end', resolve));
  other.end();
  const text = Buffer.concat(chunks).toString();
  const [head = '', body = ''] = text.split('\r\n\r\n');
  expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(head).toContain('Connection: close');
  expect(head).toContain(`Content-Length: ${Buffer.byteLength(body)}`);
  expect(JSON.parse(body)).toMatchObject({ status: 400, code: 'tls.required' });
});
