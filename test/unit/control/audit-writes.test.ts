import { expect, test } from 'vitest';

import { auditWrites } from '../../../control/objects/audit/audit-writes.ts';
import type { Stored } from '../../../core/store.ts';

test('the record of an object has at most 32 KiB, whatever characters are in it', async () => {
  let stored: Stored<'audit'> | null = null;
  const store = { get: async () => stored as never };
  const object = { kind: 'pod', id: 'mypod', uid: 'u1', tenant: 'default', createdBy: 'alice', readers: ['alice'] };
  const caller = { username: 'alice', tenant: 'default', isAdministrator: false };
  for (let atMs = 1; atMs <= 50; atMs += 1) {
    const changes = [{ field: 'command', before: '€'.repeat(256), after: `${atMs}${'€'.repeat(250)}` }];
    const { puts } = await auditWrites(store, object, { caller, atMs, changes, isDeletion: false });
    const [put] = puts;
    if (put?.kind !== 'audit') throw new Error('no put of the record');
    stored = { kind: 'audit', key: put.key, revision: atMs, value: put.value };
    expect(Buffer.byteLength(JSON.stringify(put.value.entries))).toBeLessThan(33 * 1024);
    expect(put.value.entries.at(-1)?.atMs).toBe(atMs);
  }
});
