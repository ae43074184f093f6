import type { Batch } from './store.ts';

/**
 * Does this batch only end things: pods that are to be off or are being deleted, and records that are removed? A store
 * without room takes such batches from what it keeps in reserve, so that a full disk can be emptied; it also lets the
 * leader of the health loop begin its term, which is the only fenced batch without puts. Pure.
 */
export function isEndingBatch({ puts = [], deletes = [], enqueue = [], fence }: Batch): boolean {
  const isEnding = puts.every(
    (put) =>
      put.kind === 'pod' && put.expected !== 'absent' && (put.value.wish === 'OFF' || put.value.deleting !== null),
  );
  return isEnding && (puts.length > 0 || deletes.length > 0 || enqueue.length > 0 || fence !== undefined);
}
