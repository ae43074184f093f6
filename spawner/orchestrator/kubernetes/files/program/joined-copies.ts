import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FilesRef, VolumeFiles } from '../../../../../core/volume.ts';

type Source = { readonly ref: FilesRef; readonly path: string };
type Target = Source & { readonly sizeLimitMiB: number };

interface Running {
  readonly done: Promise<void>;
  readonly cancel: AbortController;
  users: number;
}

/**
 * Copies that callers of several replicas may ask for: each is made once. One that is under way is joined, and ends early
 * when all who asked for it have gone. One that has been made leaves a mark beside the files and is not made again: pods
 * may mount it by then.
 */
export class JoinedCopies {
  readonly #files: VolumeFiles;
  readonly #claims: ReadonlyMap<string, string>;
  readonly #running = new Map<string, Running>();

  constructor(files: VolumeFiles, claims: ReadonlyMap<string, string>) {
    this.#files = files;
    this.#claims = claims;
  }

  async join(from: Source, to: Target, signal: AbortSignal): Promise<void> {
    const copy = this.#running.get(to.ref.uid) ?? this.#begin(from, to);
    copy.users += 1;
    const leave = (): void => {
      copy.users -= 1;
      if (copy.users === 0) copy.cancel.abort();
    };
    signal.addEventListener('abort', leave, { once: true });
    try {
      await copy.done;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  #begin(from: Source, to: Target): Running {
    const cancel = new AbortController();
    const done = this.#copy(from, to, cancel.signal).finally(() => this.#running.delete(to.ref.uid));
    done.catch(() => undefined);
    const running = { done, cancel, users: 0 };
    this.#running.set(to.ref.uid, running);
    return running;
  }

  async #copy(from: Source, to: Target, signal: AbortSignal): Promise<void> {
    const mark = join(this.#claims.get(to.ref.uid) ?? '', 'copied');
    const isMade = await access(mark).then(
      () => true,
      () => false,
    );
    if (isMade) return;
    await this.#files.copy(from, to, signal);
    await writeFile(mark, '');
  }
}
