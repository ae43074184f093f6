import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import type { LineSink } from '../../../../proxy/telemetry/telemetry.ts';
import { type GatewayFixture, runningRoute } from '../support/gateway-fixture.ts';
import { createStage } from '../support/stage.ts';
import { readAll, startBackend } from '../support/streams.ts';
import type { Route } from '../../../../core/route.ts';

const HOST = 'odd.pods.localhost';
const stage = createStage();
const lines: string[] = [];
const accessLog: LineSink = { write: (line) => void lines.push(line), dropped: 0 };
afterEach(() => {
  lines.length = 0;
});

/** A pod that answers whatever comes with these bytes, and closes. */
async function startWith(answer: string | Buffer, changes: Partial<Route> = {}): Promise<GatewayFixture> {
  const pod = await startBackend((socket) => {
    socket.once('data', () => socket.end(Buffer.isBuffer(answer) ? answer : Buffer.from(answer, 'latin1')));
  });
  stage.backends.push(pod);
  return stage.start({ routes: [runningRoute(HOST, pod.port, { protocol: 'http', ...changes })], accessLog });
}

async function ask(fixture: GatewayFixture, request: string): Promise<string> {
  const client = await fixture.connect(HOST);
  const answer = readAll(client);
  client.write(`${request} HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n`);
  client.write(request.startsWith('POST') ? 'Content-Length: 2\r\n\r\nhi' : '\r\n');
  const text = (await answer).toString('latin1');
  client.destroy();
  return text;
}

/** The access log's line, and the message that the connections view has last. */
async function seenByOwner(fixture: GatewayFixture) {
  await until('the line is written', () => lines.length > 0);
  fixture.feed.send({ kind: 'pod-asked', id: 1, uid: 'uid-odd' });
  const told = (): readonly string[] =>
    fixture.feed.received.flatMap((message) =>
      message.kind === 'pod-told' ? (message.connections?.refusals.map(({ message: text }) => text) ?? []) : [],
    );
  await until('the connections view is told', () => told().length > 0);
  return { line: JSON.parse(lines[0] ?? '{}') as Record<string, unknown>, message: told().at(-1) ?? '' };
}

describe('a response that breaks a rule of HTTP', () => {
  const twice = 'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
  it.each([
    ['a coding twice', twice, /more than one Transfer-Encoding header/],
    [
      'two lengths',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi',
      /more than one Content-Length/,
    ],
    ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n', /Content-Length is not a number/],
    ['a bare line feed', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n', /LF instead of CRLF/],
    ['a space in a name', 'HTTP/1.1 200 OK\r\nX A: b\r\n\r\n', /name of a header field contains a character/],
    ['white space before the colon', 'HTTP/1.1 200 OK\r\nX : b\r\n\r\n', /whitespace before its colon/],
    ['no status line', 'ICY 200 OK\r\n\r\n', /not a valid HTTP\/1\.1 status line/],
    ['another protocol', '\0\0\x06\x04\0\0\0\0\0', /not an HTTP\/1\.1 message/],
    ['a switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\n\r\n', /switches protocols/],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le', /ends before the end of its headers/],
  ])('%s: client, log and owner see which rule, and no retry is suggested', async (_name, answer, rule) => {
    const fixture = await startWith(answer);
    const text = await ask(fixture, 'POST /order');
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
    expect(text).toMatch(rule);
    expect(text).toContain('"code":"answer.malformed"');
    expect(text).toContain('may have been carried out');
    expect(text).not.toMatch(/[Tt]ry again|Retry-After/);
    const { line, message } = await seenByOwner(fixture);
    expect(line).toMatchObject({ status: 502, refused: 'answer.malformed' });
    expect(line['brokenRule']).toMatch(rule);
    expect(message).toMatch(rule);
    expect(fixture.gateway.counters.refused['answer.malformed']).toBe(1);
  });

  it('in its body: it is aborted, and the log says why', async () => {
    const fixture = await startWith('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n');
    const text = await ask(fixture, 'GET /');
    expect(text).toContain('hi');
    expect(text).not.toContain('0\r\n\r\n');
    const { line, message } = await seenByOwner(fixture);
    expect(line).toMatchObject({ end: 'backend', brokenRule: 'A chunk has no valid size line.' });
    expect(message).toContain('A chunk has no valid size line.');
    expect(fixture.gateway.counters.refused['answer.malformed']).toBe(1);
  });

  it('a connection closed without a response: a GET may be retried, a POST should be checked first', async () => {
    const fixture = await startWith('');
    expect(await ask(fixture, 'GET /')).toContain('Try again');
    const text = await ask(fixture, 'POST /order');
    expect(text).toContain('"code":"answer.missing"');
    expect(text).toContain('check before you send it again');
    expect(text).not.toMatch(/[Tt]ry again|Retry-After/);
  });

  it('a pod that does not speak HTTP/2 although its stanza says so', async () => {
    const fixture = await startWith('HTTP/1.1 400 Bad Request\r\n\r\n', { backendProtocol: 'h2c' });
    expect(await ask(fixture, 'POST /order')).toMatch(/^HTTP\/1\.1 502 [^]*does not speak HTTP\/2/);
  });
});

describe('interim responses', () => {
  const interim = 'HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 1\r\nContent-Length: 5\r\n\r\n';
  const final = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n';

  it('are passed on, any number of them, without a length', async () => {
    const text = await ask(await startWith(interim.repeat(150) + final), 'POST /upload');
    expect(text.match(/HTTP\/1\.1 104/g)).toHaveLength(150);
    expect(text).toMatch(/HTTP\/1\.1 200 OK[^]*done\n$/);
    expect(text.match(/content-length/gi)).toHaveLength(1);
  });

  it('that flood the client are rejected as too fast', async () => {
    const text = await ask(await startWith(interim.repeat(5_000) + final), 'POST /upload');
    expect(text).toMatch(/HTTP\/1\.1 502 [^]*more than 50 interim responses/);
  });
});

describe('fields of a response', () => {
  it('426 names the required protocol (RFC 9110 15.5.22)', async () => {
    const answer =
      'HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n';
    const text = await ask(await startWith(answer), 'GET /');
    expect(text).toMatch(/^HTTP\/1\.1 426 [^]*Upgrade: websocket\r\n/);
    expect(text).toMatch(/\r\nConnection: close, upgrade\r\n/);
  });

  it('cookies stay on their host, also in interim responses', async () => {
    const cookies =
      'Set-Cookie: a=1; Domain=pods.localhost\r\nset-cookie: b=2;domain=localhost;Path=/\r\nSet-Cookie: c=3\r\n';
    const answer = `HTTP/1.1 103 Early Hints\r\n${cookies}\r\nHTTP/1.1 200 OK\r\n${cookies}Content-Length: 0\r\n\r\n`;
    const text = await ask(await startWith(answer), 'GET /');
    expect(text.match(/set-cookie: .*/gi)?.map((line) => line.trim())).toEqual(
      [0, 1].flatMap(() => ['Set-Cookie: a=1', 'set-cookie: b=2;Path=/', 'Set-Cookie: c=3']),
    );
  });
});
