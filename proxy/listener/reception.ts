import type { Socket } from 'node:net';
import type { Clock } from '../../core/clock.ts';
import type { RefusalCode } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { ClosedReason, Counters } from '../counters.ts';
import type { ConnectionCounts } from '../limits/connection-counts.ts';
import { Connection, plainAddress } from './connection.ts';

export interface ReceptionOptions {
  readonly counts: ConnectionCounts;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly log: Logger;
  /** One line at debug level for each connection, when it closes. */
  readonly logConnections: boolean;
}

/** Gives every accepted socket its place and takes it back, both here and nowhere else. */
export class Reception {
  readonly #options: ReceptionOptions;
  readonly #connections = new Map<Socket, Connection>();

  constructor(options: ReceptionOptions) {
    this.#options = options;
  }

  /** Null when there is no place: then the socket is closed already. */
  receive(raw: Socket): Connection | null {
    const { counts, counters, clock } = this.#options;
    counters.accepted++;
    // Errors are followed by 'close', and are everyday: resets, timeouts.
    raw.on('error', ignore);
    const address = plainAddress(raw.remoteAddress);
    if (address === null) {
      raw.destroy();
      return null;
    }
    const admission = counts.admit(address);
    if (admission === 'none') {
      counters.closed['too-many-connections']++;
      raw.resetAndDestroy();
      return null;
    }
    const connection = new Connection(raw, address, admission, clock.monotonicMs());
    this.#connections.set(raw, connection);
    raw.once('close', () => this.#release(connection));
    return connection;
  }

  find(raw: Socket): Connection | undefined {
    return this.#connections.get(raw);
  }

  /** Closes without an answer. The first reason counts. */
  close(connection: Connection, reason: ClosedReason): void {
    if (connection.closedFor === null) {
      connection.closedFor = reason;
      this.#options.counters.closed[reason]++;
    }
    connection.raw.destroy();
  }

  /** Notes a refusal that is about to be said in words. */
  refused(connection: Connection, code: RefusalCode): void {
    connection.refusedFor = code;
    this.#options.counters.refused[code]++;
  }

  get size(): number {
    return this.#connections.size;
  }

  closeAll(): void {
    for (const raw of this.#connections.keys()) raw.destroy();
  }

  #release(connection: Connection): void {
    const { counts, counters, clock, log, logConnections } = this.#options;
    connection.clearDeadline();
    if (connection.closedFor === null && connection.phase !== 'served') {
      counters.closed[connection.phase === 'sniffing' ? 'ended-early' : 'tls-failed']++;
    }
    this.#connections.delete(connection.raw);
    counts.release(connection.info.remoteAddress, connection.admission);
    if (!logConnections) return;
    const { raw, info, refusedFor, closedFor } = connection;
    log.debug(
      {
        ...info,
        refusedFor,
        closedFor,
        bytesRead: raw.bytesRead,
        bytesWritten: raw.bytesWritten,
        durationMs: Math.round(clock.monotonicMs() - connection.acceptedMs),
      },
      'connection closed',
    );
  }
}

function ignore(): void {
  // See above.
}
