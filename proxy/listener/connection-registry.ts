import type { Socket } from 'node:net';
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { PodNetwork } from '../../core/pod-network.ts';
import type { Route } from '../../core/route.ts';
import type { Counters } from '../telemetry/counters.ts';
import type { ClosedReason } from '../connection/ends.ts';
import type { ConnectionCounts } from '../limits/connection-counts.ts';
import { plainAddress } from '../socket/plain-address.ts';
import type { Introductions } from '../proxy-protocol/introduction.ts';
import type { Refusal } from '../connection/refusal.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { descriptorOf } from '../socket/descriptor-of.ts';
import { readTcpState, type TcpState } from '../socket/tcp-state.ts';
import { Connection } from '../connection/connection.ts';

export interface ConnectionRegistryOptions {
  readonly counts: ConnectionCounts;
  readonly counters: Counters;
  readonly telemetry: Pick<Telemetry, 'connectionRefused' | 'connectionEnded'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** One line at debug level for each connection, when it closes. */
  readonly logConnections: boolean;
  /** Null = nobody is trusted to send PROXY headers. */
  readonly introductions: Introductions | null;
  /** How long a PROXY header may take, and how many may be waited for at a time. */
  readonly introductionMs: number;
  readonly maxUnintroduced: number;
}

interface Client {
  readonly address: string;
  readonly port: number;
  readonly isProbe: boolean;
  /** What its place is counted for: its address, or the pod that it comes from. */
  readonly countedFor: string;
}

/** Gives every accepted socket its place and takes it back, both here and nowhere else. */
export class ConnectionRegistry {
  readonly #options: ConnectionRegistryOptions;
  readonly #connections = new Map<Socket, Connection>();
  /** Those that may still be on their way to a session, the oldest first. */
  readonly #attempts = new Set<Connection>();
  /** Sockets whose PROXY header has not come yet. */
  readonly #unintroduced = new Set<Socket>();
  /** Sockets whose place has been asked for. */
  readonly #admitting = new Set<Socket>();
  #complainedMs = -Infinity;

  constructor(options: ConnectionRegistryOptions) {
    this.#options = options;
  }

  /**
   * `network`: the pod's from inside which the connection comes; it counts for that pod then, since all of them have the
   * same address. Calls back once it is known whose connection it is, at once for most; never when there is no place for it.
   */
  receive(raw: Socket, network: PodNetwork | null, onReceived: (connection: Connection) => void): void {
    const { counters, introductions } = this.#options;
    counters.accepted++;
    // Resets and timeouts are common, and a plain socket is closed after each. (One of TLS is, too: see TlsTerminator.)
    raw.on('error', ignore);
    const address = plainAddress(raw.remoteAddress);
    if (address === null) raw.destroy();
    else if (network !== null) {
      const countedFor = `from pod ${network.uid}`;
      this.#admit(raw, { address, port: raw.remotePort ?? 0, isProbe: false, countedFor }, onReceived);
    } else if (introductions?.isTrusted(address) === true) this.#introduce(introductions, raw, address, onReceived);
    else {
      const port = raw.remotePort ?? 0;
      this.#admit(raw, { address, port, isProbe: false, countedFor: address }, onReceived);
    }
  }

