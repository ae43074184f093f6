import {
  type HttpMethod,
  IsomorphicFetchHttpLibrary,
  KubeConfig,
  RequestContext,
  type ResponseContext,
} from '@kubernetes/client-node';
import { Agent, type Dispatcher } from 'undici';
import { isAborted, pause } from '../../../../core/abort.ts';
import type { Clock } from '../../../../core/clock.ts';
import { errorCode } from '../../../../core/error-code.ts';
import { errorText, PodgateError } from '../../../../core/errors.ts';
import { openChannels, type OpenedChannels } from './kube-channels.ts';

const DEADLINE_MS = 5_000;
/** Tokens of an account are replaced long before they expire; the kubelet writes new ones about every hour. */
const HEADERS_KEPT_MS = 30_000;
/** Certificates of the API server and of clients are replaced, too. */
const CONNECTIONS_KEPT_MS = 10 * 60_000;
const RETRY_AFTER_DEFAULT_MS = 1_000;

export interface KubeRequest {
  /** The body of a PATCH is a merge patch (RFC 7396). */
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
}

export interface KubeResponse {
  /** 2xx, or what the API server refuses for good: 4xx but 401 and 429. */
  readonly status: number;
  readonly text: string;
  /** By the API server's clock, in whole seconds; null when it did not say. */
  readonly serverTimeMs: number | null;
}

export interface KubeStream {
  readonly status: number;
  readonly serverTimeMs: number | null;
  /** Pieces of text as they arrive; ends when the server ends it, throws when the connection breaks. */
  readonly chunks: AsyncIterable<string>;
}

/**
 * The API server. Everything throws PodgateError 'orchestrator.unavailable' when there is no answer within the deadline,
 * or one that says "not now" or "who are you"; "not now" with a time is waited for, as far as the deadline goes.
 */
