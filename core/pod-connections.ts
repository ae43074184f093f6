import { parsePodUse, type PodUse } from './pod-use.ts';

/** What a gateway worker has seen of one pod since it started. Readable by those who may read the pod. */
export interface PodConnections {
  /** Wall-clock ms since when this was counted. */
  readonly sinceMs: number;
  readonly stanzas: Readonly<Record<string, StanzaConnections>>;
  /** The last ones, oldest first. */
  readonly refusals: readonly SeenRefusal[];
  /** The last sessions and requests, those that were refused included, by when they began. */
  readonly recent: readonly SeenConnection[];
  /** Only of a pod that may sleep, and then also of one that had no connection here. */
  readonly use?: PodUse;
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

/** How long each step took, in ms, in this order. Null: it was not reached, was not needed, or is still under way. */
export interface ConnectionSteps {
  /** From accept to the end of the handshake; null for a later request of the same connection. */
  readonly tlsMs: number | null;
  /** From there to the dial: the client's first message, the rules of the pod, and its limits. Null for HTTP. */
  readonly routeMs: number | null;
  /** Until the pod has accepted; null when a kept connection was used. */
  readonly dialMs: number | null;
  /** From there to the pod's first byte. */
  readonly firstByteMs: number | null;
  /** From accept, or from the head of the request, to the end. */
  readonly totalMs: number | null;
}

/** One session of TCP or Postgres, or one HTTP request. */
export interface SeenConnection extends ConnectionSteps {
  /** When it began; wall-clock ms. */
  readonly atMs: number;
  readonly requestId: string;
  readonly address: string;
  /** The client's, as the gateway sees it. */
  readonly port: number;
  readonly protocol: string;
  readonly stanza: string;
  /** Of the response; null for a session, or where there was none. */
  readonly status: number | null;
  /** Why it was refused: a code of core/errors.ts. */
  readonly code: string | null;
  /** How it ended: a word of the access log. Null while it goes on. */
  readonly end: string | null;
}

/** In one worker, of one pod. */
export const REFUSALS_KEPT = 20;
export const RECENT_KEPT = 50;
/** Of what one replica tells, and of its connections alone, in bytes of JSON: it goes into one message on the bus. */
const TOLD_MAX_BYTES = 28_000;
const RECENT_MAX_BYTES = 10_000;
/** So that what a whole replica tells fits into one message on the bus. */
const STANZAS_MAX = 30;
const MESSAGE_MAX_LENGTH = 300;
const TEXT_MAX_LENGTH = 64;

/** All fields of StanzaConnections. */
export const STANZA_NUMBERS = [
  'sessionsNow',
  'requestsNow',
  'sessions',
  'requests',
  'refusals',
  'bytesIn',
  'bytesOut',
] as const satisfies readonly (keyof StanzaConnections)[];
const TEXTS = ['code', 'message', 'address', 'protocol', 'stanza', 'requestId'] as const;

const STEPS = [
  'tlsMs',
  'routeMs',
  'dialMs',
  'firstByteMs',
  'totalMs',
] as const satisfies readonly (keyof ConnectionSteps)[];
const RECENT_TEXTS = ['requestId', 'address', 'protocol', 'stanza'] as const;
const RECENT_NUMBERS_OR_NULL = [...STEPS, 'status'] as const;
const RECENT_TEXTS_OR_NULL = ['code', 'end'] as const;

/** What a worker or another replica has told, copied field by field; null when it is anything else. */
export function parsePodConnections(value: unknown): PodConnections | null {
  if (!isFields(value) || !isNumber(value['sinceMs'])) return null;
  const { stanzas, refusals } = value;
  if (!isFields(stanzas) || !Array.isArray(refusals)) return null;
  const parsedStanzas: [string, StanzaConnections][] = [];
  for (const [name, counts] of Object.entries(stanzas).slice(0, STANZAS_MAX)) {
    if (!isFields(counts) || !STANZA_NUMBERS.every((key) => isNumber(counts[key]))) return null;
    const copied = Object.fromEntries(STANZA_NUMBERS.map((key): [string, unknown] => [key, counts[key]]));
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
  // A worker or replica of an earlier release has none.
  const recent = Array.isArray(value['recent']) ? value['recent'].slice(-RECENT_KEPT).map(parseSeenConnection) : [];
  if (recent.includes(null)) return null;
  const use = parsePodUse(value['use']);
  return {
    sinceMs: value['sinceMs'],
    stanzas: Object.fromEntries(parsedStanzas),
    refusals: parsedRefusals,
    recent: recent.filter((each) => each !== null),
    ...(use !== undefined && { use }),
  };
}

function parseSeenConnection(value: unknown): SeenConnection | null {
  if (!isFields(value) || !isNumber(value['atMs']) || !isNumber(value['port'])) return null;
  const isNumberOrNull = (field: unknown): boolean => field === null || isNumber(field);
  const isTextOrNull = (field: unknown): boolean => field === null || typeof field === 'string';
  if (!RECENT_TEXTS.every((key) => typeof value[key] === 'string')) return null;
  if (!RECENT_NUMBERS_OR_NULL.every((key) => isNumberOrNull(value[key]))) return null;
  if (!RECENT_TEXTS_OR_NULL.every((key) => isTextOrNull(value[key]))) return null;
  const keys = ['atMs', 'port', ...RECENT_NUMBERS_OR_NULL, ...RECENT_TEXTS, ...RECENT_TEXTS_OR_NULL];
  const cut = (field: unknown): unknown => (typeof field === 'string' ? field.slice(0, TEXT_MAX_LENGTH) : field);
  return Object.fromEntries(keys.map((key) => [key, cut(value[key])])) as unknown as SeenConnection;
}

/** Null counts as nothing. */
export function sumStanzas(all: readonly (StanzaConnections | null)[]): StanzaConnections {
  const sum = (name: keyof StanzaConnections): number => all.reduce((sofar, each) => sofar + (each?.[name] ?? 0), 0);
  return Object.fromEntries(STANZA_NUMBERS.map((name) => [name, sum(name)])) as unknown as StanzaConnections;
}

/** Several of the same pod as one: numbers together, the last refusals of them all. Without `use`: see mergePodUse. */
export function mergePodConnections(all: readonly PodConnections[], nowMs: number): PodConnections {
  const stanzas = new Map<string, StanzaConnections>();
  for (const [name, counts] of all.flatMap((each) => Object.entries(each.stanzas))) {
    stanzas.set(name, sumStanzas([counts, stanzas.get(name) ?? null]));
  }
  const refusals = all.flatMap((each) => each.refusals).toSorted((a, b) => a.atMs - b.atMs);
  return {
    sinceMs: Math.min(nowMs, ...all.map(({ sinceMs }) => sinceMs)),
    stanzas: Object.fromEntries(stanzas),
    refusals: refusals.slice(-REFUSALS_KEPT),
    recent: lastConnections(all),
  };
}

/** The last ones of several, by when they began. */
export function lastConnections(all: readonly Pick<PodConnections, 'recent'>[]): readonly SeenConnection[] {
  return all
    .flatMap(({ recent }) => recent)
    .toSorted((a, b) => a.atMs - b.atMs)
    .slice(-RECENT_KEPT);
}

/** Without the oldest of the connections that would make it too large for the bus between replicas. */
export function forBus<C extends PodConnections>(connections: C): C {
  const restBytes = Buffer.byteLength(JSON.stringify({ ...connections, recent: [] }));
  let leftBytes = Math.min(RECENT_MAX_BYTES, TOLD_MAX_BYTES - restBytes);
  const first = connections.recent.findLastIndex((each) => {
    leftBytes -= Buffer.byteLength(JSON.stringify(each)) + 1;
    return leftBytes < 0;
  });
  return { ...connections, recent: connections.recent.slice(first + 1) };
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
