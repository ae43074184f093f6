import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Lease, Lock } from '../../core/lock.ts';
import type { OpenStoreHarness, StoreHarness, StoreTraits } from './store-harness.ts';

const LEASE_MS = 10_000;
/** Long enough that a few calls to a real Redis are over sooner, on a machine that is busy, too. */
const SHORT_MS = 400;

/** The laws of `Lock` (core/lock.ts), for every implementation. */
export function describeLock(name: string, open: OpenStoreHarness, { keepsData }: StoreTraits): void {
  describe(`Lock in ${name}`, () => {
    let harness: StoreHarness;
    let lock: Lock;

    beforeEach(async () => {
      harness = await open();
      ({ lock } = harness);
    });
    afterEach(() => harness.close());

    async function acquire(lockName: string, leaseMs = LEASE_MS): Promise<Lease> {
      const lease = await lock.acquire(lockName, leaseMs);
      if (lease === null) throw new Error(`${lockName} is held`);
      return lease;
    }

    it('has at most one live lease per name', async () => {
      const attempts = await Promise.all(Array.from({ length: 10 }, () => lock.acquire('health', LEASE_MS)));
      expect(attempts.filter((lease) => lease !== null)).toHaveLength(1);
      expect(await lock.acquire('health', LEASE_MS)).toBeNull();
      expect((await acquire('other')).name).toBe('other');
    });

    it('grants a lease to the next caller after it has expired or been released', async () => {
      await acquire('health', SHORT_MS);
      await harness.passTime(2 * SHORT_MS);
      const second = await acquire('health');
      expect(await lock.acquire('health', LEASE_MS)).toBeNull();
      await lock.release(second);
      await acquire('health');
    });

    it('keeps a lease that is renewed', async () => {
      const lease = await acquire('health', 2 * SHORT_MS);
      expect(await lock.renew(lease, 20 * SHORT_MS)).toBe(true);
      await harness.passTime(4 * SHORT_MS);
      expect(await lock.acquire('health', LEASE_MS)).toBeNull();
      expect(await lock.renew(lease, SHORT_MS)).toBe(true);
    });

    it('returns false for the renewal of a lost lease, taken over or not, and ignores its release', async () => {
      const lost = await acquire('health', SHORT_MS);
      await harness.passTime(2 * SHORT_MS);
      expect(await lock.renew(lost, LEASE_MS)).toBe(false);
      const held = await acquire('health');
      expect(await lock.renew(lost, LEASE_MS)).toBe(false);
      await lock.release(lost);
      expect(await lock.acquire('health', LEASE_MS)).toBeNull();
      expect(await lock.renew(held, LEASE_MS)).toBe(true);
      await lock.release(held);
      expect(await lock.renew(held, LEASE_MS)).toBe(false);
    });

    it('gives fences that only increase, across all names', async () => {
      const fences: number[] = [];
      for (let i = 0; i < 50; i++) {
        const lease = await acquire(`name-${i % 3}`);
        fences.push(lease.fence);
        await lock.release(lease);
      }
      for (const [i, fence] of fences.entries()) expect(fence).toBeGreaterThan(fences[i - 1] ?? 0);
      expect(fences.every((fence) => Number.isSafeInteger(fence))).toBe(true);
    });

    if (keepsData) {
      it('gives increasing fences after it is reopened', async () => {
        const before = await acquire('health');
        await lock.release(before);
        harness = await harness.reopen();
        ({ lock } = harness);
        expect((await acquire('health')).fence).toBeGreaterThan(before.fence);
      });
    }
  });
}
