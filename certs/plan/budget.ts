const WEEK_MS = 7 * 24 * 60 * 60_000;

/** New certificates per week. Renewals of the same names do not count: issuers exempt them. */
export interface BudgetLimits {
  /** Of one registered domain: what the issuer allows. */
  readonly perDomain: number;
  readonly perTenant: number;
  readonly perUser: number;
}

/** A certificate that was ordered, or is about to be. */
export interface Spending {
  /** The registered domain of its names. */
  readonly domain: string;
  readonly tenant: string;
  /** Null for what the installation itself needs: base hosts and wildcards. */
  readonly user: string | null;
}

export interface Spent extends Spending {
  readonly key: string;
  readonly atMs: number;
}

/** Users leave this much of a domain's budget to base hosts and wildcards. */
const RESERVE_SHARE = 0.1;

export type BudgetAnswer =
  | { readonly kind: 'granted' }
  /** `untilMs`: when the oldest of those that count is a week old. */
  | { readonly kind: 'exhausted'; readonly whose: 'domain' | 'tenant' | 'user'; readonly untilMs: number };

/** What counts now. A stamp of the future comes from a clock that was set back: it counts from now on. */
export function recentSpent(spent: readonly Spent[], nowMs: number): readonly Spent[] {
  return spent
    .map((one) => (one.atMs > nowMs ? { ...one, atMs: nowMs } : one))
    .filter(({ atMs }) => nowMs - atMs < WEEK_MS)
    .sort((a, b) => a.atMs - b.atMs);
}

/** May one more be ordered? An order that came to nothing counts, too: the issuer may have counted it. */
export function askBudget(
  spent: readonly Spent[],
  wanted: Spending,
  limits: BudgetLimits,
  nowMs: number,
): BudgetAnswer {
  const ofDomain = recentSpent(spent, nowMs).filter(({ domain }) => domain === wanted.domain);
  const reserved = Math.ceil(limits.perDomain * RESERVE_SHARE);
  const shares = [
    {
      whose: 'domain' as const,
      counted: ofDomain,
      limit: wanted.user === null ? limits.perDomain : limits.perDomain - reserved,
    },
    ...(wanted.user === null
      ? []
      : [
          {
            whose: 'tenant' as const,
            counted: ofDomain.filter(({ tenant, user }) => user !== null && tenant === wanted.tenant),
            limit: limits.perTenant,
          },
          {
            whose: 'user' as const,
            counted: ofDomain.filter(({ tenant, user }) => tenant === wanted.tenant && user === wanted.user),
            limit: limits.perUser,
          },
        ]),
  ];
  for (const { whose, counted, limit } of shares) {
    if (counted.length < limit) continue;
    const freed = counted[counted.length - limit];
    return { kind: 'exhausted', whose, untilMs: (freed?.atMs ?? nowMs) + WEEK_MS };
  }
  return { kind: 'granted' };
}

/** For people: what is left of each registered domain that is, or was, used. */
export function budgetLeft(spent: readonly Spent[], domains: readonly string[], limits: BudgetLimits, nowMs: number) {
  const recent = recentSpent(spent, nowMs);
  return [...new Set([...domains, ...recent.map(({ domain }) => domain)])].sort().map((domain) => {
    const used = recent.filter((one) => one.domain === domain).length;
    return { domain, limit: limits.perDomain, used, left: Math.max(0, limits.perDomain - used) };
  });
}
