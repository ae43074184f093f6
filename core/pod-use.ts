/** Why a pod is in use, as what is read: one of them, and several. */
const SENTENCES = {
  waiting: ['1 client waiting for the pod', 'clients waiting for the pod'],
  requests: ['1 request in flight', 'requests in flight'],
  webSockets: ['1 WebSocket in use', 'WebSockets in use'],
  queries: ['1 query running', 'queries running'],
  transactions: ['1 open transaction', 'open transactions'],
  copies: ['1 COPY in progress', 'COPYs in progress'],
  replications: ['1 replication session', 'replication sessions'],
  listeners: ['1 session with LISTEN', 'sessions with LISTEN'],
  temporaryTables: ['1 session with temporary tables', 'sessions with temporary tables'],
  advisoryLocks: ['1 session with advisory locks', 'sessions with advisory locks'],
  preparedTransactions: ['1 prepared transaction', 'prepared transactions'],
  traffic: ['1 connection with traffic', 'connections with traffic'],
  commands: ['1 command or terminal', 'commands and terminals'],
} as const;

export type UseReason = keyof typeof SENTENCES;
const USE_REASONS = Object.keys(SENTENCES) as readonly UseReason[];

/** What one gateway worker, or several together, know about the use of a pod that may sleep. */
export interface PodUse {
  /** Wall clock ms of the last use; null = none since the worker started. */
  readonly lastUsedMs: number | null;
  /** How often each reason applies right now; none: the pod is idle. */
  readonly because: Readonly<Partial<Record<UseReason, number>>>;
  /** The routes of the pod have no backend here: no connection to it can begin. */
  readonly isHeld: boolean;
  /** Names of Postgres users that the pod has accepted, the last ones. */
  readonly users?: readonly string[];
}

export const USERS_MAX = 20;
/** PostgreSQL's NAMEDATALEN. */
const USER_MAX_BYTES = 63;

export function isInUse({ because }: PodUse): boolean {
  return USE_REASONS.some((reason) => (because[reason] ?? 0) > 0);
}

/** "1 open transaction", "3 requests in flight". */
export function useTexts({ because }: Pick<PodUse, 'because'>): readonly string[] {
  return USE_REASONS.flatMap((reason) => {
    const count = because[reason] ?? 0;
    const [one, several] = SENTENCES[reason];
    return count < 1 ? [] : [count === 1 ? one : `${count} ${several}`];
  });
}

/** What a worker or another replica has told, copied field by field; undefined when it is anything else. */
export function parsePodUse(value: unknown): PodUse | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { lastUsedMs, because, isHeld, users } = value as Readonly<Record<string, unknown>>;
  if (lastUsedMs !== null && !Number.isFinite(lastUsedMs)) return undefined;
  if (typeof because !== 'object' || because === null || typeof isHeld !== 'boolean') return undefined;
  const counts: Partial<Record<UseReason, number>> = {};
  for (const [reason, count] of Object.entries(because)) {
    if (!Number.isSafeInteger(count) || count < 0) return undefined;
    // A reason that only a newer release knows is use all the same.
    const known = USE_REASONS.find((each) => each === reason) ?? 'traffic';
    if (count > 0) counts[known] = (counts[known] ?? 0) + (count as number);
  }
  return { lastUsedMs: lastUsedMs as number | null, because: counts, isHeld, ...parseUsers(users) };
}

function parseUsers(users: unknown): Pick<PodUse, 'users'> {
  if (!Array.isArray(users)) return {};
  const isUser = (user: unknown): user is string =>
    typeof user === 'string' && Buffer.byteLength(user) <= USER_MAX_BYTES;
  return { users: users.filter(isUser).slice(0, USERS_MAX) };
}

/**
 * Of several workers, the use of the pod as a whole. Undefined, which counts as use, when one of them has not told: it is
 * of an earlier release, or does not know the pod yet.
 */
export function mergePodUse(all: readonly (PodUse | undefined)[]): PodUse | undefined {
  const because: Partial<Record<UseReason, number>> = {};
  let lastUsedMs: number | null = null;
  let isHeld = true;
  const users = new Set<string>();
  for (const use of all) {
    if (use === undefined) return undefined;
    for (const reason of USE_REASONS) {
      const count = use.because[reason] ?? 0;
      if (count > 0) because[reason] = (because[reason] ?? 0) + count;
    }
    if (use.lastUsedMs !== null) lastUsedMs = Math.max(lastUsedMs ?? use.lastUsedMs, use.lastUsedMs);
    isHeld &&= use.isHeld;
    for (const user of use.users ?? []) users.add(user);
  }
  return { lastUsedMs, because, isHeld, ...(users.size > 0 && { users: [...users].slice(0, USERS_MAX) }) };
}
