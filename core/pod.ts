import type { StoredEnvironment } from './environment.ts';
import type { SecretMap } from './secret-map.ts';
import type { TemplateOrigin } from './template-origin.ts';

/** The pod as users know it: a record with a desired and an observed state. What runs is a workload (see workloads.ts). */

/** The desired state. */
export type Wish = 'ON' | 'OFF' | 'RESTART';
export const WISHES: readonly Wish[] = ['ON', 'OFF', 'RESTART'];

/** The observed state, in the seed's terms, and ASLEEP: nothing of it runs until a client connects (see PodRecord.sleep). */
export type PodStatus =
  | 'STOPPED'
  | 'REQUESTED'
  | 'SPAWNER_SETUP'
  | 'CREATING_CONTAINER'
  | 'RUNNING'
  | 'ERROR'
  | 'COMPLETE'
  | 'SHUTTING_DOWN'
  | 'ASLEEP';
export const POD_STATUSES: readonly PodStatus[] = [
  'STOPPED',
  'REQUESTED',
  'SPAWNER_SETUP',
  'CREATING_CONTAINER',
  'RUNNING',
  'ERROR',
  'COMPLETE',
  'SHUTTING_DOWN',
  'ASLEEP',
];

/** The names of these statuses in the Tapis Pods API since 1.3.1. */
export const TAPIS_STATUS_NAMES = {
  STOPPED: 'STOPPED',
  REQUESTED: 'REQUESTED',
  SPAWNER_SETUP: 'SPAWNER SETUP',
  CREATING_CONTAINER: 'CREATING',
  RUNNING: 'AVAILABLE',
  ERROR: 'ERROR',
  COMPLETE: 'COMPLETE',
  SHUTTING_DOWN: 'DELETING',
  // It is reachable: a connection wakes it.
  ASLEEP: 'AVAILABLE',
} as const satisfies Readonly<Record<PodStatus, string>>;
/** Which of the two a response uses. */
export type StatusNames = 'seed' | 'tapis';

export function statusName(status: PodStatus, names: StatusNames): PodStatus | (typeof TAPIS_STATUS_NAMES)[PodStatus] {
  return names === 'tapis' ? TAPIS_STATUS_NAMES[status] : status;
}

export type StanzaProtocol = 'http' | 'tcp' | 'postgres' | 'local_only';

/** Options of a stanza; an absent one has its default. Changes take effect at once. */
export interface StanzaOptions {
  /** The pod terminates TLS: the gateway reads the server name and forwards every byte. Default: the gateway terminates TLS. */
  readonly tls?: 'passthrough';
  /** What the pod speaks behind an http route: HTTP/2 without TLS and without asking (gRPC). Default: HTTP/1.1. */
  readonly backendProtocol?: 'h2c';
  /** Sends the client's address to the pod in a PROXY header of this version. Default: no header. */
  readonly sendProxyProtocol?: 'v1' | 'v2';
  /** In the protocol of a tcp stanza the server speaks first, so that its clients say nothing until it has. Default: clients do. */
  readonly speaksFirst?: 'server';
  /** PEM: clients must show a certificate that one of these authorities issued. Default: none is asked for. */
  readonly clientCa?: string;
}

/** The link by which the Tapis interface opens a pod. For display; what is not there has its default. */
export interface StanzaLink {
  readonly uiUri?: string;
  readonly uiUriRedirect?: true;
  readonly uiUriDescription?: string;
}

/** Which users an http stanza lets in, by a login at the tenant. What is not there has its default. Changes take effect at once. */
export interface StanzaLogin {
  /** Default: anyone may connect, and the rest here has no effect. */
  readonly tapisAuth?: true;
  /** User names, `*`, or one of the groups of core/pod-login.ts. Default: AUTHORIZED_USERS. */
  readonly tapisAuthAllowedUsers?: readonly string[];
  /** Header fields that the pod receives: `<<tapisusername>>` and the like stand for what is known of the user. */
  readonly tapisAuthResponseHeaders?: Readonly<Record<string, string>>;
  /** Where a browser arrives after its login. Default: at the page that it asked for. */
  readonly tapisAuthReturnPath?: string;
  /** Paths that need no login, with everything below them. Default: none. */
  readonly tapisAuthExcludedPaths?: readonly string[];
}

