import { isIPv6 } from 'node:net';
import { isAborted, pause, untilAborted } from '../../../core/abort.ts';
import { coalesce } from '../../../core/coalesce.ts';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Credentials } from '../../../core/pod.ts';
import type { NetworkNamespace } from '../../../core/pod-network.ts';
import type { Readiness } from '../../../core/template.ts';
import { type Belonging, membersOf, type ProcessName } from './belonging.ts';
import { probeBoltLogin } from './bolt-probe.ts';
import type { BootClock } from './boot-clock.ts';
import { decidingListeners, type Listener, readListeners, socketInodes } from './listeners.ts';
import { probePostgresLogin } from './postgres-login.ts';
import type { Connect } from './probes.ts';
import type { ProcessTable } from './process-table.ts';
import { readinessFor, silenceText, watchPorts } from './readiness.ts';
import type { WorkloadRecord } from './workload-record.ts';

/** A program that has not listened for this long is reported to its user, and asked about again as often. */
const SILENT_MS = 3_000;

/** Of templates whose user logs in before they are ready. */
const LOGINS: Readonly<Partial<Record<Readiness['kind'], typeof probeBoltLogin>>> = {
  postgres: probePostgresLogin,
  bolt: probeBoltLogin,
};

export interface ReadyWatchParts {
  readonly connect: Connect;
  readonly table: ProcessTable;
  readonly bootClock: BootClock;
}

/** The workload whose ports are watched, as it is at the time of each call. */
export interface WatchedWorkload {
  readonly record: () => WorkloadRecord;
  readonly credentials: () => Credentials | null;
  readonly namespace: () => NetworkNamespace | null;
  readonly leader: () => ProcessName | null;
  readonly belonging: () => Belonging;
  /** The user its program runs as; null where the system does not say who owns a socket. */
  readonly uid: () => number | null;
  /** Its user has been told something about the disk. */
  readonly hasDiskNote: () => boolean;
  /** What a template does once its program is up. False: not yet. */
  readonly letIn: () => Promise<boolean>;
  readonly say: (message: string) => void;
  readonly update: (change: Partial<WorkloadRecord>) => Promise<void>;
}

/** Finds out which ports of a running program answer, and when it is ready. */
export class ReadyWatch {
  readonly #parts: ReadyWatchParts;
  readonly #readiness: Readiness | null;
  readonly #workload: WatchedWorkload;
  readonly #log: Logger;
  #round: AbortController | null = null;

  constructor(parts: ReadyWatchParts, readiness: Readiness | null, workload: WatchedWorkload, log: Logger) {
    this.#parts = parts;
    this.#readiness = readiness;
    this.#workload = workload;
    this.#log = log;
  }

  /** Asks all ports again. */
  startAgain(): void {
    this.#round?.abort();
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { ports } = this.#workload.record();
    const stanzas = Object.keys(ports);
    const readiness = this.#readiness === null ? null : readinessFor(this.#readiness, stanzas);
    if (readiness === null) {
      // It has no port: there is nothing to be asked.
      await this.#answers(null, null);
      return;
    }
    const explaining = this.#explainSilence(readiness.stanza, signal);
    while (!isAborted(signal)) {
      const round = new AbortController();
      this.#round = round;
      const both = AbortSignal.any([signal, round.signal]);
      await this.#watchUntilAllAnswer(readiness, both);
      await untilAborted(both);
    }
    await explaining;
  }

  async #watchUntilAllAnswer(readiness: Readiness, signal: AbortSignal): Promise<void> {
    const { ports } = this.#workload.record();
    const known = new Set(this.#workload.record().ready?.stanzas ?? []);
    const login = LOGINS[readiness.kind];
    const credentials = this.#workload.credentials();
    const namespace = this.#workload.namespace();
    await watchPorts({
      ports: Object.entries(ports).flatMap(([stanza, port]) => (known.has(stanza) ? [] : [{ stanza, port }])),
      readiness,
      connect: (place) => this.#parts.connect(namespace === null ? place : { ...place, namespace }),
      isOwned: async (place) => this.#areOwn(decidingListeners(await this.#listeners(), place)),
      letsIn: async (probed, over) => {
        const canLogIn = login !== undefined && credentials !== null;
        if (canLogIn && (await login(probed, credentials, over)) === 'unavailable') return false;
        return this.#workload.letIn();
      },
      answers: (stanza, address) => {
        void this.#answers({ stanza, address }, readiness.stanza).catch((error: unknown) => {
          this.#log.warn({ error: errorText(error) }, 'failed to write the record of a workload');
        });
      },
      strange: (port) => {
        this.#workload.say(`port ${port} is used by a program that does not belong to the pod`);
      },
      signal,
    });
  }

  /** While the program runs and is not ready: where it listens instead, which is what most users get wrong. */
  async #explainSilence(stanza: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      await pause(coalesce(SILENT_MS), signal);
      const port = this.#workload.record().ports[stanza];
      if (isAborted(signal) || port === undefined) return;
      if (this.#workload.record().ready?.isReady === true || this.#workload.hasDiskNote()) continue;
      const listeners = await this.#listeners();
      const own = await this.#ownOf(listeners);
      // Who else has the port is what `strange` says.
      if (isAborted(signal) || listeners.some((each) => each.port === port && !own.includes(each))) continue;
      this.#workload.say(silenceText(own, { stanza, port }));
    }
  }

  /** In the network that the program is in. */
  async #listeners(): Promise<readonly Listener[]> {
    const pid = this.#workload.namespace() === null ? 'self' : (this.#workload.leader()?.pid ?? 'self');
    return (await readListeners(pid)) ?? [];
  }

  /**
   * A stranger's program may have taken a port between its allocation and the pod's start, and must never get the pod's
   * traffic.
   */
  async #areOwn(deciding: readonly Listener[]): Promise<boolean> {
    if (this.#workload.namespace() !== null || process.platform !== 'linux') return true;
    return deciding.length > 0 && (await this.#ownOf(deciding)).length === deciding.length;
  }

  /** Those of them that are its own. */
  async #ownOf(listeners: readonly Listener[]): Promise<readonly Listener[]> {
    const uid = this.#workload.uid();
    const ofUser = listeners.filter((each) => each.uid === uid);
    if (this.#workload.record().osUser !== null || ofUser.length === 0) return ofUser;
    // All pods run as our user, so the process that holds the socket decides.
    const { table } = this.#parts;
    const members = membersOf(await table.all(), this.#workload.belonging(), table.markerOf, process.pid);
    const owned = new Set(members.flatMap(({ pid }) => socketInodes(pid)));
    return ofUser.filter(({ inode }) => owned.has(inode));
  }

  async #answers(
    answering: { readonly stanza: string; readonly address: string } | null,
    readyStanza: string | null,
  ): Promise<void> {
    const before = this.#workload.record().ready;
    const { stanza = null, address = '' } = answering ?? {};
    const isReady = before?.isReady === true || stanza === readyStanza;
    await this.#workload.update({
      ready: {
        stanzas: [...(before?.stanzas ?? []), ...(stanza === null ? [] : [stanza])],
        addresses: { ...before?.addresses, ...(stanza === null ? {} : { [stanza]: address }) },
        isReady,
        sinceBootMs: before?.isReady === true ? before.sinceBootMs : this.#parts.bootClock.nowMs(),
      },
      ...(isReady ? { isCrashing: false, message: '' } : {}),
      ...(isIPv6(address) ? { message: `listens on IPv6 only ([${address}]), and is dialed there` } : {}),
    });
  }
}
