import { PodgateError } from '../../core/errors.ts';

/** A seeded source of chance (mulberry32): the same seed plays the same simulation. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  isHit(probability: number): boolean {
    return this.next() < probability;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}

/** How often the outside misbehaves, per call. */
export interface FaultRates {
  /** The call fails and had no effect. */
  readonly fails: number;
  /** The call had its effect, but its answer is lost. */
  readonly answerLost: number;
  /** The calling process is killed while the call is under way; the call may still have its effect, later. */
  readonly crash: number;
}
export const NO_FAULTS: FaultRates = { fails: 0, answerLost: 0, crash: 0 };

/** A process of the simulation: once dead, nothing it awaits ever settles. */
export class SimProcess {
  readonly name: string;
  isAlive = true;

  constructor(name: string) {
    this.name = name;
  }
}

interface Call {
  readonly process: SimProcess;
  readonly label: string;
  readonly apply: () => unknown;
  readonly settle: (outcome: Outcome) => void;
}

/**
 * Plays processes against each other, one outside call at a time in an order drawn by chance: every await of theirs is
 * a point at which any other may come first, the call may fail, or the process may die.
 */
export class Scheduler {
  readonly chance: Chance;
  faults: FaultRates;
  onCrash: (process: SimProcess) => void = () => undefined;
  steps = 0;
  readonly #calls: Call[] = [];
  readonly trail: string[] = [];

  constructor(chance: Chance, faults: FaultRates) {
    this.chance = chance;
    this.faults = faults;
  }

  call<T>(process: SimProcess, label: string, apply: () => T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#calls.push({
        process,
        label,
        apply,
        settle: (outcome) => {
          if (!process.isAlive) return;
          if ('value' in outcome) resolve(outcome.value as T);
          else reject(outcome.error);
        },
      });
    });
  }

  /** Carries out one call. */
  async step(): Promise<void> {
    if (this.#calls.length === 0) throw new Error('every process has come to rest: nobody calls any more');
    this.steps += 1;
    const index = this.chance.below(this.#calls.length);
    const [call] = this.#calls.splice(index, 1);
    if (call === undefined) return;
    const { process } = call;
    const unavailable = () => new PodgateError('store.unavailable', { detail: `simulated: ${call.label}` });
    if (process.isAlive && this.chance.isHit(this.faults.fails)) {
      this.#note(call, 'fails');
      call.settle({ error: unavailable() });
    } else {
      const outcome = await settled(call.apply);
      if (process.isAlive && this.chance.isHit(this.faults.answerLost)) {
        this.#note(call, 'answer lost');
        call.settle({ error: unavailable() });
      } else {
        this.#note(call, process.isAlive ? 'done' : 'done late');
        call.settle(outcome);
      }
    }
    if (process.isAlive && this.chance.isHit(this.faults.crash)) this.crash(process);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  /** Kills a process: half of its calls under way are never made, the others come late. */
  crash(process: SimProcess): void {
    process.isAlive = false;
    this.trail.push(`${this.steps} ${process.name} CRASHES`);
    for (let index = this.#calls.length - 1; index >= 0; index -= 1) {
      if (this.#calls[index]?.process === process && this.chance.isHit(0.5)) this.#calls.splice(index, 1);
    }
    this.onCrash(process);
  }

  #note(call: Call, what: string): void {
    this.trail.push(`${this.steps} ${call.process.name} ${call.label}: ${what}`);
    if (this.trail.length > 400) this.trail.splice(0, 200);
  }
}

type Outcome = { readonly value: unknown } | { readonly error: Error };

async function settled(apply: () => unknown): Promise<Outcome> {
  try {
    return { value: await apply() };
  } catch (error) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }
}
