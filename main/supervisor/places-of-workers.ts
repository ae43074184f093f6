import { type GuardedInterval, setGuardedInterval } from '../../core/guarded-timer.ts';
import type { Logger } from '../../core/logger.ts';
import { PlaceAllocator } from '../../proxy/limits/place-allocator.ts';
import type { ToAllocator } from '../../proxy/limits/place-messages.ts';
import type { SupervisedChild } from './supervised-child.ts';
import type { SupervisorMessage } from '../messages.ts';

const LOOK_MS = 50;

/** The allocator of connection places (decision 0035). It is in the supervisor, which knows all workers and outlives them. */
export class PlacesOfWorkers {
  readonly #allocator: PlaceAllocator;
  /** By child; each new process of a child gets a new number. */
  readonly #numbers = new Map<SupervisedChild, number>();
  readonly #children = new Map<number, SupervisedChild>();
  readonly #log: Logger;
  /** Only while something is counted: most of the time nothing is. */
  #looking: GuardedInterval | undefined;
  #next = 0;

  constructor(workers: number, log: Logger) {
    this.#log = log;
    this.#allocator = new PlaceAllocator({
      workers: Math.max(1, workers),
      send: (worker, message) => this.#children.get(worker)?.send({ kind: 'places', message }),
      nowMs: () => performance.now(),
    });
  }

  started(child: SupervisedChild): void {
    this.ended(child);
    const number = this.#next++;
    this.#numbers.set(child, number);
    this.#children.set(number, child);
    this.#allocator.joined(number);
  }

  ended(child: SupervisedChild): void {
    const number = this.#numbers.get(child);
    if (number === undefined) return;
    this.#numbers.delete(child);
    this.#children.delete(number);
    this.#allocator.left(number);
  }

  /** To every worker but this one. */
  sendToOthers(child: SupervisedChild, message: SupervisorMessage): void {
    for (const other of this.#children.values()) if (other !== child) other.send(message);
  }

  receive(child: SupervisedChild, message: ToAllocator): void {
    const number = this.#numbers.get(child);
    if (number === undefined) return;
    this.#allocator.receive(number, message);
    if (this.#allocator.size > 0) this.#lookOften();
  }

  #lookOften(): void {
    const work = (): void => {
      this.#allocator.look();
      if (this.#allocator.size > 0) return;
      this.#looking?.stop();
      this.#looking = undefined;
    };
    this.#looking ??= setGuardedInterval({ everyMs: LOOK_MS, work, name: 'places', log: this.#log }).unref();
  }
}
