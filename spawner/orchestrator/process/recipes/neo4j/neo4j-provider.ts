import { pause } from '../../../../../core/abort.ts';
import { backoffMs } from '../../../../../core/backoff.ts';
import { errorText, PodgateError } from '../../../../../core/errors.ts';
import type { PackageSource } from '../../packages/fetch-file.ts';
import { type AcquireLock, type InstallProgress, installPackage, packageHome } from '../../packages/install-package.ts';
import { megabytes } from '../../packages/package-error.ts';
import type { Waiting } from '../recipe.ts';
import { findNeo4j, type Neo4jLookup, type Neo4jSettings } from './neo4j-home.ts';
import { announcement, type Neo4jPackage, readNeo4jPackage } from './neo4j-package.ts';

/** How often it is checked whether somebody has installed what is missing. */
const LOOK_AGAIN_MS = 2_000;
/** After a download that failed. */
const RETRY = { firstMs: 5_000, maxMs: 5 * 60_000 };
/** A step of the progress that users see: each is a line of action_logs. */
const STEP_PERCENT = 5;
const STARTS_BY_ITSELF = 'The pod then starts by itself.';

export interface Neo4jInstallSettings {
  /** `never`: only what somebody has installed. */
  readonly install: 'auto' | 'never';
  /** Rejects with a PodgateError that says what is wrong with the settings of Maven on this machine. */
  readonly source: () => Promise<PackageSource>;
  readonly lock: AcquireLock;
}

export interface Neo4jProvider {
  find(): Promise<Neo4jLookup>;
  /** See Recipe.provide. */
  provide(say: (waiting: Waiting) => void, signal: AbortSignal): Promise<void>;
}

/** Finds Neo4j, and downloads it for the first pod that needs it: once, however many pods wait. */
export function createNeo4jProvider(
  settings: Neo4jSettings & Neo4jInstallSettings,
  asRoot: boolean,
  lookAgainMs = LOOK_AGAIN_MS,
): Neo4jProvider {
  let known: Neo4jPackage | null = null;
  const wanted = (): Neo4jPackage => (known ??= readNeo4jPackage());
  const find = () => findNeo4j(settings, packageHome(settings.cacheDir, wanted()), asRoot);
  const download = createSharedDownload(async (onProgress, signal) => {
    const { cacheDir, lock } = settings;
    const source = await settings.source();
    return installPackage({ package: wanted(), cacheDir, source, lock, onProgress }, signal);
  });

  async function provide(say: (waiting: Waiting) => void, signal: AbortSignal): Promise<void> {
    let failures = 0;
    let retryAtMs = 0;
    for (;;) {
      const lookup = await find();
      signal.throwIfAborted();
      if (lookup.kind === 'found') return;
      if (lookup.kind !== 'no-neo4j' || settings.install === 'never') {
        say({ message: `${lookup.reason} ${STARTS_BY_ITSELF}`, isProblem: true });
      } else if (performance.now() >= retryAtMs) {
        try {
          await download(progressTeller(wanted(), await settings.source(), say), signal);
          continue;
        } catch (error) {
          signal.throwIfAborted();
          failures += 1;
          const waitMs = backoffMs(failures, RETRY);
          retryAtMs = performance.now() + waitMs;
          say({ message: failureText(wanted(), error, waitMs), isProblem: true });
        }
      }
      await pause(lookAgainMs, signal);
      signal.throwIfAborted();
    }
  }

  return { find, provide };
}

function failureText({ title }: Neo4jPackage, error: unknown, waitMs: number): string {
  const reason = error instanceof PodgateError ? error.publicMessages.join(' ') : errorText(error);
  return `${title} could not be installed. ${reason} It is tried again in ${waitMs / 1000} s.`;
}

function progressTeller(
  wanted: Neo4jPackage,
  source: PackageSource,
  say: (waiting: Waiting) => void,
): (progress: InstallProgress) => void {
  let last = '';
  return (progress) => {
    const message = progressText(wanted, source, progress);
    if (message === last) return;
    last = message;
    say({ message, isProblem: false });
  };
}

/** The same sentence until there is a step of progress. */
function progressText(wanted: Neo4jPackage, source: PackageSource, progress: InstallProgress): string {
  if (progress.kind === 'elsewhere') return `Another process is downloading ${wanted.title}.`;
  const percent = Math.floor((progress.doneBytes / wanted.bytes) * 100);
  const step = percent - (percent % STEP_PERCENT);
  const done = step === 0 ? '' : ` ${step} % (${megabytes((wanted.bytes * step) / 100)} MB) is here.`;
  return `${announcement(wanted, source)}${done}`;
}

type Download = (onProgress: (progress: InstallProgress) => void, signal: AbortSignal) => Promise<unknown>;

/** One download for all who wait for it; it ends when the last of them gives up. */
function createSharedDownload(start: Download): Download {
  let running: { readonly result: Promise<unknown>; readonly ending: AbortController } | null = null;
  const followers = new Set<(progress: InstallProgress) => void>();
  let last: InstallProgress = { kind: 'downloading', doneBytes: 0 };

  function begin(): NonNullable<typeof running> {
    const ending = new AbortController();
    last = { kind: 'downloading', doneBytes: 0 };
    const result = Promise.resolve()
      .then(() =>
        start((progress) => {
          last = progress;
          for (const follower of followers) follower(progress);
        }, ending.signal),
      )
      .finally(() => {
        running = null;
      });
    result.catch(() => undefined);
    return { result, ending };
  }

  return async (onProgress, signal) => {
    // One that nobody waits for any more is on its way out.
    while (running?.ending.signal.aborted === true) await running.result.catch(() => undefined);
    running ??= begin();
    const { result, ending } = running;
    followers.add(onProgress);
    onProgress(last);
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([result, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      followers.delete(onProgress);
      if (followers.size === 0) ending.abort();
    }
  };
}
