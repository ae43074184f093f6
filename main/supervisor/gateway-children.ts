import type { BoundSocket, ListeningSockets } from './listening-sockets.ts';
import { SlotAssignments, type SlotAction } from './slot-assignments.ts';
import { STOP_GRACE_MS, type SupervisedChild } from './supervised-child.ts';

export interface GatewayChildrenOptions {
  /** 0: the control child is the gateway, too. */
  readonly workers: number;
  readonly slots: ListeningSockets['slots'];
  readonly control: SupervisedChild;
  readonly createWorker: (number: number) => SupervisedChild;
  /** How long sessions of a worker that has been replaced may go on. */
  readonly replacedMs: () => number;
  /** Called after every change of what is accepted on. */
  readonly onChanged: () => void;
}

/** The children that accept connections, and which of them has which listening sockets. */
export class GatewayChildren {
  readonly #options: GatewayChildrenOptions;
  readonly #assignments: SlotAssignments;
  readonly #workers: SupervisedChild[];
  /** Workers that go as soon as their successor accepts, or when their sessions have ended. */
  readonly #leaving = new Set<SupervisedChild>();
  /** By the number of a worker: what waits for its successor to accept. */
  readonly #replacing = new Map<number, (() => void)[]>();
  #nextId: number;

  constructor(options: GatewayChildrenOptions) {
    this.#options = options;
    this.#assignments = new SlotAssignments(options.slots.length);
    this.#workers = Array.from({ length: options.workers }, (_, number) => options.createWorker(number));
    this.#nextId = options.slots.length;
  }

  /** Workers, with those that are leaving. */
  get workers(): readonly SupervisedChild[] {
    return [...this.#workers, ...this.#leaving];
  }

  /** On how many sets of sockets a child accepts, of how many. */
  get state(): { readonly accepting: number; readonly slots: number } {
    const { accepting, slots } = this.#assignments;
    return { accepting, slots };
  }

  /** Does every set of sockets have its own child? */
  get isComplete(): boolean {
    return this.#assignments.isComplete;
  }

  includes({ role }: SupervisedChild): boolean {
    return role === 'worker' || (role === 'control' && this.#workers.length === 0);
  }

  isLeaving(child: SupervisedChild): boolean {
    return this.#leaving.has(child);
  }

  start(): void {
    for (const worker of this.#workers) worker.start();
  }

  /** The child has the route table. */
  synchronized(child: SupervisedChild): void {
    this.#act(this.#assignments.synchronized(child.id));
  }

  /** The child accepts on all sockets of the slot. */
  listening(child: SupervisedChild, slot: number): void {
    this.#act(this.#assignments.listening(child.id, slot));
    if (child.id === slot) this.#onReplaced(child.id);
  }

  /** A worker that is full does not accept: for its slots, it is as if it had ended. */
  full(child: SupervisedChild): void {
    this.#act(this.#assignments.ended(child.id));
  }

  /** A worker that was full has room again. */
  hasRoom(child: SupervisedChild): void {
    if (!this.isLeaving(child)) this.synchronized(child);
  }

  silent(child: SupervisedChild): void {
    if (this.includes(child)) this.#act(this.#assignments.silent(child.id));
  }

  recovered(child: SupervisedChild): void {
    if (this.includes(child)) this.#act(this.#assignments.recovered(child.id));
  }

  ended(child: SupervisedChild): void {
    if (this.includes(child)) this.#act(this.#assignments.ended(child.id));
  }

  /** Starts new workers one after the other. Resolves when the last one accepts. */
  async replaceAll(): Promise<void> {
    for (const { number } of [...this.#workers]) await this.#replace(number);
  }

  /** Its sessions drain, as in a restart. Only one worker of each number drains after a failure: the previous one ends now. */
  replaceFailing(child: SupervisedChild): void {
    if (this.isLeaving(child)) return;
    for (const former of this.#leaving) if (former.number === child.number && former.hasFailed) former.kill();
    child.hasFailed = true;
    void this.#replace(child.number);
  }

  /** Resolves when the new one accepts. The old one accepts until then, and ends when its sessions have had their time. */
  #replace(number: number): Promise<void> {
    const old = this.#workers[number];
    if (old !== undefined) {
      old.disableRestart();
      old.id = this.#nextId++;
      this.#assignments.renamed(number, old.id);
      this.#leaving.add(old);
    }
    const fresh = this.#options.createWorker(number);
    this.#workers[number] = fresh;
    const replaced = new Promise<void>((resolve) => {
      this.#replacing.set(number, [...(this.#replacing.get(number) ?? []), resolve]);
    });
    fresh.start();
    return replaced;
  }

  #onReplaced(number: number): void {
    const sessionsMs = this.#options.replacedMs();
    for (const old of [...this.#leaving].filter((child) => child.number === number && !child.isToldToEnd)) {
      this.#act(this.#assignments.ended(old.id));
      void old.retire(sessionsMs + STOP_GRACE_MS).then(() => this.#leaving.delete(old));
    }
    for (const resolve of this.#replacing.get(number) ?? []) resolve();
    this.#replacing.delete(number);
  }

  #act(actions: readonly SlotAction[]): void {
    for (const action of actions) {
      const left = [...this.#leaving].find(({ id }) => id === action.child);
      const child = this.#workers[action.child] ?? left ?? this.#options.control;
      if (action.kind === 'release') child.send({ kind: 'release', slot: action.slot });
      else giveSockets(child, action.slot, this.#options.slots[action.slot] ?? []);
    }
    this.#options.onChanged();
  }
}

/** Sends the child bound sockets to accept on. */
export function giveSockets(child: SupervisedChild, slot: number, sockets: readonly BoundSocket[]): void {
  for (const [index, bound] of sockets.entries()) {
    child.send({ kind: 'listen', slot, socket: bound.socket, isLast: index === sockets.length - 1 }, bound);
  }
}
