import { constants, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { kindOfError } from '../../core/error-code.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { StoreMark, StoreMemory } from '../../core/store.ts';

/** A mark is about 150 bytes. */
const SLOT_BYTES = 512;
/** So often what was written is also waited for to be on the disk: a mark lost with the power is this old at most. */
const SYNC_EVERY_MS = 1_000;

/**
 * Remembers, outside the store, what was last seen of it: a database that was replaced or restored is noticed by the next
 * process, too. Two slots of one line each are written in turn, in place: a write that is cut off leaves the other, and
 * a full disk has the room. It is in the hands of the kernel within a millisecond or so, and outlives a kill -9.
 */
export function openLastSeenFile(path: string, log: Logger): StoreMemory {
  const found = readSlots(path);
  let turn = found.turn;
  let next: StoreMark | null = null;
  let isWriting = false;
  let isComplaining = false;
  let syncedMs = performance.now();

  /** Until nothing is left to write: of the marks that come meanwhile, the last. */
  async function writeAll(): Promise<void> {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      for (let mark = next; mark !== null; mark = next) {
        next = null;
        turn += 1;
        const line = `${JSON.stringify({ ...mark, turn }).padEnd(SLOT_BYTES - 1)}\n`;
        await file.write(line, (turn % 2) * SLOT_BYTES);
        if (performance.now() - syncedMs < SYNC_EVERY_MS) continue;
        await file.datasync();
        syncedMs = performance.now();
      }
    } finally {
      await file.close();
    }
  }

  async function write(): Promise<void> {
    if (isWriting) return;
    isWriting = true;
    try {
      while (next !== null) await writeAll();
      isComplaining = false;
    } catch (error) {
      // Less may be noticed, after a restart, of a store that is put in this one's place. The pods go on.
      if (!isComplaining) log.warn({ error: errorText(error) }, 'failed to save the last seen state of the store');
      isComplaining = true;
    } finally {
      isWriting = false;
    }
  }

  return {
    read: () => found.mark,
    note(mark) {
      next = mark;
      void write();
    },
  };
}

function readSlots(path: string): { readonly mark: StoreMark | null; readonly turn: number } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (kindOfError(error) === 'absent') return { mark: null, turn: 0 };
    throw error;
  }
  const [first, ...others] = text.split('\n').flatMap((line) => parseSlot(line) ?? []);
  if (first === undefined) return { mark: null, turn: 0 };
  return others.reduce((newest, slot) => (slot.turn > newest.turn ? slot : newest), first);
}

/** Null for a malformed or truncated line. Lines of an older release have neither stamp nor fence. */
function parseSlot(line: string): { readonly mark: StoreMark; readonly turn: number } | null {
  try {
    // A slot that was never written holds NUL bytes.
    const found = JSON.parse(line.replaceAll('\0', '')) as Partial<StoreMark> & { readonly turn?: number };
    const { storeId, commits, stamp = '', fence = 0, turn = 1 } = found;
    if (typeof storeId !== 'string' || typeof commits !== 'number') return null;
    return { mark: { storeId, commits, stamp, fence }, turn };
  } catch {
    return null;
  }
}
