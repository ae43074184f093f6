import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpGateway, POD_HOST } from '../http/http-gateway.ts';
import { exchange } from './http2-client.ts';
import { block, END_HEADERS, END_STREAM, FRAME, frame, RawHttp2 } from './raw-http2.ts';

type Field = readonly [string, string];
const GOOD: readonly Field[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/'],
  [':authority', POD_HOST],
];
const with_ = (...more: readonly Field[]): readonly Field[] => [...GOOD, ...more];
const but = (name: string, value: string | null): readonly Field[] =>
  GOOD.flatMap(([one, old]) => (one !== name ? [[one, old] as const] : value === null ? [] : [[one, value] as const]));

describe('over HTTP/2', () => {
  let gateway: HttpGateway;
  let pod: Server;
  let requests = 0;

  beforeAll(async () => {
    gateway = await HttpGateway.start({ headerBytes: 4_000 });
    pod = createServer((request, response) => {
      requests++;
      request
        .on('error', () => undefined)
        .resume()
        .on('end', () => response.end('pod'));
    });
    await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
    gateway.route((pod.address() as AddressInfo).port);
  });
  afterAll(async () => {
    await gateway.close();
    pod.closeAllConnections();
    await new Promise((resolve) => pod.close(resolve));
  });

  const open = async (): Promise<RawHttp2> => new RawHttp2(await gateway.connect(POD_HOST, ['h2']));

  it.each([
    ['two paths', with_([':path', '/other'])],
    ['a pseudo-header field behind others', with_(['x-a', '1'], [':path', '/other'])],
    ['an unknown pseudo-header field', [[':x', '1'], ...GOOD] as const],
    ['a path with a space', but(':path', '/a b')],
    ['a path with a line end', but(':path', '/a HTTP/1.1\r\nx: y')],
    ['an absolute path', but(':path', `https://${POD_HOST}/`)],
    ['no path', but(':path', null)],
    ['a method with a space', but(':method', 'GET /x HTTP/1.1\r\n')],
    ['a method in small letters', but(':method', 'get')],
    ['a scheme that is none of the web', but(':scheme', 'ftp')],
    ['no authority and no Host', but(':authority', null)],
    ['a Host that is not the authority', with_(['host', 'other.pods.localhost'])],
    ['an authority with user information', but(':authority', `x@${POD_HOST}`)],
    ['a transfer coding', with_(['transfer-encoding', 'chunked'])],
    ['Connection', with_(['connection', 'close'])],
    ['Upgrade', with_(['upgrade', 'websocket'])],
    ['TE of more than trailers', with_(['te', 'gzip'])],
    ['a name in capitals', with_(['X-A', 'd'])],
    ['two lengths', with_(['content-length', '0'], ['content-length', '5'])],
    ['a length that is no number', with_(['content-length', '+5'])],
    ['a length and no body', with_(['content-length', '5'])],
    [
      'a CONNECT',
      [
        [':method', 'CONNECT'],
        [':authority', POD_HOST],
      ] as const,
    ],
    ['TRACE', but(':method', 'TRACE')],
  ])('a request with %s never reaches the pod', async (_what, fields) => {
    const before = requests;
    const client = await open();
    client.request(1, fields);
    const { end } = await client.endOf(1);
    // A reset, or an answer that says what is wrong.
    if (end === 'end') expect(statusOf(client)).toMatch(/^4/);
    expect(requests).toBe(before);
    client.socket.destroy();
  });

  // The library drops them without a word: nobody behind it sees them, whatever they were to be.
  it.each([
    ['a line end in a value', ['x-a', 'b\r\nx-c: d']],
    ['a NUL in a value', ['x-a', 'b\0']],
    ['a line end in a name', ['x-a: b\r\nx-c', 'd']],
    ['a colon in a name', ['x-a:', 'd']],
    ['an empty name', ['', 'd']],
  ] as const)('a field with %s never reaches a pod', async (_what, field) => {
    let names: string[] = [];
    pod.once('request', ({ rawHeaders }) => (names = rawHeaders));
    const client = await open();
    client.request(1, with_(field));
    await client.endOf(1);
    expect(names.join(' ')).not.toMatch(/x-a|x-c/);
    client.socket.destroy();
  });

  it.each([
    ['shorter than', ['hel'], true],
    ['longer than', ['hello', 'more'], true],
    ['as long as', ['he', 'llo'], false],
  ])('a body %s Content-Length says is passed on completely or not at all', async (_what, pieces, isRefused) => {
    const client = await open();
    const isAnswered = new Promise<boolean>((resolve) => {
      pod.once('request', (request) => {
        request.once('end', () => resolve(true)).once('error', () => resolve(false));
      });
    });
    client.request(1, [...but(':method', 'POST'), ['content-length', '5']], false);
    for (const [index, piece] of pieces.entries()) {
      client.send(frame(FRAME.data, index === pieces.length - 1 ? END_STREAM : 0, 1, Buffer.from(piece)));
    }
    const { end } = await client.endOf(1);
    expect(end === 'end').toBe(!isRefused);
    if (!isRefused) expect(await isAnswered).toBe(true);
    client.socket.destroy();
  });

  it('a body that its client cancels, even with NO_ERROR, never looks complete to the pod', async () => {
    for (const code of [0, 8]) {
      const client = await open();
      const seen = new Promise<string>((resolve) => {
        pod.once('request', (request) => {
          request.once('end', () => resolve('whole')).once('close', () => resolve('broken off'));
          const reset = Buffer.alloc(4);
          reset.writeUInt32BE(code);
          client.send(frame(FRAME.reset, 0, 1, reset));
        });
      });
      client.request(1, but(':method', 'POST'), false);
      client.send(frame(FRAME.data, 0, 1, Buffer.from('part')));
      expect(await seen).toBe('broken off');
      client.socket.destroy();
    }
  });

  it('trailers with pseudo-header fields end their request', async () => {
    const client = await open();
    client.request(1, but(':method', 'POST'), false);
    client.send(frame(FRAME.headers, END_HEADERS | END_STREAM, 1, block([[':path', '/other']])));
    expect((await client.endOf(1)).end).not.toBe('end');
    client.socket.destroy();
  });

  it('a request for another name than the connection’s gets 421, and the next one is served', async () => {
    const session = await gateway.connectHttp2();
    const other = await exchange(session, { ':authority': 'other.pods.localhost' });
    expect(other.status).toBe(421);
    expect(String(other.body)).toContain('route.misdirected');
    expect((await exchange(session, { ':authority': POD_HOST })).status).toBe(200);
    session.close();
  });

  it('refused clients get the reason: HTML, JSON, or gRPC in trailers', async () => {
    gateway.route(null, { host: 'off.pods.localhost', podId: 'off', status: 'STOPPED', uid: 'uid-off' });
    const session = await gateway.connectHttp2('off.pods.localhost');
    const page = await exchange(session, { ':authority': 'off.pods.localhost', accept: 'text/html' });
    expect(page).toMatchObject({ status: 503 });
    expect(String(page.body)).toContain('<h1>Pod off is not running');
    const json = await exchange(session, { ':authority': 'off.pods.localhost', ':method': 'POST' }, 'some body');
    expect(JSON.parse(String(json.body))).toMatchObject({ status: 503, code: 'route.stopped' });
    expect(json.headers['retry-after']).toBe('30');
    const head = await exchange(session, { ':authority': 'off.pods.localhost', ':method': 'HEAD' });
    expect(head).toMatchObject({ status: 503, rstCode: 0 });
    const grpc = await exchange(
      session,
      { ':authority': 'off.pods.localhost', ':method': 'POST', 'content-type': 'application/grpc' },
      'message',
    );
    expect(grpc.headers).toMatchObject({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14' });
    expect(grpc.headers['grpc-message']).toContain('Pod off is not running');
    session.close();
  });

  it('too many fields get an error, and far too many a reset', async () => {
    const session = await gateway.connectHttp2();
    const large = await exchange(session, { ':authority': POD_HOST, 'x-large': 'x'.repeat(5_000) });
    expect(large.status).toBe(431);
    expect((await exchange(session, { ':authority': POD_HOST })).status).toBe(200);
    session.close();
    const client = await open();
    await client.settled();
    const piece = block([['x-large', 'x'.repeat(15_000)]]);
    client.send(frame(FRAME.headers, END_STREAM, 1, block(GOOD)));
    client.send(...Array.from({ length: 6 }, () => frame(FRAME.continuation, 0, 1, piece)));
    client.send(frame(FRAME.continuation, END_HEADERS, 1, piece));
    expect((await client.endOf(1)).end).toBe(11);
    client.socket.destroy();
  });

  it('a pod at its limit refuses one request, and the others continue', async () => {
    gateway.full.add('uid-1');
    const session = await gateway.connectHttp2();
    expect((await exchange(session, { ':authority': POD_HOST })).status).toBe(503);
    gateway.full.delete('uid-1');
    expect((await exchange(session, { ':authority': POD_HOST })).status).toBe(200);
    expect(gateway.held.get('uid-1')).toBe(0);
    session.close();
  });
});

/** Of the first answer: our own say it in one literal or indexed field; a table of both is not needed to tell 4xx. */
function statusOf(client: RawHttp2): string {
  const head = client.frames.find(({ type }) => type === FRAME.headers)?.payload ?? Buffer.alloc(0);
  // RFC 7541 appendix A: 400 is index 12, 404 index 13; any other status is a literal of name 8.
  if (head[0] === 0x8c) return '400';
  if (head[0] === 0x8d) return '404';
  const data = client.frames.find(({ type }) => type === FRAME.data)?.payload.toString() ?? '';
  return /"status":(\d{3})/.exec(data)?.[1] ?? '';
}
