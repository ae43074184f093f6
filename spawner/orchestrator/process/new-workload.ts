import { chown, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import { allocateOsUser, type OsUser } from './os-users.ts';
import type { Paths } from './paths.ts';
import type { ProcessTable } from './process-table.ts';
import { type WorkloadRecord, writeWorkloadRecord } from './workload-record.ts';

/** The record first, then its directories: an interrupted one is found and removed. */
export async function makeDirectories(paths: Paths, record: WorkloadRecord, hasVolume: boolean): Promise<void> {
  const { uid } = record.workload;
  await mkdir(paths.workload(uid), { mode: 0o711 });
  await writeWorkloadRecord(paths.workload(uid), record);
  await mkdir(paths.config(uid), { mode: 0o755 });
  await makeOwned(paths.home(uid), record.osUser);
  if (hasVolume) await makeOwned(paths.volume(uid), record.osUser);
}

async function makeOwned(directory: string, owner: OsUser | null): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (owner !== null) await chown(directory, owner.uid, owner.gid);
}

/** A stranger's program may begin to run as a user at any moment anyway; our own pods are known from their records. */
const USERS_KEPT_MS = 1_000;

/** The users that processes of this machine run as. When many pods are made at once they share a look. */
export function createUsersInUse(table: ProcessTable): () => Promise<ReadonlySet<number>> {
  let seen: ReadonlySet<number> = new Set();
  let seenMs = -Infinity;
  return async () => {
    if (performance.now() - seenMs > USERS_KEPT_MS) {
      seen = new Set((await table.all()).flatMap((process) => process.uids));
      seenMs = performance.now();
    }
    return seen;
  };
}

/** The user of the volume that is there already, else one that no workload, volume or process has. */
export async function chooseOsUser(
  paths: Paths,
  uid: string,
  usersInUse: () => Promise<ReadonlySet<number>>,
  records: readonly WorkloadRecord[],
): Promise<OsUser> {
  const own = await ownerOf(paths.volume(uid));
  // A volume of ours (0) was made by somebody who had no users to give.
  if (own !== null && own.uid !== 0) return own;
  const taken = new Set(await usersInUse());
  for (const record of records) if (record.osUser !== null) taken.add(record.osUser.uid);
  for (const name of await readdir(paths.volumes)) {
    const owner = await ownerOf(join(paths.volumes, name));
    if (owner !== null) taken.add(owner.uid);
  }
  return allocateOsUser((candidate) => taken.has(candidate));
}

async function ownerOf(path: string): Promise<OsUser | null> {
  return stat(path).then(
    ({ uid, gid }) => ({ uid, gid }),
    () => null,
  );
}

/** What is written about it before anything runs. The credentials stay out. */
export function recordOf(
  workload: WorkloadSpec,
  made: Pick<WorkloadRecord, 'instance' | 'osUser' | 'ports' | 'madeAt' | 'homeIsVolume' | 'volumeBytesBefore'>,
): WorkloadRecord {
  const { tenant, podId, uid, generation, run, spec, createdBy, hosts, publicHttpsPort, annotations, mounts, origin } =
    workload;
  return {
    version: 1,
    workload: {
      ...{ tenant, podId, uid, generation, run, spec, hosts, publicHttpsPort, annotations },
      ...(createdBy === undefined ? {} : { createdBy }),
      ...(mounts === undefined ? {} : { mounts }),
      ...(origin === undefined ? {} : { origin }),
    },
    ...made,
    state: 'preparing',
    startedAtMs: null,
    ready: null,
    restarts: 0,
    failures: 0,
    isCrashing: false,
    message: '',
    exitCode: null,
    signal: null,
    data: 'keep',
  };
}
