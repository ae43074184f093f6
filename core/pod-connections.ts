/** What a gateway worker has seen of one pod since it started. Readable by those who may read the pod. */
export interface PodConnections {
  /** Wall-clock ms since when this was counted. */
  readonly sinceMs: number;
  readonly stanzas: Readonly<Record<string, StanzaConnections>>;
  /** The last ones, oldest first. */
  readonly refusals: readonly SeenRefusal[];
}

/** A session is one of TCP or Postgres; a request is HTTP's, tunnels such as WebSocket included. */
export interface StanzaConnections {
  readonly sessionsNow: number;
  readonly requestsNow: number;
  readonly sessions: number;
  readonly requests: number;
  readonly refusals: number;
  /** From clients to the pod, without TLS and HTTP's heads. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface SeenRefusal {
  readonly atMs: number;
  /** A code of core/errors.ts, or 'tls.failed': the handshake did not come to its end. */
  readonly code: string;
  readonly message: string;
  readonly address: string;
  readonly protocol: string;
  readonly stanza: string;
  readonly requestId: string;
}

/** In one worker, of one pod. */
export const REFUSALS_KEPT = 20;
/** So that what a whole replica tells fits into one message on the bus. */
const STANZAS_MAX = 30;
const MESSAGE_MAX_LENGTH = 300;
const TEXT_MAX_LENGTH = 64;

const NUMBERS = [
  'sessionsNow',
  'requestsNow',
  'sessions',
  'requests',
  'refusals',
  'bytesIn',
  'bytesOut',
] as const satisfies readonly (keyof StanzaConnections)[];
const TEXTS = ['code', 'message', 'address', 'protocol', 'stanza', 'requestId'] as const;

/** What a worker or another replica has told, copied field by field; null when it is anything else. */
export function parsePodConnections(value: unknown): PodConnections | null {
  if (!isFields(value) || !isNumber(value['sinceMs'])) return null;
  const { stanzas, refusals } = value;
  if (!isFields(stanzas) || !Array.isArray(refusals)) return null;
  const parsedStanzas: [string, StanzaConnections][] = [];
  for (const [name, counts] of Object.entries(stanzas).slice(0, STANZAS_MAX)) {
    if (!isFields(counts) || !NUMBERS.every((key) => isNumber(counts[key]))) return null;
    const copied = Object.fromEntries(NUMBERS.map((key): [string, unknown] => [key, counts[key]]));
    parsedStanzas.push([name.slice(0, TEXT_MAX_LENGTH), copied as unknown as StanzaConnections]);
  }
  const parsedRefusals: SeenRefusal[] = [];
  for (const refusal of (refusals as readonly unknown[]).slice(-REFUSALS_KEPT)) {
    if (!isFields(refusal) || !isNumber(refusal['atMs'])) return null;
    const texts = TEXTS.map((key): [string, unknown] => [key, refusal[key]]);
    if (!texts.every(([, text]) => typeof text === 'string')) return null;
    const cut = Object.fromEntries(
      texts.map(([key, text]) => [
        key,
        String(text).slice(0, key === 'message' ? MESSAGE_MAX_LENGTH : TEXT_MAX_LENGTH),
      ]),
    );
    parsedRefusals.push({ atMs: refusal['atMs'], ...cut } as unknown as SeenRefusal);
  }
  return { sinceMs: value['sinceMs'], stanzas: Object.fromEntries(parsedStanzas), refusals: parsedRefusals };
}

/** Several of the same pod as one: numbers together, the last refusals of them all. */
export function mergePodConnections(all: readonly PodConnections[], nowMs: number): PodConnections {
  const stanzas = new Map<string, StanzaConnections>();
  for (const [name, counts] of all.flatMap((each) => Object.entries(each.stanzas))) {
    const sofar = stanzas.get(name);
    const sums = Object.fromEntries(NUMBERS.map((key): [string, unknown] => [key, counts[key] + (sofar?.[key] ?? 0)]));
    stanzas.set(name, sums as unknown as StanzaConnections);
  }
  const refusals = all.flatMap((each) => each.refusals).toSorted((a, b) => a.atMs - b.atMs);
  return {
    sinceMs: Math.min(nowMs, ...all.map(({ sinceMs }) => sinceMs)),
    stanzas: Object.fromEntries(stanzas),
    refusals: refusals.slice(-REFUSALS_KEPT),
  };
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
