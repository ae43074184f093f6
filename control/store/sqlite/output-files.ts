import { createHash } from 'node:crypto';
import { appendFile, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kindOfError } from '../../../core/error-code.ts';
import { PodgateError, errorText } from '../../../core/errors.ts';
import type { KeptOutput } from '../../../core/log-store.ts';
import type { Logger } from '../../../core/logger.ts';
import {
  decodeOutput,
  decodeParts,
  encodeOutput,
  encodePart,
  MOST_RUNS,
  MOST_TAIL_BYTES,
  withParts,
} from '../log-limits.ts';

/** The kept output of pods, by run. See LogStore for the law. */
export interface OutputFiles {
  save(uid: string, run: number, text: string, mark: string): Promise<void>;
  append(uid: string, run: number, text: string, mark: string): Promise<void>;
  /** Of the newest run up to this one; null when there is none. */
  newest(uid: string, upToRun: number): Promise<OutputOfRun | null>;
  remove(uid: string): Promise<void>;
}

export interface OutputOfRun extends KeptOutput {
  readonly run: number;
}

/**
 * Files beside the database, a folder a pod. Not a table: ten megabytes in a transaction would block the event loop, and
 * with it every commit, and make the database too large to copy. A file appears whole or not at all (written aside, then
 * renamed), so a kill -9 leaves at worst a file aside, which the next one replaces. What is appended goes into another file,
 * which begins with the mark of the output that it continues: one that was left behind continues nothing.
 */
export function createOutputFiles(options: { readonly dir: string; readonly log: Logger }): OutputFiles {
  const { dir, log } = options;
  /** The last piece of work of each pod: a save and a removal at the same time must not meet in one folder. */
  const running = new Map<string, Promise<unknown>>();

  /** What this process has appended since it last saved the whole, by pod: only behind that it may append more. */
  const tails = new Map<string, { readonly run: number; readonly mark: string; bytes: number }>();

  function inTurn<T>(what: string, uid: string, work: (folder: string) => Promise<T>): Promise<T> {
    const folder = join(dir, folderName(uid));
    const result = (running.get(uid) ?? Promise.resolve()).then(async () => {
      try {
        return await work(folder);
      } catch (error) {
        const detail = `${what}: ${errorText(error)}`;
        log.error({ code: 'store.unavailable', detail }, 'the store failed');
        throw new PodgateError('store.unavailable', { detail, cause: error });
      }
    });
    const settled = result.then(ignore, ignore).then(() => {
      if (running.get(uid) === settled) running.delete(uid);
    });
    running.set(uid, settled);
    return result;
  }

  async function save(folder: string, uid: string, run: number, text: string, mark: string): Promise<void> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const aside = join(folder, 'aside');
    await writeFile(aside, encodeOutput(text, mark), { mode: 0o600 });
    tails.delete(uid);
    await rename(aside, join(folder, `${run}.log`));
    await rm(join(folder, `${run}.tail`), { force: true });
    for (const old of (await runsIn(folder)).slice(MOST_RUNS))
      for (const kind of ['log', 'tail']) await rm(join(folder, `${old}.${kind}`), { force: true });
    tails.set(uid, { run, mark, bytes: 0 });
  }

  async function newest(folder: string, upToRun: number): Promise<OutputOfRun | null> {
    const run = (await runsIn(folder)).find((each) => each <= upToRun);
    if (run === undefined) return null;
    const saved = await readFile(join(folder, `${run}.log`), 'utf8');
    return { run, ...joinTail(saved, await readFile(join(folder, `${run}.tail`)).catch(nothingIfAbsent)) };
  }

  async function append(folder: string, uid: string, run: number, text: string, mark: string): Promise<void> {
    const part = encodePart(text, mark);
    const tail = tails.get(uid);
    if (tail?.run !== run || tail.bytes + part.length > MOST_TAIL_BYTES) {
      const kept = await newest(folder, run);
      await save(folder, uid, run, (kept?.run === run ? kept.text : '') + text, mark);
      return;
    }
    // Until it is written as a whole: nothing may come behind half a part.
    tails.delete(uid);
    const begin = tail.bytes === 0 ? encodePart('', tail.mark) : '';
    await appendFile(join(folder, `${run}.tail`), Buffer.concat([Buffer.from(begin), part]), { mode: 0o600 });
    tails.set(uid, { ...tail, bytes: tail.bytes + part.length });
  }

  return {
    save: (uid, run, text, mark) => inTurn('saveOutput', uid, (folder) => save(folder, uid, run, text, mark)),
    append: (uid, run, text, mark) => inTurn('appendOutput', uid, (folder) => append(folder, uid, run, text, mark)),
    newest: (uid, upToRun) => inTurn('output', uid, (folder) => newest(folder, upToRun)),
    remove: (uid) =>
      inTurn('removeLogs', uid, (folder) => {
        tails.delete(uid);
        return rm(folder, { recursive: true, force: true });
      }),
  };
}

/** For a database in memory, which leaves nothing behind. */
export function createOutputsInMemory(): OutputFiles {
  const pods = new Map<string, Map<number, string>>();
  return {
    async save(uid, run, text, mark) {
      const runs = pods.get(uid) ?? new Map<number, string>();
      pods.set(uid, runs.set(run, encodeOutput(text, mark).toString('utf8')));
      for (const old of newestFirst([...runs.keys()]).slice(MOST_RUNS)) runs.delete(old);
    },
    async append(uid, run, text, mark) {
      const kept = await this.newest(uid, run);
      await this.save(uid, run, (kept?.run === run ? kept.text : '') + text, mark);
    },
    async newest(uid, upToRun) {
      const runs = pods.get(uid) ?? new Map<number, string>();
      const run = newestFirst([...runs.keys()]).find((each) => each <= upToRun);
      return run === undefined ? null : { run, ...decodeOutput(runs.get(run) ?? '') };
    },
    async remove(uid) {
      pods.delete(uid);
    },
  };
}

/** What is kept, of the two files of a run. */
export function joinTail(saved: string, tail: Buffer): KeptOutput {
  const output = decodeOutput(saved);
  const [first, ...parts] = decodeParts(tail);
  return first?.mark === output.mark ? withParts(output, parts) : output;
}

function nothingIfAbsent(error: unknown): Buffer {
  if (kindOfError(error) === 'absent') return Buffer.alloc(0);
  throw error;
}

function ignore(): void {
  // The caller has got the error.
}

/** Newest first. */
async function runsIn(folder: string): Promise<readonly number[]> {
  let names: readonly string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (kindOfError(error) === 'absent') return [];
    throw error;
  }
  return newestFirst(names.flatMap((name) => (/^\d+\.log$/.test(name) ? [Number.parseInt(name, 10)] : [])));
}

function newestFirst(runs: readonly number[]): readonly number[] {
  return runs.toSorted((a, b) => b - a);
}

/** Uids are ours, and name their folder as they are; any other text must not become a path. */
function folderName(uid: string): string {
  return /^[A-Za-z0-9-]{1,64}$/.test(uid) ? uid : `sha256_${createHash('sha256').update(uid).digest('hex')}`;
}
