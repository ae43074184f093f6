import { describe, expect, test } from 'vitest';
import { accountRetryAtMs, isRetryTime, nameRetryAtMs } from '../../../certs/plan/back-off.ts';
import {
  type CertificateLife,
  fractionOf,
  isRenewalTime,
  lapseOf,
  nextAdviceMs,
  renewalTimeMs,
  type RenewalWindow,
} from '../../../certs/plan/renewal-time.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LIFETIMES_DAYS = [6, 47, 90, 365];

/** A pair of years with one name, an issuer, and what befalls them. Looks every ten minutes, as fast as the manager may. */
function simulate(world: {
  readonly lifetimeDays: number;
  readonly years: number;
  readonly seed: string;
  /** Our clock minus the issuer's. */
  readonly offsetMs?: number;
  readonly isAway?: (nowMs: number) => boolean;
  readonly window?: (life: CertificateLife, nowMs: number) => RenewalWindow | null;
}) {
  const lifetimeMs = world.lifetimeDays * DAY_MS;
  const offsetMs = world.offsetMs ?? 0;
  let life: CertificateLife | null = null;
  let failures = 0;
  let notBeforeMs = 0;
  let issued = 0;
  let tries = 0;
  let expiredMs = 0;
  const stepMs = HOUR_MS / 6;
  for (let trueMs = 1e12; trueMs < 1e12 + world.years * 365 * DAY_MS; trueMs += stepMs) {
    const nowMs = trueMs + offsetMs;
    // What clients see: their clocks are right.
    if (life !== null && trueMs >= life.notAfterMs) expiredMs += stepMs;
    const fraction = fractionOf(`${world.seed} ${issued}`);
    const window = life === null ? null : (world.window?.(life, trueMs) ?? null);
    if (!isRetryTime(notBeforeMs, nowMs)) continue;
    if (life !== null && !isRenewalTime(life, window, fraction, nowMs)) continue;
    tries += 1;
    if (world.isAway?.(trueMs) === true) {
      failures += 1;
      notBeforeMs = nameRetryAtMs({ failures, nowMs, retryAfterMs: null, fraction });
      continue;
    }
    life = { notBeforeMs: trueMs - HOUR_MS, notAfterMs: trueMs - HOUR_MS + lifetimeMs, obtainedAtMs: nowMs };
    issued += 1;
    failures = 0;
    notBeforeMs = 0;
  }
  return { issued, tries, expiredMs };
}

describe.each(LIFETIMES_DAYS)('certificates of %i days', (lifetimeDays) => {
  const years = 4;
  const needed = (years * 365) / lifetimeDays;

  test('never lapse, and are renewed after about two thirds of their life', () => {
    const { issued, expiredMs } = simulate({ lifetimeDays, years, seed: 'a name' });
    expect(expiredMs).toBe(0);
    expect(issued).toBeGreaterThanOrEqual(Math.floor(needed * 1.5));
    expect(issued).toBeLessThanOrEqual(Math.ceil(needed * 1.65) + 1);
  });

  test('never lapse with an issuer that is away for a quarter of their life, again and again', () => {
    const periodMs = lifetimeDays * DAY_MS;
    const isAway = (nowMs: number) => nowMs % periodMs < periodMs / 4;
    const { expiredMs, tries, issued } = simulate({ lifetimeDays, years, seed: 'b', isAway });
    expect(expiredMs).toBe(0);
    // Back-off: few of the tries that six an hour would be.
    expect(tries - issued).toBeLessThan(years * 365 * 5);
  });

  test('are renewed within the window the issuer names', () => {
    const renewals: number[] = [];
    const window = (life: CertificateLife) => ({
      startMs: life.notBeforeMs + (lifetimeDays * DAY_MS) / 2,
      endMs: life.notBeforeMs + (lifetimeDays * DAY_MS) / 2 + 2 * HOUR_MS,
    });
    for (let at = 0; at < 50; at++) {
      const life = { notBeforeMs: 0, notAfterMs: lifetimeDays * DAY_MS, obtainedAtMs: 0 };
      renewals.push(renewalTimeMs(life, window(life), fractionOf(`name ${at}`)));
    }
    for (const atMs of renewals) {
      expect(atMs).toBeGreaterThanOrEqual((lifetimeDays * DAY_MS) / 2);
      expect(atMs).toBeLessThanOrEqual((lifetimeDays * DAY_MS) / 2 + 2 * HOUR_MS);
    }
    expect(new Set(renewals).size).toBe(50);
    expect(simulate({ lifetimeDays, years, seed: 'c', window }).expiredMs).toBe(0);
  });

  test('a window that comes too late, or ends before it begins, does not make them lapse', () => {
    const late = (life: CertificateLife) => ({
      startMs: life.notAfterMs + DAY_MS,
      endMs: life.notAfterMs + 2 * DAY_MS,
    });
    const mad = (life: CertificateLife) => ({ startMs: life.notAfterMs, endMs: life.notBeforeMs });
    for (const window of [late, mad]) {
      expect(simulate({ lifetimeDays, years, seed: 'd', window }).expiredMs).toBe(0);
    }
  });

  test.each([-2, 2, -30, 30, 400])('a clock that is %i days off makes no orders without end', (days) => {
    const { issued } = simulate({ lifetimeDays, years: 1, seed: 'e', offsetMs: days * DAY_MS });
    expect(issued).toBeLessThanOrEqual(Math.max(366, 3 * (365 / lifetimeDays)));
  });

  test.each([-2, 2])('a clock that is %i days off leaves nothing expired', (days) => {
    const { expiredMs } = simulate({ lifetimeDays, years: 2, seed: 'f', offsetMs: days * DAY_MS });
    expect(expiredMs).toBe(0);
  });
});

