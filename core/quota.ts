import type { PodRecord } from './pod.ts';
import { restorationOf, type SnapshotRecord, type VolumeRecord } from './volume.ts';

/** What quotas count. Connections are counted where they are: in the gateway. */
export const QUOTA_RESOURCES = ['pods', 'cpu', 'memory', 'volumes', 'volumeMiB', 'recordBytes'] as const;
export type QuotaResource = (typeof QUOTA_RESOURCES)[number];

/**
 * How much of each: `cpu` in millicpu and `memory` in MiB, by the limits of pods that are to run; kept volumes count among
 * `volumes`. `volumeMiB`: what named volumes and snapshots may hold.
 */
export type Usage = Readonly<Record<QuotaResource, number>>;

/** The most of each; null = no quota. */
export type QuotaLimits = Readonly<Record<QuotaResource, number | null>>;

export interface Quotas {
  readonly perUser: QuotaLimits;
  readonly perTenant: QuotaLimits;
}

/** Whose quota an object counts against. Permissions given to other users do not use up theirs. */
export interface QuotaOwner {
  readonly tenant: string;
  readonly createdBy: string;
}

export type QuotaScope = 'user' | 'tenant';

export interface QuotaStanding {
  readonly used: Usage;
  readonly limits: QuotaLimits;
}

/**
 * What a user's pods, or those of a whole tenant (`user` is null), are counted as. Never less than the truth once the
 * health loop has seen the store: whatever grows is added in the commit that lets it grow, and compare-and-set of this
 * record keeps two replicas from letting in what only one of them has room for. What shrinks is taken off by the health
 * loop, which counts again all the time, and by any call that would otherwise be refused.
 */
export interface UsageRecord {
  readonly uid: string;
  readonly tenant: string;
  readonly user: string | null;
  readonly used: Usage;
}

/** What remains of a pod deleted with `?keep_volume=true`: its volumes still count against its creator's quota. */
export interface KeptVolumeRecord {
  readonly uid: string;
  readonly tenant: string;
  readonly podId: string;
  readonly createdBy: string;
  /** How many. */
  readonly volumes: number;
  readonly keptAtMs: number;
}

export const NO_USAGE: Usage = { pods: 0, cpu: 0, memory: 0, volumes: 0, volumeMiB: 0, recordBytes: 0 };

/** Of everything in a record that does not come from its user: status, messages, times, and the credential beside it. */
const RECORD_BYTES = 4_096;

/** `volumes`: how many the pod has, which its templates and the orchestrator decide. */
export function usageOfPod(record: PodRecord, volumes: number): Usage {
  const { spec, applied, permissions, deleting } = record;
  // What runs may still be of an earlier spec; and what is in the spec now is applied at the next start, uncounted.
  const isActive = record.wish !== 'OFF' || record.status !== 'STOPPED';
  const most = (of: (spec: PodRecord['spec']) => number): number =>
    Math.max(of(spec), applied === null ? 0 : of(applied.spec));
  return {
    // The place is free as soon as the pod is deleted; what it holds is free when it is gone.
    pods: deleting === null ? 1 : 0,
    cpu: isActive ? most(({ resources }) => resources.cpuLimit) : 0,
    memory: isActive ? most(({ resources }) => resources.memLimit) : 0,
    volumes,
    volumeMiB: 0,
    recordBytes:
      RECORD_BYTES + bytesOf(spec) + most(bytesOf) + bytesOf(permissions) + bytesOf(record.formerVolumes ?? []),
  };
}

export function usageOfKeptVolume({ volumes }: KeptVolumeRecord): Usage {
  return { ...NO_USAGE, volumes };
}

/** Volumes and snapshots count alike: each has files of its own, and a volume that is being restored has them twice. */
export function usageOfFiles(record: VolumeRecord | SnapshotRecord): Usage {
  const copies = restorationOf(record) === null ? 1 : 2;
  return {
    ...NO_USAGE,
    volumes: 1,
    volumeMiB: copies * Math.max(record.sizeLimit, record.greatestSizeLimit ?? 0),
    recordBytes: RECORD_BYTES + bytesOf(record.description) + bytesOf(record.permissions),
  };
}

/** Of what is a record and nothing else: secrets, templates and their tags, images. */
export function usageOfObject(record: object): Usage {
  return { ...NO_USAGE, recordBytes: RECORD_BYTES + bytesOf(record) };
}

export function addUsage(a: Usage, b: Usage): Usage {
  return combine(a, b, (x, y) => x + y);
}

/** `after` less `before`: negative where it shrinks. */
export function usageDifference(before: Usage, after: Usage): Usage {
  return combine(after, before, (x, y) => x - y);
}

/** Has this release written it? An older one knew fewer resources. */
export function isWholeUsage(used: Partial<Usage>): used is Usage {
  return QUOTA_RESOURCES.every((resource) => used[resource] !== undefined);
}

/** Is there more of anything? */
export function isGrowing(change: Usage): boolean {
  return QUOTA_RESOURCES.some((resource) => change[resource] > 0);
}

export function isUsageEqual(a: Usage, b: Usage): boolean {
  return QUOTA_RESOURCES.every((resource) => a[resource] === b[resource]);
}

/** The first resource that would grow beyond its limit; null: there is room. What does not grow is never refused. */
export function exceededResource(used: Usage, change: Usage, limits: QuotaLimits): QuotaResource | null {
  const isExceeded = (resource: QuotaResource): boolean => {
    const limit = limits[resource];
    return limit !== null && change[resource] > 0 && used[resource] + change[resource] > limit;
  };
  return QUOTA_RESOURCES.find(isExceeded) ?? null;
}

/** Key of a usage record: of a user, or of a tenant as a whole. Neither tenants nor users contain a slash. */
export function usageKey(tenant: string, user: string | null): string {
  return user === null ? tenant : `${tenant}/${user}`;
}

export function keptVolumeKey({ tenant, podId, uid }: Pick<KeptVolumeRecord, 'tenant' | 'podId' | 'uid'>): string {
  return `${tenant}/${podId}/${uid}`;
}

function combine(a: Usage, b: Usage, how: (x: number, y: number) => number): Usage {
  return {
    pods: how(a.pods, b.pods),
    cpu: how(a.cpu, b.cpu),
    memory: how(a.memory, b.memory),
    volumes: how(a.volumes, b.volumes),
    volumeMiB: how(a.volumeMiB, b.volumeMiB),
    recordBytes: how(a.recordBytes, b.recordBytes),
  };
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
