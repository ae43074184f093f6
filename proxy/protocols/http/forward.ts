import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { errorCode, isConnectionRefused, refusedPauseMs } from './dial.ts';
import { isFinalStatus, reasonPhrase, responseHeaders } from './headers.ts';
import { RequestBody } from './request-body.ts';
import type { Upstream } from './upstream-pools.ts';

export interface Forwarding {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly upstream: Upstream;
  readonly target: string;
  /** Flat name, value list, ready to be sent. */
  readonly headers: string[];
  readonly hasBody: boolean;
  /** Nothing of an answer was passed on: the caller answers with a page. `code` is the system's or undici's. */
  readonly onUnreachable: (code: string) => void;
  /** An answer broke off midway; the client's connection is reset, as the only way to tell it. */
  readonly onBroken: (code: string) => void;
}

/** RFC 9110 9.2.2. TRACE never gets here. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'QUERY']);

/**
 * Passes one request on over a kept connection and its answer back, piece by piece: neither side is read faster than the
 * other takes it.
 */
export function forward(forwarding: Forwarding): void {
  new Exchange(forwarding).start();
}

class Exchange implements Dispatcher.DispatchHandler {
  readonly #forwarding: Forwarding;
  #controller: Dispatcher.DispatchController | null = null;
  #retryTimer: NodeJS.Timeout | null = null;
  #refusals = 0;
  #repeated = false;
  #bodyBegun = false;
  #gone = false;

  constructor(forwarding: Forwarding) {
    this.#forwarding = forwarding;
  }

  start(): void {
    const { response } = this.#forwarding;
    // 'close' comes after every answer too; an answer that was written whole needs nothing.
    response.once('close', () => {
      this.#gone = true;
      if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
      if (!response.writableFinished) this.#controller?.abort(new Error('the client went away'));
    });
    this.#attempt();
  }

  #attempt(): void {
    const { request, upstream, target, headers, hasBody } = this.#forwarding;
    this.#controller = null;
    try {
      upstream.pool.dispatch(
        {
          method: request.method ?? 'GET',
          path: target,
          headers,
          body: hasBody ? new RequestBody(request) : null,
        },
        this,
      );
    } catch (error) {
      this.#fail(errorCode(error));
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#gone) controller.abort(new Error('the client went away'));
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: unknown,
    reason: string | undefined,
  ): void {
    const { response } = this.#forwarding;
    if (this.#gone) return;
    const headers = responseHeaders(textOf(controller.rawHeaders));
    if (status < 200) {
      if (status < 100) controller.abort(new Error('an answer with an impossible status'));
      else if (this.#forwarding.request.httpVersion !== '1.0') response.writeInformation(status, headers);
      return;
    }
    if (!isFinalStatus(status)) {
      controller.abort(new Error('an answer with an impossible status'));
      return;
    }
    response.writeHead(status, reasonPhrase(reason), headers);
    // An event stream's head must arrive before its first event; mostly the first piece of the body comes along with it,
    // and then one write does for both.
    queueMicrotask(() => {
      if (!this.#bodyBegun && !response.writableEnded && !response.destroyed) response.flushHeaders();
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bodyBegun = true;
    if (this.#forwarding.response.write(chunk)) return;
    controller.pause();
    this.#forwarding.response.once('drain', () => controller.resume());
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    const { response } = this.#forwarding;
    const trailers = responseHeaders(textOf(controller.rawTrailers));
    if (trailers.length > 0) response.addTrailers(pairs(trailers));
    response.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const { request, response, upstream, hasBody } = this.#forwarding;
    if (this.#gone) return;
    if (response.headersSent) {
      this.#forwarding.onBroken(errorCode(error));
      response.destroy();
      return;
    }
    if (this.#controller === null) {
      // Not a byte was sent. A refusal right after "ready" passes.
      const pauseMs = refusedPauseMs(this.#refusals);
      if (isConnectionRefused(error) && performance.now() + pauseMs < upstream.retryUntilMs) {
        this.#refusals += 1;
        this.#retryTimer = setTimeout(() => this.#attempt(), pauseMs);
        return;
      }
    } else if (!this.#repeated && !hasBody && IDEMPOTENT.has(request.method ?? '') && isClosed(error)) {
      // Most likely a kept connection that the pod closed at this very moment.
      this.#repeated = true;
      this.#attempt();
      return;
    }
    this.#fail(errorCode(error));
  }

  #fail(code: string): void {
    // What is left of a body is read and forgotten, so that the client gets round to reading its answer.
    this.#forwarding.request.resume();
    this.#forwarding.onUnreachable(code);
  }
}

function isClosed(error: Error): boolean {
  return ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(errorCode(error));
}

/** undici gives header fields as bytes; header fields are latin1 (RFC 9110 5.5). */
function textOf(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((part: Buffer | string) => (typeof part === 'string' ? part : part.toString('latin1')));
}

function pairs(flat: readonly string[]): [string, string][] {
  const result: [string, string][] = [];
  for (let index = 0; index + 1 < flat.length; index += 2) result.push([flat[index] ?? '', flat[index + 1] ?? '']);
  return result;
}
