import type { WorkloadSpec } from '../../../../core/workloads.ts';
import type { Credentials } from '../../../../core/pod.ts';
import type { DataCopier } from '../copies/clone-directory.ts';
import type { DataSource } from '../copies/data-sources.ts';
import type { OsUser } from '../os-users.ts';

/** What a recipe knows of the workload it is for. */
export interface RecipeContext {
  readonly workload: Omit<WorkloadSpec, 'credentials'>;
  /** Its home and working directory: new at every start of the pod, unless it is the volume (`keepsHome`). */
  readonly home: string;
  /** Ours alone to write, for the pod to read: once a pod has run, we write nothing where it may have left links. */
  readonly config: string;
  /** Its volume, kept until the pod is deleted; null = it has none. */
  readonly volume: string | null;
  readonly ports: Readonly<Record<string, number>>;
  /** Null: pods run as ourselves. */
  readonly osUser: OsUser | null;
  /** For data in the making, on the same file system as the volumes. */
  readonly staging: string;
  /** What its data is to begin with a copy of; null: as its template has it. */
  readonly source: DataSource | null;
  /** PATH, HOME, LANG and the like, and the marker: for whatever is started for this workload. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface Launch {
  readonly command: readonly string[];
  /** Beside the usual (PATH, HOME, PORT...) and what the user gave. */
  readonly environment: Readonly<Record<string, string>>;
  /** Absolute, existing directories outside its own that it reads and must not change. */
  readonly readOnly?: readonly string[];
}

/** Why a pod does not start yet. */
export interface Waiting {
  /** Sentences for the user. */
  readonly message: string;
  /** Nothing happens until somebody does something about it: the pod is an ERROR meanwhile. */
  readonly isProblem: boolean;
}

/** How a template is run as a process of this machine. */
export interface Recipe {
  readonly stopSignal: 'SIGTERM' | 'SIGINT';
  readonly graceMs: number;
  /** Exit code 0 is a success, not a failure to be restarted. */
  readonly mayComplete: boolean;
  /** Its home is its volume: what it leaves in its working directory is there at the next start. */
  readonly keepsHome?: true;
  /** It follows `RecipeContext.source`. Absent: its data cannot be copied. */
  readonly copier?: DataCopier;
  /** A sentence on why this pod cannot be run here, whatever is tried, or null. */
  refuse(workload: WorkloadSpec): Promise<string | null>;
  /**
   * Resolves once the programs it needs are on this machine, and says meanwhile what it waits for. Called before each
   * start; rejects only when the signal has aborted.
   */
  provide?(say: (waiting: Waiting) => void, signal: AbortSignal): Promise<void>;
  /** Fills home and volume before the first start. May be interrupted and repeated. */
  prepare(context: RecipeContext, credentials: Credentials | null, signal: AbortSignal): Promise<void>;
  /** What to start now, with the ports of now. Also asked by a later control child, which has no credentials. */
  launch(context: RecipeContext, signal: AbortSignal): Promise<Launch>;
  /** Called each time before it is ready: from then on, data there may be a user's. A rejection keeps it from being ready. */
  letIn?(context: RecipeContext): Promise<void>;
  /** What uses its program beside gateways: see core/use-inside.ts. Absent: it cannot be told. */
  useInside?(context: RecipeContext, signal: AbortSignal): Promise<readonly string[]>;
  /** Is this a process of that workload, for programs that overwrite their environment? */
  recognises?(pid: number, volume: string): boolean;
}
