import type { MetricFamily, MetricSample, MetricSource } from '../../core/metrics.ts';
import { QUOTA_RESOURCES, type Quotas, usageKey } from '../../core/quota.ts';
import type { Store } from '../../core/store.ts';
import type { Admission } from '../objects/quota/admission.ts';

export interface QuotaMetricsParts {
  readonly store: Pick<Store, 'get'>;
  readonly quotas: Quotas;
  /** Ids. Users are too many to be labels: what a user has used is in the answers of their own calls. */
  readonly tenants: readonly string[];
  readonly admission: Pick<Admission, 'refusals'>;
}

/** Asks the store, which may be away: then these numbers are missing and the others are there. */
export function quotaMetrics({ store, quotas, tenants, admission }: QuotaMetricsParts): MetricSource {
  return async () => {
    const used: MetricSample[] = [];
    for (const tenant of tenants) {
      const usage = (await store.get('usage', usageKey(tenant, null)))?.value.used;
      for (const resource of QUOTA_RESOURCES) {
        used.push({ labels: { tenant, resource }, value: usage?.[resource] ?? 0 });
      }
    }
    const scopes = [
      { scope: 'user', limits: quotas.perUser },
      { scope: 'tenant', limits: quotas.perTenant },
    ] as const;
    const limits = scopes.flatMap((each) =>
      QUOTA_RESOURCES.flatMap((resource): MetricSample[] => {
        const limit = each.limits[resource];
        return limit === null ? [] : [{ labels: { scope: each.scope, resource }, value: limit }];
      }),
    );
    const refusals = scopes.flatMap(({ scope }) =>
      QUOTA_RESOURCES.map((resource): MetricSample => ({
        labels: { scope, resource },
        value: admission.refusals[scope].get(resource) ?? 0,
      })),
    );
    const families: readonly MetricFamily[] = [
      { name: 'podgate_quota_used', help: 'What a tenant uses.', kind: 'gauge', samples: used },
      {
        name: 'podgate_quota_limit',
        help: 'The quota of each user and of each tenant.',
        kind: 'gauge',
        samples: limits,
      },
      {
        name: 'podgate_quota_refusals_total',
        help: 'Calls refused because a quota was used up.',
        kind: 'counter',
        samples: refusals,
      },
    ];
    return families;
  };
}
