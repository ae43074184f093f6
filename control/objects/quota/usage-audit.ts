import { listAll } from '../../../core/list-all.ts';
import {
  addUsage,
  isUsageEqual,
  NO_USAGE,
  type Usage,
  usageKey,
  usageOfFiles,
  usageOfKeptVolume,
  usageOfObject,
} from '../../../core/quota.ts';
import type { Store, Stored } from '../../../core/store.ts';
import { usagePut } from './admission.ts';
import { FILES_KINDS, PLAIN_KINDS, type UsageOf } from './count-usage.ts';

/** One count of all pods, beside a pass of the health loop over them. */
export interface UsageCount {
  add(pod: Stored<'pod'>): void;
  /**
   * Corrects the usage records that differ from what was counted. Each is compare-and-set against its revision from
   * before the count: one that an API call has changed since is left to the next count.
   */
  settle(): Promise<void>;
}

export interface UsageAudit {
  /** To be called before the pods are listed. `store`: that of the leader's term. */
  begin(store: Store): Promise<UsageCount>;
}

interface Counted {
  readonly revision: number;
  readonly tenant: string;
  readonly user: string;
  readonly usage: Usage;
}

/**
 * Keeps usage records from drifting: what pods have given back since, what an older copy of the store, `recover` or
 * another release has brought. Counting a pod takes some work, so that a pod of the same revision is counted once.
 */
export function createUsageAudit(usageOf: UsageOf): UsageAudit {
  let known = new Map<string, Counted>();

  return {
    async begin(store) {
      const recorded = new Map<string, Stored<'usage'>>();
      for await (const stored of listAll(store, 'usage')) recorded.set(stored.key, stored);
      const seen = new Map<string, Counted>();
      const counted = new Map<string, { tenant: string; user: string | null; used: Usage }>();
      const count = (tenant: string, user: string, usage: Usage): void => {
        for (const who of [user, null]) {
          const key = usageKey(tenant, who);
          counted.set(key, { tenant, user: who, used: addUsage(counted.get(key)?.used ?? NO_USAGE, usage) });
        }
      };
      return {
        add({ key, revision, value }) {
          const former = known.get(key);
          const pod =
            former?.revision === revision
              ? former
              : { revision, tenant: value.tenant, user: value.createdBy, usage: usageOf(value) };
          seen.set(key, pod);
          count(pod.tenant, pod.user, pod.usage);
        },

        async settle() {
          known = seen;
          for await (const { value } of listAll(store, 'kept-volume')) {
            count(value.tenant, value.createdBy, usageOfKeptVolume(value));
          }
          for (const kind of FILES_KINDS) {
            for await (const { value } of listAll(store, kind)) {
              count(value.tenant, value.createdBy, usageOfFiles(value));
            }
          }
          for (const kind of PLAIN_KINDS) {
            for await (const { value } of listAll(store, kind)) {
              count(value.tenant, value.createdBy, usageOfObject(value));
            }
          }
          for (const [key, { tenant, user, used }] of counted) {
            const stored = recorded.get(key) ?? null;
            if (stored !== null && isUsageEqual(stored.value.used, used)) continue;
            await store.commit({ puts: [usagePut({ tenant, user, used }, stored)] });
          }
          for (const [key, { revision, value }] of recorded) {
            if (counted.has(key)) continue;
            await store.commit({ deletes: [{ kind: 'usage', key, expected: revision, uid: value.uid }] });
          }
        },
      };
    },
  };
}
