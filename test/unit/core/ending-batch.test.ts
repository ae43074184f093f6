import { expect, test } from 'vitest';
import { auditPut } from '../../../core/audit-put.ts';
import { isEndingBatch } from '../../../core/ending-batch.ts';
import { podPut } from '../../../core/pod-put.ts';
import { podRecord } from '../../support/pod-records.ts';

const on = podRecord({ wish: 'ON' });
const off = podRecord({ wish: 'OFF' });
const deleting = podRecord({ wish: 'ON', deleting: { keepVolume: false } });
const audit = auditPut('dev/u', { uid: 'u', tenant: 'dev', readers: ['alice'], entries: [] }, 'absent');
const purged = { kind: 'pod', key: 'dev/p', expected: 3, uid: 'u' } as const;

test.each([
  ['stops a pod', { puts: [podPut(off, 3)], enqueue: [{ key: 'dev/p' }] }],
  ['stops one, and says so in the audit log', { puts: [podPut(off, 3), audit] }],
  ['deletes one', { puts: [podPut(deleting, 3)] }],
  ['purges one', { deletes: [purged] }],
  ['deletes an object with nothing behind it, and says so in the audit log', { puts: [audit], deletes: [purged] }],
  ['begins a term of the health loop', { fence: { lease: 'health', number: 5 } }],
])('a batch that %s ends something', (_what, batch) => {
  expect(isEndingBatch(batch)).toBe(true);
});

test.each([
  ['creates a pod', { puts: [podPut(on, 'absent')] }],
  ['creates one that is off', { puts: [podPut(off, 'absent')] }],
  ['changes one', { puts: [podPut(on, 3)] }],
  ['stops one and starts another', { puts: [podPut(off, 3), podPut(on, 4)] }],
  ['changes one, and says so in the audit log', { puts: [podPut(on, 3), audit] }],
  ['writes the audit log alone', { puts: [audit] }],
  ['does nothing', {}],
])('a batch that %s does not', (_what, batch) => {
  expect(isEndingBatch(batch)).toBe(false);
});
