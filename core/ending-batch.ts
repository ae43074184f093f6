import type { Batch, Put } from './store.ts';

/**
 * Does this batch only end things: pods that are to be off, objects that are being deleted, and records that are removed,
 * with what the audit log says of it? A store without room takes such batches from what it keeps in reserve, so that a full
 * disk can be emptied; it also lets the leader of the health loop begin its term, which is the only fenced batch without
 * puts. Pure.
 */
export function isEndingBatch({ puts = [], deletes = [], enqueue = [], fence }: Batch): boolean {
  const changes = puts.filter(({ kind }) => kind !== 'audit');
  if (!changes.every(isEndingPut)) return false;
  if (changes.length > 0 || deletes.length > 0) return true;
  return puts.length === 0 && (enqueue.length > 0 || fence !== undefined);
}

function isEndingPut({ kind, expected, value }: Put): boolean {
  if (expected === 'absent') return false;
  if (kind === 'pod' && value.wish === 'OFF') return true;
  return 'deleting' in value && value.deleting !== null;
}
