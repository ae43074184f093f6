import { chmod, chown, lstat, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../../../core/error-code.ts';
import type { FilesRef } from '../../../../core/volume.ts';
import { allocateOsUser, type OsUser } from '../os-users.ts';
import { isPlainName } from '../paths.ts';
import { requireRoom as requireDiskRoom } from './disk-room.ts';
import { ignoredGroup } from './file-failures.ts';
import { DIRECTORY_MODE } from './walk-safely.ts';

export type VolumePlaceOptions =
  | {
      /** Made when first used; only this uses it. */
      readonly root: string;
      /** Each volume gets a user of its own, whose files these are. */
      readonly asRoot: boolean;
    }
  /** Directories that are there, by uid, each a file system of its own: what is made in them is our group's, too. */
  | { readonly claims: ReadonlyMap<string, string> };

interface Place {
  readonly own: string;
  /** What users see. */
  readonly data: string;
  /** Beside it, on the same file system: what is not complete yet. */
  readonly incoming: string;
  readonly copy: string;
}

export interface VolumePlaces {
  readonly placeOf: (ref: FilesRef) => Place;
  /** Its directories are there afterwards. */
  readonly made: (ref: FilesRef) => Promise<Place & { readonly owner: OsUser | null }>;
  /** Throws 'orchestrator.unavailable' when the disk is nearly full. */
  readonly requireRoom: () => Promise<void>;
}

/** Where the directories of a volume are, and whose they are. */
export function volumePlaces(options: VolumePlaceOptions): VolumePlaces {
  /** One at a time: two must not choose the same user. */
  let making: Promise<unknown> = Promise.resolve();

  function placeOf({ uid }: FilesRef): Place {
    if (!isPlainName(uid)) throw new Error('this uid cannot name a directory');
    const own = 'claims' in options ? options.claims.get(uid) : join(options.root, uid);
    if (own === undefined) throw new Error('the claim of this uid is not mounted');
    return { own, data: join(own, 'data'), incoming: join(own, 'incoming'), copy: join(own, 'copy') };
  }

  async function made(ref: FilesRef): Promise<Place & { readonly owner: OsUser | null }> {
    const place = placeOf(ref);
    const turn = making.then(async () => {
      await mkdir(place.own, { recursive: true, mode: 0o700 });
      // Pods come to their volumes by mounts alone: they have the groups of those.
      if ('root' in options) await chmod(options.root, 0o700);
      // Last: it is what says that the rest is there.
      await mkdir(place.incoming, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
        throw 'claims' in options && errorCode(error) === 'EACCES' ? ignoredGroup() : error;
      });
      await makeOwned(place.data);
    });
    making = turn.catch(() => undefined);
    await turn;
    return { ...place, owner: await ownerOf(place.data) };
  }

  async function makeOwned(directory: string): Promise<void> {
    const isNew = (await mkdir(directory, { recursive: true, mode: 0o700 })) !== undefined;
    const isOurs = 'claims' in options || !options.asRoot;
    if ('claims' in options && isNew) await chmod(directory, DIRECTORY_MODE);
    if (!isOurs && (isNew || (await stat(directory)).uid === 0)) {
      const { uid, gid } = await newOwner(options.root);
      await chown(directory, uid, gid);
      await chmod(directory, DIRECTORY_MODE);
    }
  }

  async function newOwner(root: string): Promise<OsUser> {
    const taken = new Set<number>();
    for (const name of await readdir(root)) {
      const owner = await lstat(join(root, name, 'data')).catch(() => null);
      if (owner !== null) taken.add(owner.uid);
    }
    return await allocateOsUser((candidate) => taken.has(candidate));
  }

  async function requireRoom(): Promise<void> {
    if ('root' in options) await requireDiskRoom(options.root);
  }

  async function ownerOf(directory: string): Promise<OsUser | null> {
    if ('claims' in options) return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    if (!options.asRoot) return null;
    const { uid, gid } = await stat(directory);
    return { uid, gid };
  }

  return { placeOf, made, requireRoom };
}