  #introduce(
    introductions: Introductions,
    raw: Socket,
    sender: string,
    onReceived: (connection: Connection) => void,
  ): void {
    const { counters, introductionMs, maxUnintroduced } = this.#options;
    if (this.#unintroduced.size >= maxUnintroduced) {
      counters.closed['too-many-connections']++;
      counters.limited['proxy-header']++;
      raw.resetAndDestroy();
      return;
    }
    this.#unintroduced.add(raw);
    let isLate = false;
    const late = setTimeout(() => {
      isLate = true;
      raw.destroy();
    }, introductionMs);
    introductions.read(raw, sender, (introduced) => {
      clearTimeout(late);
      this.#unintroduced.delete(raw);
      if (introduced.kind === 'introduced') {
        const { address, port } = introduced.client ?? { address: sender, port: raw.remotePort ?? 0 };
        this.#admit(raw, { address, port, isProbe: introduced.isProbe, countedFor: address }, onReceived);
        return;
      }
      const reason = isLate ? 'deadline' : introduced.kind === 'probed' ? 'probe' : 'proxy-header';
      counters.closed[reason]++;
      if (introduced.kind === 'refused') this.#complain({ sender, reason: introduced.reason }, BAD_HEADER);
      raw.destroy();
    });
  }

  #admit(raw: Socket, client: Client, onReceived: (connection: Connection) => void): void {
    const { counts, counters, clock } = this.#options;
    const { countedFor } = client;
    if (counts.lacksRoom(countedFor)) this.#pushOut();
    this.#admitting.add(raw);
    counts.admit(countedFor, (admission) => {
      this.#admitting.delete(raw);
      if (admission === 'none') {
        counters.closed['too-many-connections']++;
        raw.resetAndDestroy();
      } else if (raw.destroyed) counts.release(countedFor, admission);
      else {
        const acceptedMs = clock.monotonicMs();
        const connection = new Connection({ raw, ...client, admission, acceptedMs });
        this.#connections.set(raw, connection);
        if (admission === 'admitted') this.#attempts.add(connection);
        raw.once('close', () => this.#release(connection));
        onReceived(connection);
      }
    });
  }

  /**
   * A flood of connections that come no further must not keep others out: the oldest of them makes room.
   * Genuine handshakes finish before they become the oldest.
   */
  #pushOut(): void {
    for (const connection of this.#attempts) {
      // Whatever became of it since is seen here, once.
      this.#attempts.delete(connection);
      if (connection.phase === 'served' || connection.isReleased) continue;
      this.close(connection, 'pushed-out');
      this.#giveBack(connection);
      return;
    }
  }

  #giveBack(connection: Connection): void {
    if (connection.isReleased) return;
    connection.isReleased = true;
    this.#options.counts.release(connection.countedFor, connection.admission);
  }

  /** Closes sessions in which nothing has moved for longer than `idleMs`. To be called now and then. */
  closeIdle(idleMs: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const connection of this.#connections.values()) {
      const { backend = null } = connection.session ?? connection.egress ?? {};
      if (backend === null) continue;
      const moved = backend.bytesRead + backend.bytesWritten;
      if (connection.idle.isStalled(nowMs, true, moved, { limitMs: idleMs, least: 1 })) this.close(connection, 'idle');
    }
  }

  /**
   * Finds out who is gone. A socket that is not read from, because its end was read or its session is full, is one that
   * the event loop does not watch: neither the failure of keep-alive nor a reset shows until something is written. To be
   * called now and then.
   */
  probe(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const connection of this.#connections.values()) {
      const { raw, client, moved } = connection;
      if (client === null || client.writableEnded || connection.isProbed) continue;
      const bytes = raw.bytesRead + raw.bytesWritten;
      if (bytes !== moved.bytes) connection.moved = { bytes, atMs: nowMs };
      if (!client.readableEnded && nowMs - connection.moved.atMs < QUIET_MS) continue;
      connection.moved = { bytes, atMs: nowMs };
      connection.isProbed = true;
      // Sends nothing, not even a segment, and fails with the socket's error if it has one (tcp_sendmsg in Linux).
      raw.write(NO_BYTES, () => (connection.isProbed = false));
    }
  }

  /** Closes connections whose clients vanished with unacknowledged data. To be called now and then. */
  closeVanished(limitMs: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const connection of this.#connections.values()) {
      const { raw, vanished } = connection;
      if (vanished.hasVanished(nowMs, raw.bytesWritten, limitMs, () => tcpStateOf(raw)))
        this.close(connection, 'vanished');
    }
  }

  find(raw: Socket): Connection | undefined {
    return this.#connections.get(raw);
  }

  /** Closes without an answer. The first reason counts. */
  close(connection: Connection, reason: ClosedReason): void {
    this.note(connection, reason);
    connection.raw.destroy();
  }

  /** Notes why a connection is about to be closed. */
  note(connection: Connection, reason: ClosedReason): void {
    if (connection.closedFor === null) {
      connection.closedFor = connection.isProbe && reason === 'ended-early' ? 'probe' : reason;
      this.#options.counters.closed[connection.closedFor]++;
      if (reason === 'untrusted-proxy-header') this.#complain({ sender: connection.info.remoteAddress }, NOT_TRUSTED);
    }
  }

  /** Notes a refusal that is about to be said in words. */
  refused(connection: Connection, refusal: Refusal, route: Route | null): void {
    connection.refusedFor = refusal.code;
    connection.refusedRoute = route;
    this.#options.telemetry.connectionRefused(refusal, route, connection);
  }

  get size(): number {
    return this.#connections.size + this.#unintroduced.size + this.#admitting.size;
  }

  closeAll(): void {
    for (const connection of this.#connections.values()) this.close(connection, 'drained');
    for (const raw of [...this.#unintroduced, ...this.#admitting]) raw.destroy();
  }

  /** An operator who has set up one side only must be able to find out. */
  #complain(fields: object, message: string): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#complainedMs < COMPLAIN_EVERY_MS) return;
    this.#complainedMs = nowMs;
    log.warn(fields, message);
  }

  #release(connection: Connection): void {
    const { counters, clock, log, logConnections } = this.#options;
    connection.clearDeadline();
    if (connection.closedFor === null && connection.phase !== 'served') {
      const reason = connection.phase === 'sniffing' ? 'ended-early' : 'tls-failed';
      if (connection.isProbe) connection.closedFor = 'probe';
      counters.closed[connection.isProbe ? 'probe' : reason]++;
    }
    this.#connections.delete(connection.raw);
    this.#attempts.delete(connection);
    this.#giveBack(connection);
    // After the end of the session, which another socket's 'close' reports in this turn.
    setImmediate(() => this.#options.telemetry.connectionEnded(connection));
    if (!logConnections || connection.closedFor === 'probe') return;
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

const NO_BYTES = Buffer.alloc(0);
/** A connection in which nothing has moved for so long is probed, although its end was not read. */
const QUIET_MS = 120_000;
/** Strangers can bring this about as often as they like. */
const COMPLAIN_EVERY_MS = 60_000;
const BAD_HEADER = 'closed a connection of an address in proxyProtocol.from that has no good PROXY header';
const NOT_TRUSTED = 'closed a connection with a PROXY header of an address that is not in proxyProtocol.from';

function tcpStateOf(raw: Socket): TcpState | null {
  const descriptor = descriptorOf(raw);
  return descriptor === null ? null : readTcpState(descriptor);
}

function ignore(): void {
  // See above.
}
