import type { Socket } from 'node:net';
import type { Clock } from '../../core/clock.ts';
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
    if (connection.raw.destroyed) return;
    this.#options.counters.closed[reason]++;
    connection.raw.destroy();
  }

  get size(): number {
    return this.#connections.size;
  }

  closeAll(): void {
    for (const raw of this.#connections.keys()) raw.destroy();
  }

  #release(connection: Connection): void {
    const { counts, clock, log, logConnections } = this.#options;
    connection.clearDeadline();
    this.#connections.delete(connection.raw);
    counts.release(connection.info.remoteAddress, connection.admission);
    if (!logConnections) return;
    const { raw, info } = connection;
    log.debug(
      {
        ...info,
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