/** One entry of a pod's networking. */
export interface Stanza extends StanzaOptions, StanzaLink, StanzaLogin {
  readonly protocol: StanzaProtocol;
  readonly port: number;
  /** IPv4 or IPv6 addresses or CIDR blocks that may connect; empty = everyone. */
  readonly ipAllowList: readonly string[];
}

/**
 * A directory of the workload. Of type pvc: a volume of the pod's own, which is kept while the pod is stopped, goes with it
 * when it is deleted, and is never mounted by another uid. Of other types: files of their own that pods share.
 */
export interface VolumeMount {
  readonly type: 'pvc' | 'tapisvolume' | 'tapissnapshot';
  /** Of the volume; several mounts may show parts of one. Lower-case letters and digits. */
  readonly name: string;
  /** Absolute and plain: no `..`, no trailing slash. */
  readonly mountPath: string;
  /** Directory within the volume, relative; '' = all of it. */
  readonly subPath: string;
  readonly readOnly: boolean;
  /** What the user used as the key: the volume's name (as in the seed) or the path (newer). Responses use the same. */
  readonly keyedBy: 'name' | 'path';
  /** Of shared files: by whose permission they are mounted, at each start. */
  readonly mountedBy?: string;
}

/** Names of the pod's own volumes. */
export function ownVolumesOf({ volumeMounts }: Pick<PodSpec, 'volumeMounts'>): readonly string[] {
  return volumeMounts.flatMap(({ type, name }) => (type === 'pvc' ? [name] : []));
}

/** Millicpu, MiB and whole GPUs. */
export interface Resources {
  readonly cpuRequest: number;
  readonly cpuLimit: number;
  readonly memRequest: number;
  readonly memLimit: number;
  readonly gpus: number;
}

/**
 * What the user wrote, with defaults filled in. Image, command, environment, volumes, resources and ports take effect
 * at the next start; description and networking policy at once.
 */
export interface PodSpec {
  /** Name of a template of the catalog (`template/neo4j`), or an image on the allow list. */
  readonly template: string;
  /** `template` as the user wrote it (`neo4j`): returned in responses. */
  readonly writtenTemplate: string;
  /** Not there: it was not made from a template of a user. The fields here have what came of it. */
  readonly fromTemplate?: TemplateOrigin;
  readonly description: string;
  readonly command: readonly string[] | null;
  readonly arguments: readonly string[] | null;
  readonly environmentVariables: StoredEnvironment;
  /** What `${pods:secrets:KEY}` stands for in variables, command and arguments. Not there: nothing. */
  readonly secretMap?: SecretMap;
  readonly networking: Readonly<Record<string, Stanza>>;
  readonly persistentVolume: boolean;
  readonly volumeMounts: readonly VolumeMount[];
  readonly resources: Resources;
  /** Stored and returned, never used (as in the seed). */
  readonly dataRequests: readonly string[];
  readonly rolesRequired: readonly string[];
  /** Seconds from the start of an instance to its stop; -1 = never. */
  readonly timeToStopDefault: number;
  /** Not there: it never sleeps. */
  readonly sleep?: SleepPolicy;
}

/** When a pod may go to sleep, and how its clients wait while it wakes. Takes effect at once. */
export interface SleepPolicy {
  /** Without use for this long. */
  readonly afterSeconds: number;
  /** How long a client is held at most while the pod starts. */
  readonly holdSeconds: number;
  /** Paths that uptime probes request: while the pod sleeps, the gateway answers GET for them. */
  readonly probePaths: readonly string[];
}

/** READ < USER < ADMIN. */
export type PermissionLevel = 'READ' | 'USER' | 'ADMIN';
export const PERMISSION_LEVELS: readonly PermissionLevel[] = ['READ', 'USER', 'ADMIN'];

/** What the orchestrator last reported about the workload's container, for users to read. */
export interface StatusContainer {
  readonly phase: string;
  readonly message: string;
  /** ISO 8601, or null before the start. */
  readonly startTime: string | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly restarts: number;
}

/** Which spec a workload was made from. An observation with another identity is no evidence about a record. */
export interface WorkloadIdentity {
  readonly uid: string;
  readonly generation: number;
  readonly run: number;
}

