import type { Socket } from 'node:net';
import type { Clock } from '../../core/clock.ts';
import type { RefusalCode } from '../../core/errors.ts';
import type { Backend, Route } from '../../core/route.ts';
import type { Counters } from '../telemetry/counters.ts';
import type { SessionEnd } from '../connection/ends.ts';
import type { Goodbyes } from '../goodbye/goodbye.ts';
import type { ConnectionCounts } from '../limits/connection-counts.ts';
import { noteEnd } from '../bytes/note-end.ts';
import type { Hold, Holds } from '../dial/holds.ts';
import { podPlacesOf, type PodPlaces } from '../limits/pod-places.ts';
import type { Connection } from '../connection/connection.ts';
import { locate } from '../policy/locate.ts';
import type { TlsEnd } from '../policy/policies.ts';
import { introduceClient } from '../proxy-protocol/introduce-client.ts';
import type { RouteTable } from '../routes/route-table.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { PodUses } from '../use/pod-uses.ts';
import { type SessionUse, TrafficUse, type UseObserver } from '../use/session-use.ts';
import { dialBackend, type NotYet } from './dial-backend.ts';
import type { RunningSessions } from './running-sessions.ts';
import { type Observer, splice, type SpliceOptions } from './splice.ts';

export interface SessionOptions {
  readonly table: RouteTable;
  readonly sessions: Pick<RunningSessions, 'add'>;
  readonly isStale: () => boolean;
  readonly counts: ConnectionCounts;
  readonly counters: Counters;
  readonly holds: Holds;
  readonly uses: PodUses;
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
  /** Observes whether the session uses a pod that may sleep. Default: every byte is use. */
  readonly observe?: (use: SessionUse) => UseObserver;
  /** How the client waits for a pod that wakes. */
  readonly waits?: {
    /** How long it can, at most. Default: as long as the pod's owner allows. */
    readonly mostMs?: number;
    /** One that ends its side is gone. Default: it may still wait for what the pod says. */
    readonly leavesByEnd?: boolean;
  };
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
  if (typeof first === 'string' && first !== 'waking') {
    refuse(first);
    return;
  }
  const { uid } = route;
  // From the very moment at which it was located: nothing must be put to sleep between that and its session.
  const use = route.sleep === undefined ? null : options.uses.session(uid);
  if (use !== null) {
    use.set('waiting', true);
    client.once('close', () => use.end());
  }
  const places = podPlacesOf(route, connection.info.remoteAddress);
  // The dial has its own deadline, a session none.
  connection.clearDeadline();
  counts.acquirePod(places, (full) => {
    if (full !== null) {
      use?.end();
      if (!client.destroyed) refuse(full);
    } else if (client.destroyed) {
      use?.end();
      counts.releasePod(places);
    } else openOnPlace(connection, client, host, { uid, places, use }, options, refuse, steps);
  });
}

/** Has a place at the pod. */
function openOnPlace(
  connection: Connection,
  client: Socket,
  host: string,
  { uid, places, use }: { readonly uid: string; readonly places: PodPlaces; readonly use: SessionUse | null },
  options: SessionOptions,
  refuse: (code: RefusalCode) => void,
  { tlsEnd = 'gateway', greet, watch, goodbyes, observe = trafficOf, waits = {} }: SessionSteps,
): void {
  const { table, sessions, isStale, counts, counters, clock, telemetry, halfClosedMs } = options;
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
    use?.end();
    refuse(code);
  };
  client.once('close', release);
  let hold: Hold | null = null;
  const waitFor = (sleeping: Route): NotYet => {
    hold ??= options.holds.of(connection.info.remoteAddress, waits.mostMs, use !== null);
    const held = hold;
    return {
      kind: 'not-yet',
      async whenChanged(signal) {
        const forget = waits.leavesByEnd === true ? noteEnd(client, () => client.destroy()) : nothing;
        try {
          return await held.whenChanged(sleeping, signal);
        } finally {
          forget();
        }
      },
    };
  };
  const locateSamePod = (): Backend | RefusalCode | NotYet => {
    const present = table.get(host);
    const backend = locate(present, connection.info, isStale(), tlsEnd);
    // The place was taken with one pod; another of the same name is for the client's next try.
    if (present !== undefined && present.uid !== uid && typeof backend !== 'string') return 'route.unreachable';
    if (backend !== 'waking') return backend;
    return present?.uid === uid ? waitFor(present) : 'route.unreachable';
  };
  void dialBackend(client, locateSamePod).then((dialed) => {
    if (hold !== null && session !== null) session.heldMs = hold.heldMs;
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
    if (typeof backend === 'string') return backend;
    // Its pod has begun to sleep: what was said on this connection cannot be said again.
    return 'kind' in backend ? 'route.starting' : null;
  }

  function begin(backend: Socket): void {
    if (session !== null) telemetry.sessionConnected(session, backend, connection);
    const watching = watch?.(backend) ?? null;
    const observer: Observer = (bytes) => {
      if (session !== null) session.firstByteMs ??= clock.monotonicMs();
      return watching?.(bytes) ?? false;
    };
    use?.set('waiting', false);
    const observing = use === null ? { observer } : observeBoth(observe(use), observer);
    const cut = splice(client, backend, ended, { halfClosedMs, ...observing, goodbyes: goodbyes?.() ?? null });
    forget = sessions.add({ host, uid, identity: connection.info, tlsEnd, isObserved: use !== null, cut });
  }

  function ended(end: SessionEnd): void {
    forget();
    counters.ended[end]++;
    if (session !== null) session.end = end;
  }
}

/** Both directions, beside what observes the backend's for a while. */
function observeBoth(use: UseObserver, observer: Observer): Pick<SpliceOptions, 'observer' | 'clientObserver'> {
  let isObserved = true;
  return {
    observer: (bytes) => {
      use.server(bytes);
      if (isObserved) isObserved = observer(bytes);
      return true;
    },
    clientObserver: (bytes) => {
      use.client(bytes);
      return true;
    },
  };
}

function trafficOf(use: SessionUse): UseObserver {
  return new TrafficUse(use);
}

function nothing(): void {
  // No session has begun.
}
