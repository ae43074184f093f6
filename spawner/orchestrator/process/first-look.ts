import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Belonging } from './belonging.ts';
import { endProcesses } from './end-processes.ts';
import type { Paths } from './paths.ts';
import type { ProcessTable } from './process-table.ts';
import { removeTree } from './remove-tree.ts';
import { readWorkloadRecord, type WorkloadRecord } from './workload-record.ts';

/** Directories: other users pass through them, and list none of them. */
const DIRECTORY_MODE = 0o711;

export interface LeftBehind {
  /** Started under this supervisor and not half-made: to be gone on with. */
  readonly adopt: readonly WorkloadRecord[];
  /** The rest: to be ended. */
  readonly end: readonly WorkloadRecord[];
}

/**
 * What earlier processes have left: makes the directories, sorts the workloads, and ends whatever carries this
 * installation's marker but belongs to no workload that is known.
 */
export async function lookAtLeftBehind(options: {
  readonly paths: Paths;
  readonly table: ProcessTable;
  readonly installation: string;
  readonly instance: string;
}): Promise<LeftBehind> {
  const { paths, table, installation, instance } = options;
  for (const directory of [paths.workloads, paths.volumes]) {
    await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  }
  const adopt: WorkloadRecord[] = [];
  const end: WorkloadRecord[] = [];
  const known = new Set<string>();
  for (const uid of await readdir(paths.workloads)) {
    const record = await readWorkloadRecord(paths.workload(uid));
    if (record === null || record.workload.uid !== uid) continue;
    known.add(uid);
    const goesOn = record.instance === instance && ['prepared', 'completed', 'failed'].includes(record.state);
    (goesOn ? adopt : end).push(record);
  }
  await endUnknown(table, installation, known);
  for (const uid of await readdir(paths.workloads)) {
    if (!known.has(uid)) await removeTree(join(paths.workloads, uid));
  }
  // It contains only unfinished directories, and the process that was making them is gone.
  await removeTree(paths.staging);
  await mkdir(paths.staging, { recursive: true, mode: DIRECTORY_MODE });
  return { adopt, end };
}

async function endUnknown(table: ProcessTable, installation: string, known: ReadonlySet<string>): Promise<void> {
  const unknown = new Set<string>();
  for (const each of await table.all()) {
    const [markedInstallation, uid] = table.markerOf(each)?.split('/') ?? [];
    if (markedInstallation !== installation || uid === undefined || known.has(uid)) continue;
    if (each.pid !== process.pid) unknown.add(uid);
  }
  for (const uid of unknown) {
    const belonging: Belonging = {
      markerPrefix: `${installation}/${uid}/`,
      osUid: null,
      leader: null,
      known: new Map(),
      recognises: null,
    };
    await endProcesses({ table, belonging, stopSignal: 'SIGTERM', graceMs: 1_000 });
  }
}