export interface KubeApi {
  request(request: KubeRequest, signal: AbortSignal): Promise<KubeResponse>;
  /** The deadline applies to the start of the response only: the reader of the body knows how long a pause may be. */
  stream(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<KubeStream>;
  /** A connection of several channels, such as exec takes, within the same deadline. `received` gets what comes on them. */
  openChannels(
    path: string,
    query: readonly (readonly [string, string])[],
    received: (channel: number, bytes: Buffer) => void,
    signal: AbortSignal,
  ): Promise<OpenedChannels>;
  /** What is open may be dead without anybody having said so: further requests go over new connections. */
  distrustConnections(): void;
  /** By method and the kind of object, for measurements. */
  readonly calls: ReadonlyMap<string, number>;
}

export interface KubeApiOptions {
  readonly config: KubeConfig;
  readonly clock: Clock;
  readonly deadlineMs?: number;
}

/** Who we are and where the API server is: KUBECONFIG when it is given, else the account of the pod we run in. */
export function openKubeConfig(kubeconfig: string | null): KubeConfig {
  const config = new KubeConfig();
  try {
    if (kubeconfig === null) config.loadFromCluster();
    else config.loadFromFile(kubeconfig);
  } catch (error) {
    // Without the error's text, and without the error: they quote the file, which holds secrets.
    const code = errorCode(error) ?? 'it is not a kubeconfig';
    throw new PodgateError('config.invalid', {
      publicMessages: [`KUBECONFIG: the file cannot be read (${code}); set it to a valid file.`],
    });
  }
  if (config.getCurrentCluster() === null) {
    throw new PodgateError('config.invalid', {
      publicMessages: ['KUBECONFIG: its current context has no cluster; correct it.'],
    });
  }
  return config;
}

/**
 * The request layer of the client library, with what it lacks: it opens a new connection for every request, knows no
 * deadline, and its typed client hides the headers that tell the server's time.
 */
export function createKubeApi({ config, clock, deadlineMs = DEADLINE_MS }: KubeApiOptions): KubeApi {
  const http = new IsomorphicFetchHttpLibrary();
  const server = config.getCurrentCluster()?.server.replace(/\/$/, '') ?? '';
  const calls = new Map<string, number>();
  let connections: { readonly dispatcher: Dispatcher; readonly sinceMs: number } | null = null;
  let headers: { readonly all: Readonly<Record<string, string>>; readonly sinceMs: number } | null = null;

  async function authenticated(url: string, method: HttpMethod): Promise<RequestContext> {
    const context = new RequestContext(url, method);
    const nowMs = clock.monotonicMs();
    const areHeadersOld = headers === null || nowMs - headers.sinceMs > HEADERS_KEPT_MS;
    if (areHeadersOld || connections === null || nowMs - connections.sinceMs > CONNECTIONS_KEPT_MS) {
      await config.applySecurityAuthentication(context);
      headers = { all: context.getHeaders(), sinceMs: nowMs };
      if (connections === null || nowMs - connections.sinceMs > CONNECTIONS_KEPT_MS) {
        letGo(connections?.dispatcher);
        connections = { dispatcher: overHttp1(context.getDispatcher() ?? new Agent()), sinceMs: nowMs };
      }
    }
    for (const [name, value] of Object.entries(headers?.all ?? {})) context.setHeaderParam(name, value);
    context.setDispatcher(connections.dispatcher);
    return context;
  }

  async function send(request: KubeRequest, signal: AbortSignal): Promise<ResponseContext> {
    const url = new URL(server + request.path);
    for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.set(name, value);
    count(request);
    const context = await authenticated(url.toString(), request.method);
    context.setHeaderParam('Accept', 'application/json');
    context.setHeaderParam('User-Agent', 'podgate');
    if (request.body !== undefined) {
      context.setHeaderParam(
        'Content-Type',
        request.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
      );
      context.setBody(JSON.stringify(request.body));
    }
    context.setSignal(signal);
    return http.send(context).toPromise();
  }

  function count({ method, path, query }: KubeRequest): void {
    const kind = path.split('/').find((part) => KINDS.has(part)) ?? 'other';
    const name = `${query?.['watch'] === undefined ? method : 'WATCH'} ${/\/(log|exec)$/.exec(path)?.[1] ?? kind}`;
    calls.set(name, (calls.get(name) ?? 0) + 1);
  }

  async function request(wanted: KubeRequest, signal: AbortSignal): Promise<KubeResponse> {
    const deadline = AbortSignal.timeout(deadlineMs);
    const both = AbortSignal.any([signal, deadline]);
    for (;;) {
      try {
        const response = await send(wanted, both);
        const text = await response.body.text();
        const status = response.httpStatusCode;
        if (status < 500 && status !== 429 && status !== 401) {
          return { status, text, serverTimeMs: serverTimeOf(response) };
        }
        if (status === 401) headers = null;
        const waitMs = retryAfterMs(response);
        if (waitMs === null) throw unavailable(wanted, `answers ${status}: ${text.slice(0, 300)}`);
        await pause(waitMs, both);
        if (isAborted(both)) throw unavailable(wanted, `keeps responding with ${status}`);
      } catch (cause) {
        if (cause instanceof PodgateError) throw cause;
        if (deadline.aborted) distrustConnections();
        throw unavailable(wanted, deadline.aborted ? `does not respond within ${deadlineMs} ms` : textOf(cause), cause);
      }
    }
  }

  async function stream(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal) {
    const begun = new AbortController();
    const timer = setTimeout(() => begun.abort(), deadlineMs);
    const wanted: KubeRequest = { method: 'GET', path, query };
    try {
      const response = await send(wanted, AbortSignal.any([signal, begun.signal]));
      clearTimeout(timer);
      if (response.httpStatusCode === 401) headers = null;
      return {
        status: response.httpStatusCode,
        serverTimeMs: serverTimeOf(response),
        chunks: decoded(response.body.stream(), wanted),
      };
    } catch (cause) {
      clearTimeout(timer);
      if (begun.signal.aborted) distrustConnections();
      throw unavailable(wanted, textOf(cause), cause);
    }
  }

  async function open(
    path: string,
    query: readonly (readonly [string, string])[],
    received: (channel: number, bytes: Buffer) => void,
    signal: AbortSignal,
  ): Promise<OpenedChannels> {
    const wanted: KubeRequest = { method: 'GET', path };
    const url = new URL(server + path);
    for (const [name, value] of query) url.searchParams.append(name, value);
    count(wanted);
    try {
      return await openChannels(config, url, deadlineMs, received, signal);
    } catch (cause) {
      throw unavailable(wanted, textOf(cause), cause);
    }
  }

  function distrustConnections(): void {
    letGo(connections?.dispatcher);
    connections = null;
  }

  return { request, stream, openChannels: open, distrustConnections, calls };
}

const KINDS = new Set(['pods', 'services', 'secrets', 'persistentvolumeclaims', 'networkpolicies']);

/**
 * HTTP/2 has every call on one connection. When many calls are aborted at once, an API server of 1.34 closes it with
 * ENHANCE_YOUR_CALM, which cuts every watch, and undici (8.12 and 8.13) throws the error of an aborted stream where nothing
 * can catch it (ClientDestroyedError, ERR_HTTP2_SESSION_ERROR). Over HTTP/1.1, an abort ends its own connection alone.
 */
function overHttp1(dispatcher: Dispatcher): Dispatcher {
  return dispatcher.compose((dispatch) => (options, handler) => {
    const http1: Dispatcher.DispatchOptions & { readonly allowH2: false } = { ...options, allowH2: false };
    return dispatch(http1, handler);
  });
}

/** Those that are in use end first. */
function letGo(dispatcher: Dispatcher | undefined): void {
  dispatcher?.close().catch(() => undefined);
}

async function* decoded(stream: ReadableStream<Uint8Array> | null, request: KubeRequest): AsyncGenerator<string> {
  if (stream === null) return;
  const decoder = new TextDecoder();
  try {
    for await (const chunk of stream) yield decoder.decode(chunk, { stream: true });
  } catch (cause) {
    throw unavailable(request, textOf(cause), cause);
  }
}

function serverTimeOf(response: ResponseContext): number | null {
  const ms = Date.parse(response.headers['date'] ?? '');
  return Number.isNaN(ms) ? null : ms;
}

/** Null: it does not say that the same request is welcome later. */
function retryAfterMs(response: ResponseContext): number | null {
  const seconds = Number(response.headers['retry-after']);
  if (Number.isFinite(seconds)) return Math.max(RETRY_AFTER_DEFAULT_MS / 4, seconds * 1_000);
  return response.httpStatusCode === 429 ? RETRY_AFTER_DEFAULT_MS : null;
}

function unavailable({ method, path }: KubeRequest, why: string, cause?: unknown): PodgateError {
  return new PodgateError('orchestrator.unavailable', { detail: `the API server (${method} ${path}) ${why}`, cause });
}

/** fetch says "fetch failed", and why in the cause. */
function textOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error ? `${errorText(error)}: ${cause.message}` : errorText(error);
}