/** Whose data a pod began with a copy of, or will. */
export interface ClonedFrom {
  readonly podId: string;
  /** The snapshot of its data that is copied; absent: the data of the pod itself. */
  readonly snapshotId?: string;
  /** Of the snapshot where there is one, else of the pod. Releases that know no snapshots find no such pod, and refuse. */
  readonly uid: string;
  /** Who has cloned it: the copy is made by their permission. */
  readonly by: string;
}

export interface PodRecord {
  /** New at every create. */
  readonly uid: string;
  readonly tenant: string;
  readonly podId: string;
  /** The user whose quota it counts against, so that permissions given to others do not use up theirs. Never changes. */
  readonly createdBy: string;
  readonly clonedFrom?: ClonedFrom;
  /** Grows with every change of the spec. It is the ETag. */
  readonly generation: number;
  readonly spec: PodSpec;
  /** What the current (or last) workload was made from; null before the first start. Routes use this spec. */
  readonly applied: { readonly generation: number; readonly run: number; readonly spec: PodSpec } | null;
  /** Volumes that earlier specs named and this one does not: they stay, and count, until the pod is deleted. */
  readonly formerVolumes?: readonly string[];
  /** Grows with every start. Logs are kept per run. */
  readonly run: number;
  readonly wish: Wish;
  readonly status: PodStatus;
  /** Set by DELETE: invisible to the API, on its way to being purged. */
  readonly deleting: {
    readonly keepVolume: boolean;
    /** With keepVolume: how many volumes there may be to keep. */
    readonly volumes?: number;
  } | null;
  readonly permissions: Readonly<Record<string, PermissionLevel>>;
  /** Seconds, for one instance only (cleared at STOPPED); -1 = never; null = the spec's default. */
  readonly timeToStopInstance: number | null;
  readonly statusContainer: StatusContainer | null;
  /** Times in a row that the cluster ended its workload (phases 'evicted' and 'exceeded'). */
  readonly evictions?: {
    /** The run that was started after the last eviction: a start by the user has another run and resets the count. */
    readonly run: number;
    readonly count: number;
    /** How many of them in a row were for more than the pod may use. */
    readonly excesses: number;
    /** Wall clock of the last. */
    readonly atMs: number;
  };
  /** Spawns that failed since the last success. */
  readonly attempts: number;
  /** Wall clock ms before which no further spawn is tried; 0 = at once. */
  readonly notBeforeMs: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** Wall clock ms of the first RUNNING of this run. For display; what stops a pod is its workload's age. */
  readonly startInstanceMs: number | null;
  /** How long the last start took, from the workload to the first RUNNING. Only of pods with a sleep policy. */
  readonly startTookMs?: number;
  /** Postgres users whose connections wake it: its own, and those that it has accepted. Written when it goes to sleep. */
  readonly knownUsers?: readonly string[];
  /** How often it may still go to sleep in quick succession, as of wall clock `atMs`. Not there: it never slept. */
  readonly sleepsLeft?: { readonly count: number; readonly atMs: number };
  /** What kept it awake at the last check inside it. Null or not there: nothing did. */
  readonly usedInside?: UsedInside | null;
  /** Not there or null: it is awake. Only while the desired state is ON. */
  readonly sleep?: Sleep | null;
}

/**
 * On the way to sleep, or asleep. `holding`: it still runs, and no new connection reaches it, while it is checked once more
 * that nobody uses it. `decided`: its workload is removed, and its data kept. Waking it removes this.
 */
export interface Sleep {
  readonly stage: 'holding' | 'decided';
  /** Wall clock ms. */
  readonly sinceMs: number;
}

export interface UsedInside {
  /** Wall clock ms. */
  readonly atMs: number;
  /** As in UseInside (core/use-inside.ts), and why it could not be checked. */
  readonly because: readonly string[];
}

/** A pod's random user name and password. `sealed` is opened by the Vault with the uid as context. */
export interface CredentialRecord {
  readonly uid: string;
  readonly tenant: string;
  readonly podId: string;
  readonly sealed: string;
}

/** What is sealed in a CredentialRecord, as JSON. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}
