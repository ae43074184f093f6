import { pause } from '../../../core/abort.ts';
import { errorText } from '../../../core/errors.ts';
import type { Term } from '../../../core/leadership.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import type { VolumeFiles } from '../../../core/volume.ts';
import { purgeFilesRecords } from './files-record.ts';

/** Schedules are in minutes. */
const EVERY_MS = 60_000;

export interface FilesWork {
  readonly files: VolumeFiles;
  readonly log: Logger;
  /** What else there is to be done at each turn, such as schedules. */
  readonly turn: (store: Store, term: Term) => Promise<void>;
}

/** What the leader does about files, with the store of its term, until that is over. A failed turn is followed by others. */
export async function leadFiles({ files, log, turn }: FilesWork, store: Store, term: Term): Promise<void> {
  while (!term.isOver()) {
    for (const work of [() => purgeFilesRecords({ store, files, log }, term), () => turn(store, term)]) {
      await work().catch((error: unknown) => {
        if (!term.isOver()) log.warn({ error: errorText(error) }, 'failed to manage volumes and snapshots; will retry');
      });
    }
    await pause(EVERY_MS, term.signal);
  }
}
