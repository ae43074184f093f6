import type { Clock } from '../../../core/clock.ts';
import type { OpenEnvironment } from '../../../core/environment.ts';
import type { Logger } from '../../../core/logger.ts';
import type { TemplateCatalog } from '../../../core/template.ts';
import type { KubeApi } from './api/kube-api.ts';

export interface KubernetesOrchestratorOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly log: Logger;
  readonly templates: TemplateCatalog;
  readonly openEnvironment: OpenEnvironment;
  readonly settings: KubernetesSettings;
  readonly limits?: Partial<KubernetesLimits>;
}

/** How the objects of pods are made. */
export interface KubernetesSettings {
  /** For pods alone. */
  readonly namespace: string;
  /** Name of this installation: everything it makes carries it, and it touches nothing else. */
  readonly site: string;
  /** Null = the cluster's default. */
  readonly storageClass: string | null;
  /** Of each volume. */
  readonly volumeSizeMiB: number;
  /** Of a container's layer and log on its node's disk; what its directories there may hold is added to the limit. */
  readonly ephemeralStorage: { readonly requestMiB: number; readonly limitMiB: number };
  /** ReadWriteOncePod, where the storage class has it: the cluster itself lets no second Pod mount a volume. */
  readonly volumeAccessMode: 'ReadWriteOnce' | 'ReadWriteOncePod';
  /** Of volumes and snapshots that users share: null = as for others. */
  readonly namedVolumes: {
    readonly storageClass: string | null;
    /** ReadWriteOnce: pods that use one at the same time are on one node. */
    readonly accessMode: 'ReadWriteOnce' | 'ReadWriteMany';
  };
  /** Podgate's own, which prepares volumes and serves their files. */
  readonly filesImage: string;
  /** What the cluster demands of images that users choose; templates meet the restricted level in any case. */
  readonly podSecurity: 'restricted' | 'baseline';
  readonly imagePullSecrets: readonly string[];
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly TolerationSettings[];
  /** Who may connect to pods. */
  readonly gateway: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
  /** Addresses (CIDR) beside private and link-local ones that pods may not reach. */
  readonly egressExcept: readonly string[];
  /** Addresses (CIDR) of name servers of the cluster, beside those that every policy allows. */
  readonly nameServers: readonly string[];
}

export interface TolerationSettings {
  readonly key?: string;
  readonly operator?: 'Exists' | 'Equal';
  readonly value?: string;
  readonly effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
  /** Of NoExecute: how long it is tolerated; absent = for ever. */
  readonly tolerationSeconds?: number;
}

export interface KubernetesLimits {
  /** The API server ends each watch after this, so that one that ends later is known to be dead. */
  readonly watchSeconds: number;
  /** How much later. */
  readonly watchLateMs: number;
  /** After a failure of a watch; it doubles with each. */
  readonly watchRetryMs: number;
  readonly watchRetryMaxMs: number;
  /** Callers wait this long for the first complete list. */
  readonly firstListMs: number;
  readonly page: number;
  /** A Pod without data whose deletion is overdue for this long is no longer waited for. */
  readonly lostAfterMs: number;
}

export const DEFAULT_LIMITS: KubernetesLimits = {
  watchSeconds: 8,
  watchLateMs: 2_000,
  watchRetryMs: 200,
  watchRetryMaxMs: 1_000,
  firstListMs: 5_000,
  page: 500,
  lostAfterMs: 30_000,
};
