import { randomBytes } from 'node:crypto';
import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credentials } from '../../../../core/pod.ts';
import type { OsUser } from '../os-users.ts';
import { runTool } from '../run-tool.ts';
import { flushToDisk } from '../runtime-files.ts';
import type { DataSource, OpenedData } from './data-sources.ts';
import { withSource } from './with-source.ts';

const CHOWN_TIMEOUT_MS = 10 * 60_000;

/** Of the new pod: the parts of its RecipeContext that a copy needs. */
export interface CloneContext {
  readonly volume: string | null;
  readonly staging: string;
  readonly osUser: OsUser | null;
  readonly environment: Readonly<Record<string, string>>;
}

/** How the data of a template is copied. */
export interface DataCopier {
  /** Of the data directory, in a volume. */
  readonly name: string;
  /**
   * Fills `made`, which is empty and ours alone, from the original's directory. `signal` also aborts with the source. What
   * a PodgateError says is for the user of the copy, who may read all of the original: 'api.…' where trying again does not
   * help.
   */
  copy(
    from: string,
    made: string,
    /** `username`: of the credentials of the original. */
    how: { readonly opened: OpenedData; readonly username: string },
    signal: AbortSignal,
  ): Promise<void>;
}

export interface CloneRequest {
  readonly context: CloneContext;
  readonly source: DataSource;
  readonly copier: DataCopier;
  readonly username: string;
  /** What the copy becomes part of the new pod by. */
  readonly finish: (made: string) => Promise<void>;
}

/** What a recipe makes one from. */
export interface CloneDataRequest extends Pick<CloneRequest, 'context' | 'source'> {
  /** Of the clone. Its user name is that of the original. */
  readonly credentials: Credentials;
}

/** Makes the data directory of a clone, which appears whole or not at all. Throws PodgateError, for the user. */
export async function cloneDirectory(
  { context, source, copier, username, finish }: CloneRequest,
  signal: AbortSignal,
): Promise<void> {
  const directory = join(context.staging, randomBytes(16).toString('hex'));
  const made = join(directory, copier.name);
  try {
    await withSource(source, signal, async (opened, both) => {
      await mkdir(made, { recursive: true, mode: 0o700 });
      await copier.copy(join(opened.volume, copier.name), made, { opened, username }, both);
      await opened.requireWhole();
      await finish(made);
      await giveTo(context, made, signal);
      await flushToDisk(made);
      signal.throwIfAborted();
      await rename(made, join(String(context.volume), copier.name));
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function giveTo({ osUser, environment }: CloneContext, made: string, signal: AbortSignal): Promise<void> {
  await chmod(made, 0o700);
  if (osUser === null) return;
  const options = { cwd: '/', environment, user: null, timeoutMs: CHOWN_TIMEOUT_MS };
  await runTool('chown', ['-R', '-h', `${osUser.uid}:${osUser.gid}`, made], options, signal);
}
