import { pause } from '../../../core/abort.ts';
import { coalesce } from '../../../core/coalesce.ts';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';

const EXERCISE_EVERY_MS = 5_000;
/** One call that is late may be a moment's load, for which no replica leaves the load balancer; so many in a row count. */
const LATE_CALLS = 2;
/** Until the store has been looked at, and could be written to for the first time. */
const FIRST_EVERY_MS = 250;
const FIRST_TURNS = 40;
const NOT_YET = 'not yet written to';
/** Looking through a whole store takes time; it gets at most this share of it. */
const EXAMINE_LEAST_MS = 60_000;
const EXAMINE_SHARE = 0.001;

export interface ReadinessExerciseOptions {
  readonly store: Pick<Store, 'commit'>;
  /** A store that is suspect is not written to. */
  readonly isTrusted: () => boolean;
  /** Looks for damage, where the store can. Throws, or returns a sentence for the log. */
  readonly examine?: (() => Promise<string | null>) | undefined;
  /** What has been read from the store that was damaged; null = nothing. */
  readonly damage?: (() => string | null) | undefined;
  /** A call of the API on the way that the gateway takes. Throws when it fails. */
  readonly callApi: (signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
  /** Default: 5 s. */
  readonly everyMs?: number;
}

/** What failed at the last attempt, as a public text: no name, no address. Null = nothing. */
export interface ReadinessExercise {
  store(): string | null;
  api(): string | null;
  run(signal: AbortSignal): Promise<void>;
}

/** Regularly tests what readiness promises: a write to the store, and an API call through its socket. */
export function createReadinessExercise(options: ReadinessExerciseOptions): ReadinessExercise {
  const { store, isTrusted, examine, callApi, log } = options;
  const problems: { store: string | null; damage: string | null; api: string | null } = {
    store: NOT_YET,
    damage: null,
    api: null,
  };
  let examineAtMs = 0;

  /** Logs a change, not every turn. */
  function found(what: keyof typeof problems, problem: string | null, detail: string): void {
    const before = problems[what];
    problems[what] = problem;
    if (problem !== null && (before === null || before === NOT_YET))
      log.error({ problem: `${what}: ${problem}`, detail }, 'not ready');
    if (problem === null && before !== null && before !== NOT_YET)
      log.info({ was: `${what}: ${before}` }, 'ready again');
  }

  async function writeToStore(): Promise<void> {
    if (!isTrusted()) return;
    try {
      await store.commit({});
      found('store', null, '');
    } catch (error) {
      found('store', storeProblem(error), errorText(error));
    }
  }

  async function lookForDamage(): Promise<void> {
    const startedMs = performance.now();
    if (examine === undefined || startedMs < examineAtMs) return;
    let damage: string | null;
    try {
      damage = await examine();
    } catch (error) {
      damage = errorText(error);
    }
    const tookMs = performance.now() - startedMs;
    examineAtMs = performance.now() + Math.max(EXAMINE_LEAST_MS, tookMs / EXAMINE_SHARE);
    found('damage', damage === null ? null : 'damaged', damage ?? '');
  }

  /** In a row. */
  let lateCalls = 0;

  async function callTheApi(signal: AbortSignal): Promise<void> {
    try {
      await callApi(signal);
      lateCalls = 0;
      found('api', null, '');
    } catch (error) {
      lateCalls = isLate(error) ? lateCalls + 1 : LATE_CALLS;
      if (lateCalls < LATE_CALLS) return;
      found('api', 'calls through the gateway fail', errorText(error));
    }
  }

  return {
    store: () => ((options.damage?.() ?? null) === null ? (problems.damage ?? problems.store) : 'damaged'),
    api: () => problems.api,
    async run(signal) {
      for (let turn = 0; !signal.aborted; turn++) {
        await Promise.all([writeToStore(), callTheApi(signal)]);
        await lookForDamage();
        const everyMs = options.everyMs ?? EXERCISE_EVERY_MS;
        await pause(
          problems.store === NOT_YET && turn < FIRST_TURNS ? Math.min(FIRST_EVERY_MS, everyMs) : coalesce(everyMs),
          signal,
        );
      }
    },
  };
}

/** Of the names that databases give their failures (store/sqlite/sqlite-failure.ts, Redis' error replies). */
function storeProblem(error: unknown): string {
  const text = errorText(error);
  if (/SQLITE_FULL|ENOSPC|\bOOM\b/.test(text)) return 'writes fail: it is full';
  if (/SQLITE_CORRUPT|SQLITE_NOTADB/.test(text)) return 'damaged';
  if (/SQLITE_IOERR/.test(text)) return 'writes fail: the disk does not work';
  return 'writes fail';
}

function isLate(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError');
}
