import { randomBytes } from 'node:crypto';
import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../../../core/error-code.ts';
import { errorText, PodgateError } from '../../../../core/errors.ts';
import type { OsUser } from '../os-users.ts';
import { runTool } from '../run-tool.ts';
import { flushToDisk } from '../runtime-files.ts';
import type { DataSource, OpenedData } from './data-sources.ts';

const CHOWN_TIMEOUT_MS = 10 * 60_000;

/** Of the new pod: the parts of its RecipeContext that a copy needs. */
export interface CloneContext {
  readonly volume: string | null;
  readonly staging: string;
  readonly osUser: OsUser | null;
  readonly environment: Readonly<Record<string, string>>;
}

export interface CloneRequest {
  readonly context: CloneContext;
  readonly source: DataSource;
  /** Of the data directory, in both volumes. */
  readonly dataName: string;
  /**
   * Fills `made`, which is empty and ours alone, from the original's directory. `signal` also aborts with the source. What
   * a PodgateError says is for the user of the clone, who may read all of the original.
   */
  readonly fill: (
    from: string,
    made: string,
    how: { readonly opened: OpenedData; readonly signal: AbortSignal },
  ) => Promise<void>;
}

/** Makes the data directory of a clone, which appears whole or not at all. Throws PodgateError, for the user. */
export async function cloneDirectory(
  { context, source, dataName, fill }: CloneRequest,
  signal: AbortSignal,
): Promise<void> {
  const opened = await source.open(signal);
  const directory = join(context.staging, randomBytes(16).toString('hex'));
  const made = join(directory, dataName);
  source.say(`Copies the data of pod ${source.podId}.`);
  try {
    await mkdir(made, { recursive: true, mode: 0o700 });
    const both = AbortSignal.any([signal, opened.signal]);
    await fill(join(opened.volume, dataName), made, { opened, signal: both });
    await giveTo(context, made, signal);
    await flushToDisk(made);
    signal.throwIfAborted();
    await rename(made, join(String(context.volume), dataName));
    source.say('');
  } catch (error) {
    if (signal.aborted) throw error;
    throw opened.signal.aborted ? interrupted(source) : sourceFailure(error, source);
  } finally {
    opened.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function giveTo({ osUser, environment }: CloneContext, made: string, signal: AbortSignal): Promise<void> {
  await chmod(made, 0o700);
  if (osUser === null) return;
  const options = { cwd: '/', environment, user: null, timeoutMs: CHOWN_TIMEOUT_MS };
  await runTool('chown', ['-R', '-h', `${osUser.uid}:${osUser.gid}`, made], options, signal);
}

function interrupted({ podId }: DataSource): PodgateError {
  return new PodgateError('api.conflict', {
    publicMessages: [`Pod ${podId} was started or deleted while its data was copied.`],
  });
}

function sourceFailure(error: unknown, { podId }: DataSource): PodgateError {
  const about = `The data of pod ${podId} could not be copied.`;
  if (error instanceof PodgateError) {
    return new PodgateError(error.code, { publicMessages: [about, ...error.publicMessages], cause: error });
  }
  if (isDiskFull(error)) {
    return new PodgateError('api.too-large', {
      publicMessages: [about, 'The disk of this machine is full.'],
      cause: error,
    });
  }
  return new PodgateError('orchestrator.unavailable', {
    publicMessages: [about],
    detail: errorText(error),
    cause: error,
  });
}

export function isDiskFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(errorCode(error) ?? '');
}
