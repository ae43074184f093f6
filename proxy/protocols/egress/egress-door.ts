import type { Socket } from 'node:net';
import type { Clock } from '../../../core/clock.ts';
import type { EgressOutcome, EgressRules } from '../../../core/egress.ts';
import type { PodNetwork } from '../../../core/pod-network.ts';
import { endWith } from '../../bytes/end-with.ts';
import { peekBytes } from '../../bytes/peek-bytes.ts';
import type { Connection } from '../../connection/connection.ts';
import type { EgressTelemetry } from '../../connection/egress-telemetry.ts';
import type { ClosedReason, SessionEnd } from '../../connection/ends.ts';
import type { ConnectionCounts } from '../../limits/connection-counts.ts';
import { egressPlacesOf } from '../../limits/pod-places.ts';
import { EgressPolicy } from '../../policy/egress-policy.ts';
import { splice } from '../../session/splice.ts';
import { recentOwnAddresses } from '../../socket/own-addresses.ts';
import type { Counters } from '../../telemetry/counters.ts';
import { CONNECTED, refusalAnswer } from './answers.ts';
import { type ConnectRequest, parseConnectRequest } from './connect-request.ts';
import { parseConnectTarget } from './connect-target.ts';
import { dialTarget } from './dial-target.ts';
import { AddressLookup } from './target-addresses.ts';

type Refusal = Exclude<EgressOutcome, 'connected'>;

export interface EgressDoorOptions {
  readonly rules: EgressRules;
  /** With ports; empty = those of the system. */
  readonly nameServers: readonly string[];
  readonly counts: Pick<ConnectionCounts, 'acquirePod' | 'releasePod'>;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly close: (connection: Connection, reason: ClosedReason) => void;
  /** From accept to the end of the request. */
  readonly handshakeTimeoutMs: number;
  /** See splice. */
  readonly halfClosedMs: number;
}

/**
 * The way out of a pod's network (decision 0048): takes CONNECT, resolves the name once, judges each address and dials one of
 * those that it has judged, so that no other answer of the DNS can come in between.
 */
export class EgressDoor {
  readonly #options: EgressDoorOptions;
  readonly #policy: EgressPolicy;
  readonly #lookup: AddressLookup;

  constructor(options: EgressDoorOptions) {
    this.#options = options;
    // An address that was added a moment ago is found when it is dialed (see dialTarget).
    this.#policy = new EgressPolicy(
      options.rules,
      recentOwnAddresses(() => options.clock.monotonicMs()),
    );
    this.#lookup = new AddressLookup(options.nameServers);
  }

  accept(connection: Connection, pod: PodNetwork): void {
    const { clock, close, handshakeTimeoutMs } = this.#options;
    const { raw } = connection;
    const egress: EgressTelemetry = {
      pod,
      beganMs: clock.monotonicMs(),
      target: null,
      address: null,
      outcome: null,
      backend: null,
      connectedMs: null,
      end: null,
    };
    connection.egress = egress;
    connection.client = raw;
    connection.setDeadline(handshakeTimeoutMs, () => close(connection, 'deadline'));
    if (connection.admission === 'surplus') {
      this.#refuse(connection, egress, 'full');
      return;
    }
    peekBytes(raw, parseConnectRequest, (outcome) => {
      if (outcome.kind === 'ended') close(connection, 'ended-early');
      else if (outcome.kind === 'reject') this.#refuse(connection, egress, 'malformed');
      else void this.#open(connection, egress, outcome.value);
    });
  }

  async #open(connection: Connection, egress: EgressTelemetry, request: ConnectRequest): Promise<void> {
    const { raw } = connection;
    egress.target = request.target;
    if (request.method !== 'CONNECT') {
      this.#refuse(connection, egress, 'method');
      return;
    }
    const target = parseConnectTarget(request.target);
    if (target === null) {
      this.#refuse(connection, egress, 'malformed');
      return;
    }
    if (!this.#policy.isPortAllowed(target.port)) {
      this.#refuse(connection, egress, 'port');
      return;
    }
    connection.phase = 'served';
    // What follows has bounds of its own.
    connection.clearDeadline();
    if (!(await this.#takePlace(connection, egress.pod))) {
      this.#refuse(connection, egress, 'full');
      return;
    }
    const found = await this.#lookup.find(target, egress.pod.uid);
    if (found.kind !== 'addresses') {
      this.#refuse(connection, egress, found.kind);
      return;
    }
    const allowed = found.addresses.filter((address) => this.#policy.isAddressAllowed(address));
    if (allowed.length === 0) {
      this.#refuse(connection, egress, 'address');
      return;
    }
    const dialed = await dialTarget(allowed, target.port, raw);
    if (dialed.kind === 'failed') this.#refuse(connection, egress, dialed.outcome);
    else if (dialed.kind === 'connected') {
      egress.address = dialed.address;
      this.#begin(connection, egress, dialed.socket, request.headBytes);
    }
  }

  /** A place that is taken is given back when the connection closes. */
  #takePlace({ raw }: Connection, pod: PodNetwork): Promise<boolean> {
    const { counts } = this.#options;
    const places = egressPlacesOf(pod);
    return new Promise((resolve) => {
      counts.acquirePod(places, (full) => {
        if (full === null) {
          if (raw.destroyed) counts.releasePod(places);
          else raw.once('close', () => counts.releasePod(places));
        }
        resolve(full === null);
      });
    });
  }

  #begin(connection: Connection, egress: EgressTelemetry, backend: Socket, headBytes: number): void {
    const { counters, clock, halfClosedMs } = this.#options;
    const { raw } = connection;
    if (raw.destroyed || backend.destroyed) {
      backend.destroy();
      raw.destroy();
      return;
    }
    this.#note(egress, 'connected');
    egress.backend = backend;
    egress.connectedMs = clock.monotonicMs();
    // Put back by peekBytes. What the pod has sent behind it goes to the target.
    raw.read(headBytes);
    raw.write(CONNECTED);
    splice(raw, backend, (end: SessionEnd) => (egress.end = end), { halfClosedMs });
    counters.egressNow++;
    raw.once('close', () => {
      counters.egressNow--;
      counters.bytes['egress in'] += backend.bytesWritten;
      counters.bytes['egress out'] += backend.bytesRead;
    });
  }

  #refuse(connection: Connection, egress: EgressTelemetry, outcome: Refusal): void {
    this.#note(egress, outcome);
    const { close, handshakeTimeoutMs } = this.#options;
    connection.phase = 'served';
    connection.setDeadline(handshakeTimeoutMs, () => close(connection, 'deadline'));
    endWith(connection.raw, refusalAnswer(outcome));
  }

  #note(egress: EgressTelemetry, outcome: EgressOutcome): void {
    egress.outcome = outcome;
    this.#options.counters.egress[outcome]++;
  }
}
