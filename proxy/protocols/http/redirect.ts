import http from 'node:http';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { httpsUrl } from '../../../core/https-url.ts';
import type { Logger } from '../../../core/logger.ts';
import type { ConnectionInfo } from '../../connection/connection-info.ts';
import type { RouteTable } from '../../routes/route-table.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';
import { examineRequest } from './exchange/examine.ts';
import { parseHost } from './wire/host.ts';
import { DEFAULT_HTTP_LIMITS } from './exchange/limits.ts';
import { renderProblem } from './responses/page.ts';
import { type HttpErrorCode, type Problem, problemOfCode } from './responses/problem.ts';
import type { RequestHead } from './wire/head.ts';

export interface RedirectOptions {
  readonly table: RouteTable;
  readonly baseHosts: () => ReadonlySet<string>;
  /** http-01 (RFC 8555 8.3): the key authorization for a token, if an ACME server may ask for it now. */
  readonly challengeAnswer: (token: string) => string | undefined;
  /** The port HTTPS clients dial. */
  readonly publicHttpsPort: number;
  /** Null when the connection is gone. */
  readonly infoOf: (socket: Socket) => ConnectionInfo | null;
  readonly telemetry: Pick<Telemetry, 'requestBegan' | 'requestEnded'>;
  readonly log: Logger;
}

/**
 * Plain HTTP: sends who asks for a name of ours on to https (308 keeps method and body), everybody else gets 404. The
 * host in Location is one of the table's, never the client's text: no open redirect. The composition listens.
 */
export function createRedirectServer(options: RedirectOptions): http.Server {
  const server = http.createServer(
    {
      maxHeaderSize: DEFAULT_HTTP_LIMITS.headerBytes,
      headersTimeout: 10_000,
      // Nothing here reads a body: a client that sends a slow one is disconnected.
      requestTimeout: 10_000,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 2_000,
      requireHostHeader: false,
      shouldUpgradeCallback: () => false,
    },
    (request, response) => {
      request.resume();
      noteWhenOver(request, response, options);
      if (answerChallenge(request, response, options)) return;
      const answer = answerTo(request, options);
      if (answer.kind === 'redirect') {
        response.writeHead(308, ['Location', answer.location, 'Content-Length', '0', 'Cache-Control', 'no-store']);
        response.end();
        return;
      }
      const page = renderProblem(answer.problem, request.headers.accept ?? '', null);
      response.writeHead(page.status, [...page.headers, 'Connection', 'close']);
      response.end(page.body);
    },
  );
  server.on('checkContinue', (request: http.IncomingMessage, response: http.ServerResponse) => {
    server.emit('request', request, response);
  });
  return server;
}

function noteWhenOver(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  { infoOf, telemetry }: RedirectOptions,
): void {
  const info = infoOf(request.socket);
  if (info === null) return;
  const record = telemetry.requestBegan(info, 'http/1.1');
  const { method = '', url = '', rawHeaders } = request;
  record.head = { method, url, rawHeaders };
  response.once('close', () => {
    record.status = response.statusCode;
    if (response.writableFinished) record.end = 'answered';
    telemetry.requestEnded(record);
  });
}

const CHALLENGE_PATH = '/.well-known/acme-challenge/';

/** For any Host: who has the token has it from the ACME server, and what it stands for is no secret. */
function answerChallenge(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  { challengeAnswer }: RedirectOptions,
): boolean {
  if (request.method !== 'GET' || request.url?.startsWith(CHALLENGE_PATH) !== true) return false;
  const text = challengeAnswer(request.url.slice(CHALLENGE_PATH.length));
  if (text === undefined) return false;
  response.writeHead(200, ['Content-Type', 'application/octet-stream', 'Content-Length', String(text.length)]);
  response.end(text);
  return true;
}

type Answer =
  { readonly kind: 'redirect'; readonly location: string } | { readonly kind: 'problem'; readonly problem: Problem };

function answerTo(
  request: http.IncomingMessage,
  { table, baseHosts, publicHttpsPort, infoOf, log }: RedirectOptions,
): Answer {
  const named = parseHost(request.headers.host ?? '')?.host ?? '';
  const { method = '', url = '', rawHeaders } = request;
  const head: RequestHead = { method, url, httpVersion: request.httpVersion === '1.0' ? '1.0' : '1.1', rawHeaders };
  const examined = examineRequest(head, named);
  if (examined.kind !== 'good') {
    return problem(examined.kind === 'bad-method' ? 'api.method-not-allowed' : 'request.malformed');
  }
  const known = table.get(named)?.host ?? (baseHosts().has(named) ? named : undefined);
  if (known === undefined) {
    log.debug({ remoteAddress: infoOf(request.socket)?.remoteAddress ?? null }, 'plain HTTP for an unknown name');
    return problem('route.unknown');
  }
  // An empty path is how an absolute URI says `*` (RFC 9112 3.2.4).
  const path = examined.target === '*' ? '' : examined.target;
  return { kind: 'redirect', location: `${httpsUrl(known, publicHttpsPort)}${path}` };
}

function problem(code: HttpErrorCode): Answer {
  return { kind: 'problem', problem: problemOfCode(code, randomUUID(), 'Use https and the name of a pod.') };
}