test('an issuer that always says "now" is believed at most once an hour', () => {
  const window = (_life: CertificateLife, nowMs: number) => ({ startMs: nowMs - DAY_MS, endMs: nowMs - HOUR_MS });
  const { issued } = simulate({ lifetimeDays: 90, years: 0.1, seed: 'g', window });
  expect(issued).toBeLessThanOrEqual(0.1 * 365 * 24 + 1);
  const life = { notBeforeMs: 0, notAfterMs: 90 * DAY_MS, obtainedAtMs: HOUR_MS };
  expect(isRenewalTime(life, window(life, 3 * HOUR_MS), 0.5, 3 * HOUR_MS)).toBe(true);
});

test('many certificates of one hour are renewed over hours, not together', () => {
  const life = { notBeforeMs: 0, notAfterMs: 90 * DAY_MS, obtainedAtMs: 0 };
  const times = Array.from({ length: 1_000 }, (_, at) => renewalTimeMs(life, null, fractionOf(`pod${at}.pods.a.org`)));
  const perHour = new Map<number, number>();
  for (const atMs of times) {
    const hour = Math.floor(atMs / HOUR_MS);
    perHour.set(hour, (perHour.get(hour) ?? 0) + 1);
  }
  expect(perHour.size).toBeGreaterThan(60);
  expect(Math.max(...perHour.values())).toBeLessThan(40);
});

test('the last fifth of the life is a warning, its end an alarm', () => {
  const life = { notBeforeMs: 0, notAfterMs: 100, obtainedAtMs: 0 };
  expect([0, 79, 81, 99, 100, 1_000].map((nowMs) => lapseOf(life, nowMs))).toEqual([
    'no',
    'no',
    'soon',
    'soon',
    'expired',
    'expired',
  ]);
});

test('the issuer is asked about renewal as often as it requests, but between once a minute and once a day', () => {
  expect(nextAdviceMs(0, null)).toBe(6 * HOUR_MS);
  expect(nextAdviceMs(0, 0)).toBe(60_000);
  expect(nextAdviceMs(0, 2 * HOUR_MS)).toBe(2 * HOUR_MS);
  expect(nextAdviceMs(0, 400 * DAY_MS)).toBe(DAY_MS);
});

test('a failing name is tried at most five times in its first hour, then less and less often', () => {
  const tries = [0];
  let nowMs = 0;
  for (let failures = 1; failures < 30; failures++) {
    const next = nameRetryAtMs({ failures, nowMs, retryAfterMs: null, fraction: fractionOf(String(failures)) });
    expect(next).toBeGreaterThan(nowMs);
    nowMs = next;
    tries.push(nowMs);
  }
  expect(tries.filter((atMs) => atMs < HOUR_MS).length).toBeLessThanOrEqual(5);
  expect((tries.at(-1) ?? 0) - (tries.at(-2) ?? 0)).toBeLessThanOrEqual(6 * HOUR_MS);
});

test('a Retry-After is respected, up to a day', () => {
  const failed = { failures: 1, nowMs: 1_000, fraction: 0 };
  expect(nameRetryAtMs({ ...failed, retryAfterMs: 2 * HOUR_MS })).toBe(1_000 + 2 * HOUR_MS);
  expect(accountRetryAtMs({ ...failed, retryAfterMs: 90_000 })).toBe(91_000);
  expect(accountRetryAtMs({ ...failed, retryAfterMs: 1 })).toBe(16_000);
  expect(nameRetryAtMs({ ...failed, retryAfterMs: 400 * DAY_MS })).toBe(1_000 + DAY_MS);
  expect(isRetryTime(5_000, 4_999)).toBe(false);
  expect(isRetryTime(5_000, 5_000)).toBe(true);
  expect(isRetryTime(400 * DAY_MS, 0)).toBe(true);
});
