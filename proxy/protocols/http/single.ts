import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { splice } from '../../session/splice.ts';
import { dial, errorCode } from './dial.ts';
import { isFinalStatus, reasonPhrase, responseHeaders } from './headers.ts';
import type { HttpLimits } from './limits.ts';
import { rawHead } from './page.ts';
import type { Upstream } from './upstream-pools.ts';

/**
 * Requests that need a connection of their own: upgrades, which keep it, and those with Expect: 100-continue, which undici
 * does not carry. Both are rare; node:http does them.
 */
export interface SingleRequest {
  readonly request: IncomingMessage;
  readonly upstream: Upstream;
  readonly target: string;
  /** Flat name, value list without the hop-by-hop fields. */
  readonly headers: readonly string[];
  readonly limits: HttpLimits;
  /** Nothing of an answer was passed on: the caller answers with a page. */
  readonly onUnreachable: (code: string) => void;
}

/**
 * Passes on a request whose client waits for 100 (Continue) before it sends the body (RFC 9110 10.1.1). The backend
 * decides; a final answer without 100 ends the client's connection, as nobody can tell whether a body follows.
 */
export async function forwardExpecting(
  single: SingleRequest & { readonly response: ServerResponse; readonly isChunked: boolean },
): Promise<void> {
  const { request, response, upstream, target, headers, limits } = single;
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const socket = await dialUpstream(upstream, limits, false, gone.signal, single.onUnreachable);
  if (socket === null) return;
  const framing = single.isChunked ? ['transfer-encoding', 'chunked'] : [];
  const outgoing = http.request({
    method: request.method ?? 'POST',
    path: target,
    headers: [...headers, ...framing, 'expect', '100-continue', 'connection', 'close'],
    setHost: false,
    createConnection: () => socket,
  });
  response.once('close', () => outgoing.destroy());
  let continued = false;
  outgoing.on('continue', () => {
    continued = true;
    response.writeContinue();
  });
  const fail = (code: string) => {
    outgoing.destroy();
    if (response.destroyed || response.writableEnded) return;
    if (response.headersSent) response.destroy();
    else single.onUnreachable(code);
  };
  outgoing.on('error', (error) => fail(errorCode(error)));
  // Closed without an error or an answer: a 101 nobody asked for.
  outgoing.on('close', () => {
    if (!response.headersSent) fail('CLOSED');
  });
  outgoing.on('response', (answer) => {
    if (!continued && !request.complete) response.shouldKeepAlive = false;
    answer.on('error', (error) => fail(errorCode(error)));
    const { statusCode, statusMessage, rawHeaders } = answer;
    if (!isFinalStatus(statusCode)) {
      fail('INVALID_STATUS');
      return;
    }
    response.writeHead(statusCode, reasonPhrase(statusMessage), responseHeaders(rawHeaders));
    answer.pipe(response);
  });
  // The client sends nothing before it is told to, or gives up waiting: then its bytes are passed on as they come.
  request.on('error', () => outgoing.destroy());
  request.pipe(outgoing);
}

/**
 * Passes on an upgrade request; on 101 the two connections become one tunnel, each direction ending by itself. Any other
 * answer is passed on and ends the connection. `onDone` is called once, when all is over.
 */
export async function tunnel(
  single: SingleRequest & {
    /** The request's own socket. */
    readonly client: Duplex;
    /** What the client sent behind its request. */
    readonly clientHead: Buffer;
    readonly upgrade: string;
    readonly onDone: () => void;
  },
): Promise<void> {
  const { request, client, clientHead, upstream, target, headers, limits, upgrade } = single;
  const gone = new AbortController();
  client.once('close', () => {
    gone.abort();
    single.onDone();
  });
  client.on('error', () => client.destroy());
  const socket = await dialUpstream(upstream, limits, true, gone.signal, single.onUnreachable);
  if (socket === null) return;
  const outgoing = http.request({
    method: request.method ?? 'GET',
    path: target,
    headers: [...headers, 'connection', 'upgrade', 'upgrade', upgrade],
    setHost: false,
    createConnection: () => socket,
  });
  const abandon = () => outgoing.destroy();
  client.once('close', abandon);
  let answered = false;
  const fail = (code: string) => {
    if (client.destroyed) return;
    if (answered) client.destroy();
    else single.onUnreachable(code);
    answered = true;
  };
  outgoing.on('error', (error) => fail(errorCode(error)));
  outgoing.on('close', () => {
    if (!answered) fail('CLOSED');
  });
  outgoing.on('upgrade', (answer: IncomingMessage, backend: Socket, backendHead: Buffer) => {
    answered = true;
    client.off('close', abandon);
    const accepted = [...responseHeaders(answer.rawHeaders), 'Connection', 'Upgrade'];
    client.write(rawHead(101, 'Switching Protocols', [...accepted, 'Upgrade', answer.headers.upgrade ?? upgrade]));
    if (backendHead.length > 0) client.write(backendHead);
    if (clientHead.length > 0) backend.write(clientHead);
    splice(request.socket, backend, () => undefined);
  });
  outgoing.on('response', (answer) => {
    const { statusCode, statusMessage, rawHeaders } = answer;
    answer.on('error', (error) => fail(errorCode(error)));
    if (!isFinalStatus(statusCode)) {
      fail('INVALID_STATUS');
      outgoing.destroy();
      return;
    }
    answered = true;
    client.write(
      rawHead(statusCode, reasonPhrase(statusMessage), [...responseHeaders(rawHeaders), 'Connection', 'close']),
    );
    answer.pipe(client);
    client.resume();
  });
  outgoing.end();
}

async function dialUpstream(
  upstream: Upstream,
  { connectTimeoutMs }: HttpLimits,
  allowHalfOpen: boolean,
  signal: AbortSignal,
  onUnreachable: (code: string) => void,
): Promise<Socket | null> {
  try {
    const { destination, retryUntilMs } = upstream;
    return await dial(destination, { connectTimeoutMs, allowHalfOpen, retryUntilMs }, signal);
  } catch (error) {
    if (!signal.aborted) onUnreachable(errorCode(error));
    return null;
  }
}
