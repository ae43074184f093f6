import type { Socket } from 'node:net';
import type { RequestTelemetry } from '../../../telemetry/request-telemetry.ts';
import { acceptOf, expectsContinue } from '../wire/connection-header.ts';
import type { Exchange } from '../exchange/exchange.ts';
import { Http1Response, type Persistence } from './http1-response.ts';
import type { Accepted } from '../exchange/judge.ts';
import { renderProblem } from '../responses/page.ts';
import { noteProblem, type Problem } from '../responses/problem.ts';
import { type BodyReader, createBodyReader, type Framing } from '../wire/body-reader.ts';
import type { RequestHead } from '../wire/head.ts';
import { headText, statusLine } from '../wire/write-head.ts';

/** Bodies up to this size are read and forgotten when their request is refused; else the connection ends with it. */
const DRAINED_BODY_BYTES = 64 * 1024;

/** One request of HTTP/1.1, from its head to the end of its answer. */
export interface CurrentRequest {
  readonly head: RequestHead;
  /** The protocol to change to, or null. */
  readonly upgrade: string | null;
  readonly body: BodyReader;
  /** Its body is too long, or of a length too uncertain, to be read for nothing. */
  readonly isLong: boolean;
  readonly exchange: Exchange | null;
  readonly answer: Http1Response;
  readonly accepted: Accepted | null;
  readonly telemetry: RequestTelemetry;
  readonly release: () => void;
  isBodyDone: boolean;
}

/** One that is not forwarded yet. */
export function newRequest(
  head: RequestHead,
  framing: Framing,
  telemetry: RequestTelemetry,
  socket: Socket,
  connection: Persistence,
): CurrentRequest {
  return {
    head,
    upgrade: null,
    body: createBodyReader(framing),
    isLong: framing.kind === 'chunked' || (framing.kind === 'length' && framing.bytes > DRAINED_BODY_BYTES),
    exchange: null,
    answer: new Http1Response(socket, head, connection),
    accepted: null,
    telemetry,
    release: nothing,
    isBodyDone: framing.kind === 'none',
  };
}

/** The whole of an answer of ours, noted; `connection` learns whether it ends after this. */
export function ownResponse(
  { head, isBodyDone, isLong, telemetry }: CurrentRequest,
  problem: Problem,
  version: string | null,
  connection: Persistence,
): Buffer {
  const { status, headers, body } = renderProblem(problem, acceptOf(head), version);
  noteProblem(telemetry, problem);
  if (head.method !== 'HEAD') telemetry.bytesOut = body.length;
  // Whoever waits for 100 (Continue) may or may not send its body now: only a new connection is clear.
  if (!isBodyDone && (isLong || expectsContinue(head))) connection.endsAfterThis();
  if (status === 400 || status === 421) connection.endsAfterThis();
  const text = headText(statusLine(status), [...headers, ...(connection.keepsAlive ? [] : ['Connection', 'close'])]);
  const bytes = Buffer.from(text, 'latin1');
  return head.method === 'HEAD' ? bytes : Buffer.concat([bytes, body]);
}

function nothing(): void {
  // It holds no place.
}
