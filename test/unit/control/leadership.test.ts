import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createLeadership } from '../../../control/leadership/leadership.ts';
import { untilAborted } from '../../../core/abort.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Leadership, Term } from '../../../core/leadership.ts';
import type { Lease, Lock } from '../../../core/lock.ts';
import { silentLog } from '../../support/silent-log.ts';

const LEASE_MS = 10_000;
/** A second before the lease ends. */
const USABLE_MS = 9_000;

/** A lock on the fake clock, whose answers may fail, be slow, or be lost after they had their effect. */
class FakeLock implements Lock {
  held: { token: string; untilMs: number } | null = null;
  fences = 0;
  released = 0;
  renewals = 0;
  behaviour: 'answers' | 'fails' | 'hangs' = 'answers';

  async acquire(name: string, leaseMs: number): Promise<Lease | null> {
    await this.#misbehave();
    if (this.held !== null && this.held.untilMs > performance.now()) return null;
    this.fences += 1;
    this.held = { token: `token ${this.fences}`, untilMs: performance.now() + leaseMs };
    return { name, fence: this.fences, token: this.held.token };
  }

  async renew(lease: Lease, leaseMs: number): Promise<boolean> {
    this.renewals += 1;
    await this.#misbehave();
    if (this.held?.token !== lease.token || this.held.untilMs <= performance.now()) return false;
    this.held = { token: lease.token, untilMs: performance.now() + leaseMs };
    return true;
  }

  async release(lease: Lease): Promise<void> {
    this.released += 1;
    if (this.held?.token === lease.token) this.held = null;
  }

  async #misbehave(): Promise<void> {
    if (this.behaviour === 'fails') throw new PodgateError('store.unavailable', { detail: 'away' });
    // As long as the deadline of a store.
    if (this.behaviour === 'hangs') await new Promise((resolve) => setTimeout(resolve, 2 * LEASE_MS));
  }
}

let lock: FakeLock;
let stop: AbortController;
/** Added to the clock but not to the timers: as it is for a process that was paused. */
let pausedMs: number;
const running: Promise<void>[] = [];

interface Candidate {
  readonly leadership: Leadership;
  readonly terms: Term[];
  readonly stop: AbortController;
}

function candidate(): Candidate {
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now() + pausedMs };
  const leadership = createLeadership({ lock, name: 'health', clock, log: silentLog, leaseMs: LEASE_MS });
  const terms: Term[] = [];
  const ending = new AbortController();
  const work = leadership.run(
    async (term) => {
      terms.push(term);
      await untilAborted(term.signal);
    },
    AbortSignal.any([stop.signal, ending.signal]),
  );
  running.push(work);
  return { leadership, terms, stop: ending };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  lock = new FakeLock();
  stop = new AbortController();
  pausedMs = 0;
});
afterEach(async () => {
  lock.behaviour = 'answers';
  stop.abort();
  await vi.advanceTimersByTimeAsync(3 * LEASE_MS);
  await Promise.all(running.splice(0));
  vi.useRealTimers();
});

test('one of two leads, for as long as it renews its lease', async () => {
  const [one, two] = [candidate(), candidate()];
  await vi.advanceTimersByTimeAsync(10 * LEASE_MS);
  expect([one.terms.length, two.terms.length]).toEqual([1, 0]);
  expect([one.leadership.isLeading(), two.leadership.isLeading()]).toEqual([true, false]);
  expect(lock.renewals).toBeGreaterThan(30);
});

test('a leader that stops releases its lease, and another follows within a second, with a greater fence', async () => {
  const [one, two] = [candidate(), candidate()];
  await vi.advanceTimersByTimeAsync(5_000);
  one.stop.abort();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(lock.released).toBe(1);
  expect(two.leadership.isLeading()).toBe(true);
  expect(two.terms[0]?.fence.number).toBeGreaterThan(one.terms[0]?.fence.number ?? Infinity);
});

test('a leader whose renewals get no response stops before its lease ends, and may lead again', async () => {
  const one = candidate();
  await vi.advanceTimersByTimeAsync(100);
  for (const behaviour of ['fails', 'hangs'] as const) {
    const term = one.terms.at(-1);
    lock.behaviour = behaviour;
    await vi.advanceTimersByTimeAsync(USABLE_MS + 3_000);
    expect(term?.signal.aborted).toBe(true);
    expect(one.leadership.isLeading()).toBe(false);
    lock.behaviour = 'answers';
    lock.held = null;
    // What hung is answered first.
    await vi.advanceTimersByTimeAsync(2_000 + (behaviour === 'hangs' ? 2 * LEASE_MS : 0));
    expect(one.leadership.isLeading()).toBe(true);
  }
});

test('a term is measured from before the lease was requested, less a margin', async () => {
  const one = candidate();
  await vi.advanceTimersByTimeAsync(0);
  lock.behaviour = 'hangs';
  await vi.advanceTimersByTimeAsync(USABLE_MS - 1);
  expect(one.terms[0]?.signal.aborted).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(one.terms[0]?.signal.aborted).toBe(true);
});

test('a leader that was paused past its lease notices before any timer has fired, and does not release the lease of another', async () => {
  const one = candidate();
  await vi.advanceTimersByTimeAsync(0);
  const term = one.terms[0];
  expect(term?.isOver()).toBe(false);
  pausedMs = LEASE_MS;
  lock.held = { token: "another's", untilMs: performance.now() + LEASE_MS };
  expect(one.leadership.isLeading()).toBe(false);
  expect(term?.isOver()).toBe(true);
  expect(term?.signal.aborted).toBe(true);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(lock.held).toMatchObject({ token: "another's" });
  expect(one.terms).toHaveLength(1);
});

test('a renewal that finds another holder, and a commit that is fenced, end the term at once', async () => {
  const one = candidate();
  await vi.advanceTimersByTimeAsync(0);
  lock.held = { token: "another's", untilMs: performance.now() + 3_500 };
  await vi.advanceTimersByTimeAsync(3_000);
  expect(one.terms[0]?.signal.aborted).toBe(true);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(one.leadership.isLeading()).toBe(true);
  one.terms[1]?.end('fenced');
  expect(one.leadership.isLeading()).toBe(false);
});
