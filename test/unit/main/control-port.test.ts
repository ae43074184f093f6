import { expect, test } from 'vitest';
import { clientLine, parseClientLine } from '../../../main/control-port/client-line.ts';
import { firstRequest } from '../../../main/control-port/probe-request.ts';
import { judgeLiveness, judgeReadiness, type ProbeState } from '../../../main/control-port/probe-state.ts';

const kindOf = (text: string) => firstRequest(Buffer.from(text, 'latin1')).kind;
const request = (line: string, ...fields: string[]): string => [line, ...fields, '', ''].join('\r\n');

test.each([
  ['GET /readyz HTTP/1.1', ['Host: 10.1.2.3:8000', 'User-Agent: kube-probe/1.32']],
  ['GET /readyz HTTP/1.0', []],
  ['GET /v3/readyz HTTP/1.1', ['host: [::1]:8000']],
  ['HEAD /healthz HTTP/1.1', ['Host: localhost:8000']],
  ['GET /healthz?verbose HTTP/1.1', ['Host: 127.0.0.1']],
])('%s of an address is a probe, however its bytes are divided', (line, fields) => {
  const text = request(line, ...fields);
  for (let length = 0; length < text.length; length++) expect(kindOf(text.slice(0, length))).toBe('more');
  expect(kindOf(text)).toBe('probe');
});

test.each([
  [request('GET /readyz HTTP/1.1', 'Host: rebound.example.org')],
  [request('GET /readyz HTTP/1.1', 'Host: 127.0.0.1', 'Host: 127.0.0.2')],
  [request('GET /readyz HTTP/1.1', 'Host: 127.0.0.1', 'Content-Length: 5')],
  [request('GET /readyz HTTP/1.1', 'Host: 127.0.0.1', 'Transfer-Encoding: chunked')],
  [request('GET /readyz HTTP/2', 'Host: 127.0.0.1')],
  [request('POST /readyz HTTP/1.1', 'Host: 127.0.0.1')],
  ['GET /readyzz HTTP/1.1\r\n'],
  ['GET /v3/pods HTTP/1.1\r\n'],
  ['\r\nGET /readyz HTTP/1.1\r\n'],
  ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello'],
  [`GET /readyz?${'x'.repeat(5_000)}`],
])('%j is for the control process', (text) => {
  expect(kindOf(text)).toBe('other');
});

const GATEWAY = { accepting: 2, slots: 2, isDraining: false };
const state = (change: Partial<ProbeState>): ProbeState => ({
  gateway: GATEWAY,
  control: { ok: true, detail: { store: 'healthy' } },
  controlAgeMs: 0,
  ...change,
});

test('a worker is ready when its report is recent and it accepts on all sockets', () => {
  expect(judgeReadiness(state({}), 900)).toEqual({
    ok: true,
    message: 'Ready.',
    detail: { store: 'healthy', gateway: '2 of 2 accept' },
  });
  expect(judgeReadiness(state({ controlAgeMs: 14_000 }), 900).ok).toBe(true);
  expect(judgeReadiness(state({ controlAgeMs: 14_500 }), 900).detail).toMatchObject({ control: 'no report for 15 s' });
  expect(judgeReadiness(state({ gateway: { ...GATEWAY, accepting: 1 } }), 0).ok).toBe(false);
  expect(judgeReadiness(state({ gateway: { ...GATEWAY, isDraining: true } }), 0).ok).toBe(false);
  expect(judgeReadiness(state({ control: { ok: false, detail: {} } }), 0).ok).toBe(false);
  expect(judgeReadiness(state({ control: null, controlAgeMs: Infinity }), 0).detail).toMatchObject({
    control: 'starting',
  });
  expect(judgeReadiness(null, 100).ok).toBe(false);
  expect(judgeReadiness(state({}), 10_500).detail).toMatchObject({ supervisor: 'no report for 11 s' });
});

test('a worker is alive while it hears from the supervisor, whatever the control process does', () => {
  expect(judgeLiveness(9_000).ok).toBe(true);
  expect(judgeLiveness(11_000).ok).toBe(false);
});

test('a client line names the client that is connected; no other line counts', () => {
  const client = { remoteAddress: '2001:db8::1', remotePort: 1234, localAddress: '::1' };
  expect(parseClientLine(clientLine(client).trimEnd())).toEqual(client);
  for (const line of ['', '[]', 'GET / HTTP/1.1', '["a",1,"::1"]', '["::1","1","::1"]', '["::1",1,"::1",0]', 'null']) {
    expect(parseClientLine(line)).toBeNull();
  }
});
