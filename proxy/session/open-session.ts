import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../core/clock.ts';
import type { RefusalCode } from '../../core/errors.ts';
import type { Backend } from '../../core/route.ts';
import type { Counters } from '../counters.ts';
import type { ConnectionCounts } from '../limits/connection-counts.ts';
import type { Connection } from '../listener/connection.ts';
import { locate } from '../policy/locate.ts';
import type { RouteTable } from '../routes/route-table.ts';
import { dialBackend } from './dial.ts';
import { splice } from './splice.ts';

export interface SessionOptions {
  readonly table: RouteTable;
  readonly isStale: () => boolean;
  readonly counts: ConnectionCounts;
  readonly counters: Counters;
  readonly clock: Clock;
}

/** Something that listens to a session from its first byte; called right before bytes are passed on. */
export type SessionWatcher = (backend: Socket) => void;

/**
 * Dials the pod behind `host` and passes bytes both ways from then on; or calls `refuse`, before any byte was passed
 * on. What the client has sent so far must be in its socket: it is the first that the pod gets.
 */
export function openSession(
  connection: Connection,
  client: TLSSocket,
  host: string,
  options: SessionOptions,
  refuse: (code: RefusalCode) => void,
  watch?: SessionWatcher,
): void {
  const { table, isStale, counts, counters, clock } = options;
  const locateNow = (): Backend | RefusalCode => locate(table.get(host), connection.info.remoteAddress, isStale());
  const first = locateNow();
  if (typeof first === 'string') {
    refuse(first);
    return;
  }
  const { uid } = first;
  if (!counts.acquirePod(uid)) {
    refuse('route.full');
    return;
  }
  let isHeld = true;
  const release = (): void => {
    if (isHeld) counts.releasePod(uid);
    isHeld = false;
  };
  client.once('close', release);
  // The dial has its own deadline, a session none.
  connection.clearDeadline();
  const locateSamePod = (): Backend | RefusalCode => {
    const backend = locateNow();
    // The place was taken with one pod; another of the same name is for the client's next try.
    return typeof backend === 'string' || backend.uid === uid ? backend : 'route.unreachable';
  };
  dialBackend(client, locateSamePod, clock, (dialled) => {
    if (dialled.kind === 'refused') {
      release();
      refuse(dialled.code);
    } else if (dialled.kind === 'connected') {
      counters.sessions++;
      watch?.(dialled.backend);
      splice(client, dialled.backend, (end) => counters.ended[end]++);
    }
  });
}
