import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PodgateError } from '../../../../../core/errors.ts';
import {
  type CloneDataRequest,
  cloneDirectory,
  type CloneRequest,
  type DataCopier,
} from '../../copies/clone-directory.ts';
import { copyTree } from '../../copies/copy-tree.ts';
import { exists } from '../../runtime-files.ts';
import { initialAuth } from './auth.ts';

/** In the data directory, from its making until somebody has been let in: nothing there is a user's yet. */
export const FIRST_START = 'podgate-first-start';
/**
 * In the data directory of a clone until somebody has been let in. A first start that is killed is started over, as that
 * of a new Neo4j is, but only what it has made itself.
 */
export const FIRST_START_OF_CLONE = 'podgate-first-start-of-clone';
/** Of the database, which is all that a clone has: users and passwords are in `system`, which the first start makes anew. */
const COPIED = ['databases', 'transactions'];
const LEFT_OUT = ['databases/system', 'transactions/system', 'databases/store_lock'];

/** The database of a stopped Neo4j: Community has no backup of one that runs. */
export const NEO4J_DATA: DataCopier = {
  name: 'data',
  copy: async (from, made, { opened }, signal) => {
    if (opened.ports !== null) {
      throw new PodgateError('api.conflict', {
        publicMessages: [
          'Neo4j Community cannot be copied while it runs: stop it first. A clone that waits for it goes on by itself.',
        ],
      });
    }
    if ((await exists(join(from, FIRST_START))) || !(await exists(join(from, 'databases', 'neo4j')))) {
      throw new PodgateError('api.conflict', { publicMessages: ['It has no database yet: start it first.'] });
    }
    await copyTree(from, made, {
      isLeftOut: (path) => LEFT_OUT.includes(path) || !COPIED.includes(path.split('/')[0] ?? ''),
      onLink: () => undefined,
      ...{ limit: opened.limit, signal },
    });
  },
};

/** Begins with the data of another pod, or with a snapshot. Throws as cloneDirectory does. */
export async function cloneData({ credentials, ...of }: CloneDataRequest, signal: AbortSignal): Promise<void> {
  const finish: CloneRequest['finish'] = async (made) => {
    await mkdir(join(made, 'dbms'), { mode: 0o700 });
    const auth = initialAuth(credentials.username, credentials.password);
    await writeFile(join(made, 'dbms', 'auth.ini'), auth, { mode: 0o600 });
    await writeFile(join(made, FIRST_START_OF_CLONE), '', { mode: 0o600 });
  };
  const { username } = credentials;
  await cloneDirectory({ ...of, copier: NEO4J_DATA, username, finish }, signal);
}
