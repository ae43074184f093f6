import { url as inspectorUrl } from 'node:inspector';
import { coalesce } from '../core/coalesce.ts';
import type { ToWorker } from '../proxy/limits/place-messages.ts';
import type { WaitingPod } from '../proxy/protocols/http/upstream-pools.ts';
import type { ProbeState } from './control-port/probe-state.ts';
import { ALIVE_EVERY_MS, type ChildMessage, type SocketKind, type SupervisorMessage } from './messages.ts';

type Start = Extract<SupervisorMessage, { kind: 'start' }>;
type GatewayState = Omit<Extract<SupervisorMessage, { kind: 'gateway' }>, 'kind'>;
export type ListenOrder = Extract<SupervisorMessage, { kind: 'listen' }> & { readonly handle: object };

/** A child's side of the channel to its supervisor. */
export interface SupervisorLink {
  readonly start: Start;
  /** Aborts when this process is to end: by message, by signal, or because its supervisor is gone. */
  readonly ending: AbortSignal;
  /** It ends for good, or its supervisor is gone: no successor will take over the pods. */
  isForGood(): boolean;
  /** False: the supervisor is gone. */
  send(message: ChildMessage): boolean;
  /** Called when `ending` aborts, with the reason and the time left; 'for-good' can follow 'replaced'. */
  onEnding(listener: (why: 'replaced' | 'for-good', graceMs: number) => void): void;
  /** Orders that arrived earlier are delivered immediately. */
  onListen(kinds: readonly SocketKind[], listener: (order: ListenOrder) => void): void;
  onRelease(listener: (slot: number) => void): void;
  /** Messages that arrived earlier are delivered immediately. */
  onPlaces(listener: (message: ToWorker) => void): void;
  /** Another worker waits for a connection that this one may hold. Earlier messages are obsolete and not delivered. */
  onMakeRoom(listener: (waiting: WaitingPod) => void): void;
  /** The latest earlier state is delivered immediately. */
  onProbeState(listener: (state: ProbeState) => void): void;
  /** On how many of the gateway's socket sets a child accepts, of how many; and how many children have hung. */
  gateway(): GatewayState;
}

/**
 * Waits for the supervisor's first message. Signals from the terminal reach every process of the group; children ignore
 * them, because the supervisor ends all of them in order.
 */
export function openSupervisorLink(): Promise<SupervisorLink> {
  const ending = new AbortController();
  const early: ListenOrder[] = [];
  const listeners: { kinds: readonly SocketKind[]; listener: (order: ListenOrder) => void }[] = [];
  const endings: ((why: 'replaced' | 'for-good', graceMs: number) => void)[] = [];
  const releases: ((slot: number) => void)[] = [];
  const earlyPlaces: ToWorker[] = [];
  let onPlaces = (message: ToWorker): void => void earlyPlaces.push(message);
  let onMakeRoom: (waiting: WaitingPod) => void = () => undefined;
  const probeStates: ((state: ProbeState) => void)[] = [];
  let probeState: ProbeState | null = null;
  const { promise, resolve } = Promise.withResolvers<SupervisorLink>();
  let isForGood = false;
  let gateway: GatewayState = { accepting: 0, slots: 0, isDraining: false, hung: { control: 0, worker: 0, probe: 0 } };

  const end = (why: 'replaced' | 'for-good', graceMs = Infinity): void => {
    if (why === 'for-good') isForGood = true;
    for (const listener of endings) listener(why, graceMs);
    ending.abort();
  };
  const endForGood = (): void => end('for-good');
  const send = (message: ChildMessage): boolean => {
    // The supervisor may just have exited; 'disconnect' reports that.
    if (!process.connected) return false;
    process.send?.(message, undefined, undefined, () => undefined);
    return true;
  };
  const link = (start: Start): SupervisorLink => ({
    start,
    ending: ending.signal,
    isForGood: () => isForGood,
    send,
    onEnding: (listener) => void endings.push(listener),
    onListen(kinds, listener) {
      listeners.push({ kinds, listener });
      for (const order of early.filter(({ socket }) => kinds.includes(socket))) listener(order);
    },
    onRelease: (listener) => void releases.push(listener),
    onPlaces(listener) {
      onPlaces = listener;
      for (const message of earlyPlaces.splice(0)) listener(message);
    },
    onMakeRoom: (listener) => void (onMakeRoom = listener),
    onProbeState(listener) {
      probeStates.push(listener);
      if (probeState !== null) listener(probeState);
    },
    gateway: () => gateway,
  });

  // Nobody reads our output any more: no reason to stop working.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  process.on('SIGINT', () => undefined);
  process.on('SIGHUP', () => undefined);
  process.on('SIGTERM', () => ending.abort());
  process.on('disconnect', endForGood);
  process.on('message', (message: SupervisorMessage, handle: unknown) => {
    switch (message.kind) {
      case 'start':
        resolve(link(message));
        break;
      case 'listen': {
        if (typeof handle !== 'object' || handle === null) break;
        const order = { ...message, handle };
        const taker = listeners.find(({ kinds }) => kinds.includes(order.socket));
        if (taker === undefined) early.push(order);
        else taker.listener(order);
        break;
      }
      case 'release':
        for (const listener of releases) listener(message.slot);
        break;
      case 'places':
        onPlaces(message.message);
        break;
      case 'make-room':
        onMakeRoom(message.waiting);
        break;
      case 'gateway':
        gateway = message;
        break;
      case 'probe-state':
        probeState = message.state;
        for (const listener of probeStates) listener(message.state);
        break;
      case 'retire':
        end('replaced');
        break;
      case 'stop':
        end('for-good', message.graceMs);
        break;
    }
  });
  if (!process.connected) throw new Error('only the supervisor starts this role: run main.ts without arguments');
  const sayAlive = (): void => void send({ kind: 'alive', isDebugged: inspectorUrl() !== undefined });
  sayAlive();
  const sayAliveLater = (): void => {
    setTimeout(() => {
      sayAliveLater();
      sayAlive();
    }, coalesce(ALIVE_EVERY_MS)).unref();
  };
  sayAliveLater();
  return promise;
}
