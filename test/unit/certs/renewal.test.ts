import { expect, test } from 'vitest';
import { isRenewalDue, renewalTimeMs } from '../../../certs/renewal.ts';

const VALIDITY = { notBeforeMs: 1_000, notAfterMs: 91_000 };

test('a certificate is renewed after two thirds of its life', () => {
  expect(renewalTimeMs(VALIDITY)).toBe(61_000);
  expect(isRenewalDue(VALIDITY, 60_999)).toBe(false);
  expect(isRenewalDue(VALIDITY, 61_000)).toBe(true);
});

test('it is renewed long after its end, and when the clock was set back behind its beginning', () => {
  expect(isRenewalDue(VALIDITY, 10_000_000)).toBe(true);
  expect(isRenewalDue(VALIDITY, 999)).toBe(true);
});
