import type { PodgateError } from '../../../core/errors.ts';
import {
  addUsage,
  exceededResource,
  isGrowing,
  isWholeUsage,
  type QuotaLimits,
  type QuotaOwner,
  type QuotaResource,
  type QuotaScope,
  type QuotaStanding,
  type Quotas,
  type Usage,
  usageDifference,
  usageKey,
  type UsageRecord,
} from '../../../core/quota.ts';
import type { Put, Store, Stored } from '../../../core/store.ts';
import { countUsage, type UsageOf } from './count-usage.ts';
import { quotaRefusal } from './quota-refusal.ts';

/** How long what was counted of a whole tenant is believed before it is counted again, which may take a while. */
const TENANT_COUNT_MS = 1_000;

export interface AdmissionParts {
  readonly store: Store;
  readonly quotas: Quotas;
  readonly usageOf: UsageOf;
  /** As of Clock. */
  readonly monotonicMs: () => number;
}

export interface Admission {
  /**
   * Room for a change of a pod: the usage records to be written in the same commit as the pod, none when nothing grows.
   * They are compare-and-set: a conflict means that others were let in meanwhile, so ask again. Throws PodgateError
   * 'api.forbidden' that names the quota when there is no room.
   */
  admit(owner: QuotaOwner, before: Usage, after: Usage): Promise<readonly Put[]>;
  /** Throws PodgateError 'api.forbidden' when the volumes of this owner are more than the quota already. */
  admitKeptVolumes(owner: QuotaOwner): Promise<void>;
  /** What a user has used, and may use, by their own quota. */
  standing(owner: QuotaOwner): Promise<QuotaStanding>;
  /** Refusals since the start, by scope and resource. */
  readonly refusals: Readonly<Record<QuotaScope, ReadonlyMap<QuotaResource, number>>>;
}

export function createAdmission(parts: AdmissionParts): Admission {
  const { store, quotas, usageOf, monotonicMs } = parts;
  const refusals = { user: new Map<QuotaResource, number>(), tenant: new Map<QuotaResource, number>() };
  /** By tenant: when its pods were last counted without finding room. */
  const fullTenants = new Map<string, { readonly used: Usage; readonly untilMs: number }>();

  /** Reads the revision before the pods: anything admitted after that makes the commit fail. */
  async function room(scope: QuotaScope, owner: QuotaOwner, change: Usage): Promise<Put> {
    const { tenant } = owner;
    const user = scope === 'user' ? owner.createdBy : null;
    const limits = scope === 'user' ? quotas.perUser : quotas.perTenant;
    const stored = await store.get('usage', usageKey(tenant, user));
    let used = wholeUsage(stored);
    if (used === null || exceededResource(used, change, limits) !== null) {
      used = await recount(tenant, user, change, limits);
      const exceeded = exceededResource(used, change, limits);
      if (exceeded !== null) throw refuse(scope, exceeded, owner, { used, limits }, change);
    }
    return usagePut({ tenant, user, used: addUsage(used, change) }, stored);
  }

  async function recount(tenant: string, user: string | null, change: Usage, limits: QuotaLimits): Promise<Usage> {
    if (user !== null) return await countUsage(store, usageOf, { tenant, user });
    const full = fullTenants.get(tenant);
    if (full !== undefined && monotonicMs() < full.untilMs) return full.used;
    const used = await countUsage(store, usageOf, { tenant, user });
    fullTenants.delete(tenant);
    if (exceededResource(used, change, limits) !== null) {
      fullTenants.set(tenant, { used, untilMs: monotonicMs() + TENANT_COUNT_MS });
    }
    return used;
  }

  function refuse(
    scope: QuotaScope,
    resource: QuotaResource,
    owner: QuotaOwner,
    standing: QuotaStanding,
    change: Usage,
  ): PodgateError {
    refusals[scope].set(resource, (refusals[scope].get(resource) ?? 0) + 1);
    return quotaRefusal({ scope, resource, owner, standing, change });
  }

  return {
    refusals,

    async admit(owner, before, after) {
      const change = usageDifference(before, after);
      if (!isGrowing(change)) return [];
      return [await room('user', owner, change), await room('tenant', owner, change)];
    },

    async admitKeptVolumes(owner) {
      for (const scope of ['user', 'tenant'] as const) {
        const limits = scope === 'user' ? quotas.perUser : quotas.perTenant;
        const limit = limits.volumes;
        if (limit === null) continue;
        const user = scope === 'user' ? owner.createdBy : null;
        const used = await countUsage(store, usageOf, { tenant: owner.tenant, user });
        // They are counted with their pod already: only beyond the quota there is no room to leave them.
        if (used.volumes > limit) throw refuse(scope, 'volumes', owner, { used, limits }, { ...used, volumes: 0 });
      }
    },

    async standing({ tenant, createdBy: user }) {
      const stored = await store.get('usage', usageKey(tenant, user));
      const used = wholeUsage(stored) ?? (await countUsage(store, usageOf, { tenant, user }));
      return { used, limits: quotas.perUser };
    },
  };
}

/** Null: it is to be counted. */
function wholeUsage(stored: Stored<'usage'> | null): Usage | null {
  return stored !== null && isWholeUsage(stored.value.used) ? stored.value.used : null;
}

export function usagePut(value: Omit<UsageRecord, 'uid'>, present: Stored<'usage'> | null): Put {
  const key = usageKey(value.tenant, value.user);
  return {
    kind: 'usage',
    key,
    expected: present?.revision ?? 'absent',
    value: { uid: key, ...value },
    tenant: value.tenant,
    indexes: [],
  };
}
