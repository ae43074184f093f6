import type { Config } from '../config/config.ts';
import type { ToAllocator, ToWorker } from '../proxy/limits/place-messages.ts';
import type { WaitingPod } from '../proxy/protocols/http/upstream-pools.ts';
import type { ControlReport, ProbeState } from './control-port/probe-state.ts';

/** Of one set of listening sockets; each worker has a slot of its own. `control` is the plain API port. */
export type SocketKind = 'https' | 'http' | 'control';

/** The kinds of process that the supervisor keeps alive. */
export type ChildRole = 'control' | 'worker' | 'probe';

/** What every child needs, decided once by the supervisor: a restarted child gets the same. */
export interface Settings {
  /** With the ports that were really bound. */
  readonly config: Config;
  readonly version: string;
  readonly runDir: string;
  /** Random, one per installation; kept in the data directory. */
  readonly installation: string;
  /** Random, one per run of the supervisor. */
  readonly instance: string;
  readonly isTerminal: boolean;
}

export type SupervisorMessage =
  | { readonly kind: 'start'; readonly settings: Settings; readonly worker: number }
  /** Comes with the handle of a bound socket: accept on it. */
  | { readonly kind: 'listen'; readonly slot: number; readonly socket: SocketKind; readonly isLast: boolean }
  /** Stop accepting on this slot: its own worker accepts again. */
  | { readonly kind: 'release'; readonly slot: number }
  /** For the control child: how many slots are accepted on, of how many; draining = it is to look unready. */
  | {
      readonly kind: 'gateway';
      readonly accepting: number;
      readonly slots: number;
      readonly isDraining: boolean;
      /** Children killed because they hung, since the supervisor started. */
      readonly hung: Readonly<Record<ChildRole, number>>;
    }
  /** For the process that answers probes: at every change, and every second. */
  | { readonly kind: 'probe-state'; readonly state: ProbeState }
  /** Of limits that the workers share. */
  | { readonly kind: 'places'; readonly message: ToWorker }
  /** A connection of another worker to this pod may be waiting for one that this worker keeps. */
  | { readonly kind: 'make-room'; readonly waiting: WaitingPod }
  /** A new worker has this one's sockets: accept no more connections, and end when the present ones have had their time. */
  | { readonly kind: 'retire' }
  /** End for good, pods included. */
  | { readonly kind: 'stop'; /** SIGKILL follows after this time. */ readonly graceMs: number };

/** How often a child sends 'alive'. */
export const ALIVE_EVERY_MS = 1_000;

export type ChildMessage =
  /** Every `ALIVE_EVERY_MS`, from the event loop. `isDebugged`: a debugger can stop it. */
  | { readonly kind: 'alive'; readonly isDebugged: boolean }
  /** The control child has opened all it needs and accepts calls. */
  | {
      readonly kind: 'ready';
      /** What separates pods, in one line for the operator; null: nothing of this machine. */
      readonly protection: string | null;
      /** For the login link of the greeting; null: there is none. */
      readonly loginCode: string | null;
    }
  /** What the control child would say to a probe; every second. */
  | { readonly kind: 'readiness'; readonly report: ControlReport }
  /** A gateway has the route table: it may be given sockets. */
  | { readonly kind: 'synchronized' }
  /** Accepts on all sockets of that slot. */
  | { readonly kind: 'listening'; readonly slot: number }
  /** A worker has stopped accepting on all its slots, since file descriptors run out; and it may be given sockets again. */
  | { readonly kind: 'full' }
  | { readonly kind: 'room' }
  /** Of limits that the workers share. */
  | { readonly kind: 'places'; readonly message: ToAllocator }
  /** For the other workers: 'make-room'. */
  | { readonly kind: 'waiting'; readonly waiting: WaitingPod }
  /** A worker had an uncaught error: it drains, and needs a successor. */
  | { readonly kind: 'failing' };

/**
 * Version of these messages and of Settings. Increase it when new children no longer work with an older supervisor.
 */
export const CHILDREN_PROTOCOL = 3;

/** The reply of the settings child. */
export type SettingsAnswer =
  | { readonly kind: 'settings'; readonly config: Config; readonly version: string; readonly protocol: number }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

/** The file in the data directory to which a restart writes its outcome. */
export const RESTART_NOTE = 'restarted.json';

/** Exit code when the operator has to fix the configuration: starting again does not help (sysexits.h). */
export const EXIT_CONFIG = 78;
