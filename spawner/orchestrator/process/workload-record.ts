import { randomBytes } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import type { OsUser } from './os-users.ts';

/**
 * What is written about a workload before anything of it runs (`workload.json`, ours alone), so that the next process
 * can take it over or end it. Secrets of templates are not in it: they are in the data they protect.
 */
export interface WorkloadRecord {
  readonly version: 1;
  /** The supervisor run that started it. Another one ends it. */
  readonly instance: string;
  readonly workload: Omit<WorkloadSpec, 'credentials'>;
  readonly osUser: OsUser | null;
  readonly ports: Readonly<Record<string, number>>;
  readonly madeAt: { readonly bootId: string; readonly bootMs: number; readonly wallMs: number };
  readonly state:
    /** Home and data are being made: nothing of its own runs yet. */
    'preparing' | 'prepared' | 'completed' | /** Not started again. */ 'failed' | 'stopping';
  /** Its home is its volume. Not written by earlier releases, whose pods had a new home at every start. */
  readonly homeIsVolume?: true;
  /** Of its volume before this run, when that was there. Not written by earlier releases. */
  readonly volumeBytesBefore?: number;
  /** Wall clock ms of the last start of its program, for display. */
  readonly startedAtMs: number | null;
  /** What the template adds to the environment of its program; no secrets. Not written by earlier releases. */
  readonly launchEnvironment?: Readonly<Record<string, string>>;
  /** Which stanzas of the running program answer; whether, and since when, it is ready. Null: none answers yet. */
  readonly ready: {
    readonly stanzas: readonly string[];
    /** Where each of them was seen to listen. Not written by earlier releases. */
    readonly addresses?: Readonly<Record<string, string>>;
    readonly isReady: boolean;
    readonly sinceBootMs: number;
  } | null;
  readonly restarts: number;
  readonly failures: number;
  readonly isCrashing: boolean;
  readonly message: string;
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** For 'stopping'. */
  readonly data: 'keep' | 'delete';
}

const FILE = 'workload.json';

/** Atomic: a reader sees the former or the new record, whole. Not synced: it is about processes, which no power cut survives. */
export async function writeWorkloadRecord(directory: string, record: WorkloadRecord): Promise<void> {
  const temporary = join(directory, `${FILE}.${randomBytes(4).toString('hex')}`);
  try {
    await writeFile(temporary, JSON.stringify(record), { mode: 0o600 });
    await rename(temporary, join(directory, FILE));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Null when there is none, or none that this release can read. */
export async function readWorkloadRecord(directory: string): Promise<WorkloadRecord | null> {
  try {
    const record = JSON.parse(await readFile(join(directory, FILE), 'utf8')) as Partial<WorkloadRecord> | null;
    const isOurs = record?.version === 1 && typeof record.instance === 'string' && record.workload !== undefined;
    // Only ever written by us, whole, with its version.
    return isOurs ? (record as WorkloadRecord) : null;
  } catch {
    return null;
  }
}
