import type { Socket } from 'node:net';
import type { Clock } from '../../core/clock.ts';
import type { RefusalCode } from '../../core/errors.ts';
import type { Backend } from '../../core/route.ts';
import type { Counters } from '../telemetry/counters.ts';
import type { SessionEnd } from '../connection/ends.ts';
import type { Goodbyes } from '../goodbye/goodbye.ts';
import type { ConnectionCounts } from '../limits/connection-counts.ts';
import { podPlacesOf, type PodPlaces } from '../limits/pod-places.ts';
import type { Connection } from '../connection/connection.ts';
import { locate } from '../policy/locate.ts';
import type { TlsEnd } from '../policy/policies.ts';
import { introduceClient } from '../proxy-protocol/introduce-client.ts';
import type { RouteTable } from '../routes/route-table.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { dialBackend } from './dial-backend.ts';
import type { RunningSessions } from './running-sessions.ts';
import { type Observer, splice } from './splice.ts';

export interface SessionOptions {
  readonly table: RouteTable;
  readonly sessions: Pick<RunningSessions, 'add'>;
  readonly isStale: () => boolean;
  readonly counts: ConnectionCounts;
  readonly counters: Counters;
  readonly telemetry: Pick<Telemetry, 'sessionBegan' | 'sessionConnected'>;
  readonly clock: Clock;
  /** See splice. */
  readonly halfClosedMs: number;
}

/** What a protocol does besides. */
export interface SessionSteps {
  /** Where the client's TLS ends. Default: here. */
  readonly tlsEnd?: TlsEnd;
  /**
   * Says to the pod what it has to hear before the client's first byte; `done` is called once, with why the pod cannot be
   * used, or null. A client that goes away meanwhile has the backend destroyed.
   */
  readonly greet?: (backend: Socket, done: (problem: RefusalCode | null) => void) => void;
  /** Returns what observes the backend's bytes, from the first one; called right before bytes are passed on. */
  readonly watch?: (backend: Socket) => Observer | null;
  /** See splice. Default: there is none. */
  readonly goodbyes?: () => Goodbyes;
}

/**
 * Dials the pod behind `host` and passes bytes both ways from then on, after a PROXY header where the pod wants one; or
 * calls `refuse`, before any byte of the client was passed on. What the client has sent so far must be in its socket: it
 * is the first that the pod gets.
 */
export function openSession(
  connection: Connection,
  client: Socket,
  host: string,
  options: SessionOptions,
  refuse: (code: RefusalCode) => void,
  steps: SessionSteps = {},
): void {
  const { table, isStale, counts } = options;
  const route = table.get(host);
  if (route === undefined) {
    refuse('route.unknown');
    return;
  }
  const first = locate(route, connection.info, isStale(), steps.tlsEnd ?? 'gateway');
  if (typeof first === 'string') {
    refuse(first);
    return;
  }
  const { uid } = first;
  const places = podPlacesOf(route, connection.info.remoteAddress);
  // The dial has its own deadline, a session none.
  connection.clearDeadline();
  counts.acquirePod(places, (full) => {
    if (full !== null) {
      if (!client.destroyed) refuse(full);
    } else if (client.destroyed) counts.releasePod(places);
    else openOnPlace(connection, client, host, { uid, places }, options, refuse, steps);
  });
}

/** Has a place at the pod. */
function openOnPlace(
  connection: Connection,
  client: Socket,
  host: string,
  { uid, places }: { readonly uid: string; readonly places: PodPlaces },
  options: SessionOptions,
  refuse: (code: RefusalCode) => void,
  { tlsEnd = 'gateway', greet, watch, goodbyes }: SessionSteps,
): void {
  const { table, sessions, isStale, counts, counters, clock, telemetry, halfClosedMs } = options;
  const locateNow = (): Backend | RefusalCode => locate(table.get(host), connection.info, isStale(), tlsEnd);
  const route = table.get(host);
  const session = route === undefined ? null : telemetry.sessionBegan(route);
  connection.session = session;
  let forget = nothing;
  let isHeld = true;
  const release = (): void => {
    if (isHeld) counts.releasePod(places);
    isHeld = false;
  };
  const giveUp = (code: RefusalCode): void => {
    release();
    refuse(code);
  };
  client.once('close', release);
  const locateSamePod = (): Backend | RefusalCode => {
    const backend = locateNow();
    // The place was taken with one pod; another of the same name is for the client's next try.
    return typeof backend === 'string' || backend.uid === uid ? backend : 'route.unreachable';
  };
  void dialBackend(client, locateSamePod).then((dialed) => {
    if (dialed.kind === 'refused') giveUp(dialed.code);
    else if (dialed.kind === 'connected') greetAndBegin(dialed.backend);
  });

  function greetAndBegin(backend: Socket): void {
    const route = table.get(host);
    const introduction = route === undefined ? null : introduceClient(route, connection.info, client);
    if (introduction !== null) backend.write(introduction);
    if (greet === undefined) begin(backend);
    else {
      greet(backend, (problem) => {
        // The route may have changed meanwhile; from here on it is looked at with every change.
        const code = problem ?? refusalNow();
        if (code === null) begin(backend);
        else {
          backend.destroy();
          giveUp(code);
        }
      });
    }
  }

  function refusalNow(): RefusalCode | null {
    const backend = locateSamePod();
    return typeof backend === 'string' ? backend : null;
  }

  function begin(backend: Socket): void {
    if (session !== null) telemetry.sessionConnected(session, backend, connection);
    const watching = watch?.(backend) ?? null;
    const observer: Observer = (bytes) => {
      if (session !== null) session.firstByteMs ??= clock.monotonicMs();
      return watching?.(bytes) ?? false;
    };
    const cut = splice(client, backend, ended, { halfClosedMs, observer, goodbyes: goodbyes?.() ?? null });
    forget = sessions.add({ host, uid, identity: connection.info, tlsEnd, cut });
  }

  function ended(end: SessionEnd): void {
    forget();
    counters.ended[end]++;
    if (session !== null) session.end = end;
  }
}

function nothing(): void {
  // No session has begun.
}
