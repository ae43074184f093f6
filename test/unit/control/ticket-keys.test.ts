import { describe, expect, it } from 'vitest';
import { createOneReplica } from '../../../control/store/one-replica.ts';
import { createTicketKeys, type SealedTicketKeys, type TicketKeys } from '../../../control/tickets/ticket-keys.ts';
import { createKeyringVault } from '../../../control/vault/keyring-vault.ts';
import { makeKey } from '../../../control/vault/keyring-file.ts';
import { PodgateError } from '../../../core/errors.ts';
import { TICKET_PERIOD_MS } from '../../../core/ticket-keys.ts';
import type { Vault } from '../../../core/vault.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

/** What replicas share, in memory; it may be away. */
class Shared {
  readonly agreed = new Map<string, string>();
  isAway = false;

  readonly replicas = {
    agree: async (name: string, value: string) => {
      if (this.isAway) throw new PodgateError('store.unavailable');
      if (!this.agreed.has(name)) this.agreed.set(name, value);
      return this.agreed.get(name) ?? value;
    },
    forget: async (name: string) => {
      if (this.isAway) throw new PodgateError('store.unavailable');
      this.agreed.delete(name);
    },
  };
}

const vault = createKeyringVault([makeKey()]);
const time = { nowMs: 1_000 * TICKET_PERIOD_MS };
const clock = { now: () => time.nowMs, monotonicMs: () => time.nowMs };

interface Replica {
  readonly tickets: TicketKeys;
  readonly file: { kept: SealedTicketKeys };
  /** Until it has taken note of the time. */
  passes(ms: number): Promise<void>;
  end(): Promise<void>;
}

async function startReplica(shared: Shared, file = { kept: {} as SealedTicketKeys }, own: Vault = vault) {
  let looks = 0;
  const tickets = createTicketKeys({
    replicas: shared.replicas,
    vault: own,
    file: { read: async () => file.kept, write: async (keys) => void (file.kept = keys) },
    clock: { ...clock, now: () => (looks++, time.nowMs) },
    log: silentLog,
    lookMs: 1,
  });
  await tickets.open();
  const ending = new AbortController();
  const running = tickets.run(ending.signal);
  const replica: Replica = {
    tickets,
    file,
    async passes(ms) {
      time.nowMs += ms;
      const before = looks;
      await until('two more looks', () => looks > before + 2);
    },
    async end() {
      ending.abort();
      await running;
    },
  };
  return replica;
}

describe('ticket keys', () => {
  it('are the same in all replicas at any time, and the next key is there one period early', async () => {
    const shared = new Shared();
    const [one, two] = [await startReplica(shared), await startReplica(shared)];
    expect(one.tickets.keys()).toHaveLength(3);
    for (let turn = 0; turn < 5; turn++) {
      expect(two.tickets.keys()).toEqual(one.tickets.keys());
      const before = one.tickets.keys();
      const told: unknown[] = [];
      const stop = one.tickets.follow(() => told.push(one.tickets.keys()));
      await one.passes(TICKET_PERIOD_MS);
      await two.passes(0);
      stop();
      expect(told.length).toBeGreaterThan(0);
      const [sealing, ...others] = one.tickets.keys();
      // The next becomes the one that seals; the one that sealed still opens.
      expect(before.slice(1)).toContain(sealing);
      expect(others).toContain(before[0]);
      expect(others).toHaveLength(2);
    }
    expect(new Set(one.tickets.keys()).size).toBe(3);
    await Promise.all([one.end(), two.end()]);
  });

  it('are sealed at rest, and deleted everywhere once their tickets have expired', async () => {
    const shared = new Shared();
    const replica = await startReplica(shared);
    const everywhere = (): string => JSON.stringify([[...shared.agreed], replica.file.kept]);
    const [first = ''] = replica.tickets.keys();
    expect(everywhere()).not.toContain(first);
    const sealed = Object.values(replica.file.kept);
    expect(sealed).toHaveLength(3);
    await replica.passes(3 * TICKET_PERIOD_MS);
    expect(replica.tickets.keys()).not.toContain(first);
    for (const text of sealed) expect(everywhere()).not.toContain(text);
    expect(shared.agreed.size).toBe(3);
    await replica.end();
  });

  it('survive a restart, also when no store keeps them', async () => {
    const first = await startReplica(new Shared());
    await first.end();
    const again = await startReplica(new Shared(), first.file);
    expect(again.tickets.keys()).toEqual(first.tickets.keys());
    await again.end();
    const stranger = await startReplica(new Shared());
    expect(stranger.tickets.keys()).not.toContain(first.tickets.keys()[0]);
    await stranger.end();
  });

  it('keep working when the store is unavailable at a rotation and long after it', async () => {
    const shared = new Shared();
    const replica = await startReplica(shared);
    const [sealing, next] = replica.tickets.keys();
    shared.isAway = true;
    await replica.passes(TICKET_PERIOD_MS);
    expect(replica.tickets.keys()[0]).toBe(next);
    expect(replica.tickets.keys()).toContain(sealing);
    await replica.passes(9 * TICKET_PERIOD_MS);
    expect(replica.tickets.keys()[0]).toBe(next);
    shared.isAway = false;
    await replica.passes(0);
    expect(replica.tickets.keys()).toHaveLength(3);
    expect(replica.tickets.keys()).not.toContain(next);
    await replica.end();
  });

  it('are created again when the keyring is lost', async () => {
    const shared = new Shared();
    const first = await startReplica(shared);
    await first.end();
    const other = await startReplica(shared, first.file, createKeyringVault([makeKey()]));
    expect(other.tickets.keys()).toHaveLength(3);
    expect(other.tickets.keys()).not.toContain(first.tickets.keys()[0]);
    await other.end();
  });

  it('cannot be decrypted without the store', async () => {
    const shared = new Shared();
    shared.isAway = true;
    await expect(startReplica(shared)).rejects.toThrow(PodgateError);
    const alone = createTicketKeys({
      replicas: createOneReplica({ id: 'one', shared: '' }),
      vault,
      file: { read: async () => ({}), write: async () => undefined },
      clock,
      log: silentLog,
    });
    expect(alone.keys()).toEqual([]);
    await alone.open();
    expect(alone.keys()).toHaveLength(3);
  });
});
