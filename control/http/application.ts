import type { IncomingMessage, RequestListener, ServerOptions } from 'node:http';
import type { Duplex } from 'node:stream';

import Router from '@koa/router';
import Koa from 'koa';

import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Authenticator } from '../auth/authenticator.ts';
import type { Listener } from './client-address.ts';
import { corsFor, type CorsOptions } from './cors.ts';
import { exchange } from './exchange.ts';
import { type CallLimits, CallAdmission, DEFAULT_CALL_LIMITS } from './limits/call-admission.ts';
import { FairTurns } from './limits/fair-turns.ts';
import { type RateLimit, RatePerAddress } from './limits/rate-per-address.ts';
import { DEFAULT_SLOW_READER_LIMITS, type SlowReaderLimits, SlowReaders } from './limits/slow-readers.ts';
import { DEFAULT_OPERATION_LIMITS, type Operation, type OperationLimits } from './operation.ts';
import { type Pages, servePages } from './pages.ts';
import { type ReservedIds, reservedPaths } from './reserved-paths.ts';
import { bySpecificity, routerPath } from './path-patterns.ts';
import { serve } from './serve.ts';
import { serverOptionsFor } from './server-options.ts';
import type { SessionReader } from './session-reader.ts';
import { isWebSocketRequest, Upgrades } from './upgrade.ts';

const DEFAULT_FAILED_LOGINS: RateLimit = { perMinute: 120, burst: 120 };
/** A client that is refused again and again leaves a line every two seconds. */
const REFUSED_LOG_LINES: RateLimit = { perMinute: 30, burst: 60 };

export interface ApplicationOptions {
  readonly authenticator: Authenticator;
  /** Said in every envelope. */
  readonly version: string;
  readonly reserved: ReservedIds;
  /** Web pages of other origins that may use the API. Default: none. */
  readonly cors?: CorsOptions | null;
  /** What calls may hold at a time. Default: DEFAULT_CALL_LIMITS. */
  readonly calls?: CallLimits;
  /** Of operations that state none of their own. Default: DEFAULT_OPERATION_LIMITS. */
  readonly operationLimits?: OperationLimits;
  readonly slowReaders?: SlowReaderLimits;
  /** Sessions that calls may hold in place of a token. Default: none. */
  readonly sessions?: SessionReader;
  /** Files served beside the operations. Default: none. */
  readonly pages?: Pages;
  /** 401s an address gets; further ones are 429. */
  readonly failedLogins?: RateLimit;
  /** Host names under which the control port is asked; lower case. */
  readonly controlHosts: ReadonlySet<string>;
  readonly monotonicMs: () => number;
  readonly log: Logger;
}

type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** What the application knows of itself. */
export interface ApplicationNumbers {
  /** In progress. */
  readonly calls: number;
  /** Held by them. */
  readonly bytes: number;
  /** Pieces of work that wait for their turn. */
  readonly waiting: number;
  /** Refused so far, by the limit that was reached (a closed set). */
  readonly refused: Readonly<Record<string, number>>;
  /** Clients disconnected so far because they took their response too slowly. */
  readonly slowReaders: number;
  /** Connections that have become WebSockets and are open. */
  readonly webSockets: number;
}

export interface Application {
  /** For a server made with `serverOptions`; its 'clientError' is answerClientError's. */
  readonly listenerFor: (listener: Listener) => RequestListener;
  readonly upgrades: {
    /** For the event 'upgrade' of a server made with `serverOptions`, which destroys such connections otherwise. */
    readonly listenerFor: (listener: Listener) => UpgradeListener;
    /** Ends the connections that have become WebSockets: their server does not know them any more. */
    readonly close: () => void;
  };
  readonly serverOptions: ServerOptions;
  readonly numbers: () => ApplicationNumbers;
}

/** Serves operations under `/v3` and without it, whatever they are about. It opens nothing. */
export function createApplication(operations: readonly Operation[], options: ApplicationOptions): Application {
  const { authenticator, log, version, controlHosts, monotonicMs } = options;
  const defaults = options.operationLimits ?? DEFAULT_OPERATION_LIMITS;
  const upgrades = new Upgrades();
  const serving = {
    ...{ authenticator, limits: defaults, version, upgrades },
    ...(options.sessions === undefined ? {} : { sessions: options.sessions }),
  };
  const router = new Router({ sensitive: true });
  for (const operation of operations.toSorted(bySpecificity)) {
    const methods = operation.methods.map((method) => method.toUpperCase());
    const route = router.register(routerPath(operation.path), methods, serve(operation, serving));
    // The router adds HEAD to every GET.
    if (operation.getActs === true && 'methods' in route) {
      route.methods = route.methods.filter((method) => method !== 'HEAD');
    }
  }

  const admission = new CallAdmission(options.calls ?? DEFAULT_CALL_LIMITS);
  const turns = new FairTurns();
  const slowReaders = new SlowReaders(options.slowReaders ?? DEFAULT_SLOW_READER_LIMITS);
  const shared = {
    ...{ log, version, admission, turns, slowReaders, controlHosts, monotonicMs },
    failedLogins: new RatePerAddress(options.failedLogins ?? DEFAULT_FAILED_LOGINS),
    logLines: new RatePerAddress(REFUSED_LOG_LINES),
  };
  const handlers = new Map<Listener, RequestListener>();
  const handlerFor = (listener: Listener): RequestListener => {
    const made = handlers.get(listener);
    if (made !== undefined) return made;
    const app = new Koa();
    if (options.cors !== undefined && options.cors !== null) app.use(corsFor(options.cors));
    app.use(exchange({ ...shared, listener }));
    if (options.pages !== undefined) app.use(servePages(options.pages));
    app.use(reservedPaths(operations, options.reserved));
    app.use(router.routes());
    app.use(router.allowedMethods());
    // What is left over is a connection that broke while the response was on its way.
    app.on('error', (error: unknown) => log.debug({ error: errorText(error) }, 'failed to deliver a response'));
    const handle = app.callback();
    const handler: RequestListener = (request, response) => void handle(request, response);
    handlers.set(listener, handler);
    return handler;
  };
  return {
    listenerFor: handlerFor,
    upgrades: {
      listenerFor: (listener) => upgrades.listener(handlerFor(listener)),
      close: () => upgrades.close(),
    },
    serverOptions: {
      ...serverOptionsFor(operations.map(({ limits }) => ({ ...defaults, ...limits }))),
      // Others are answered as if they had not asked for another protocol.
      shouldUpgradeCallback: isWebSocketRequest,
    },
    numbers: () => ({
      calls: admission.calls,
      bytes: admission.bytes,
      waiting: turns.waiting,
      refused: admission.refused(),
      slowReaders: slowReaders.disconnected,
      webSockets: upgrades.count,
    }),
  };
}
