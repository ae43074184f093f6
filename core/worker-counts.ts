import { DURATIONS, durationBounds, type Durations } from './durations.ts';

/**
 * What a gateway worker has counted since it started, as it tells control now and then. Keys are closed sets
 * (proxy/telemetry/counters.ts).
 */
export interface WorkerCounts {
  readonly accepted: number;
  readonly sessions: number;
  /** Connections of clients now. */
  readonly active: number;
  readonly requestsNow: number;
  readonly sessionsNow: number;
  /** Of the access log. */
  readonly droppedLines: number;
  readonly closed: Readonly<Record<string, number>>;
  readonly refused: Readonly<Record<string, number>>;
  readonly ended: Readonly<Record<string, number>>;
  readonly cancels: Readonly<Record<string, number>>;
  readonly handshakes: Readonly<Record<string, number>>;
  readonly requests: Readonly<Record<string, number>>;
  readonly sessionsOf: Readonly<Record<string, number>>;
  readonly bytes: Readonly<Record<string, number>>;
  readonly limited: Readonly<Record<string, number>>;
  /** What pods asked for that want to connect to the outside, by outcome; absent in what an earlier release tells. */
  readonly egress?: Readonly<Record<string, number>>;
  readonly egressNow?: number;
  /** Clients that waited for a pod that slept, by outcome; absent in what an earlier release tells. */
  readonly holds?: Readonly<Record<string, number>>;
  readonly heldNow?: number;
  readonly wakesAsked?: number;
  readonly durations: Durations;
  readonly process: ProcessNumbers;
}

export interface ProcessNumbers {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** 99th percentile of how late the event loop was since the last telling. */
  readonly eventLoopDelaySeconds: number;
  /** The greatest delay since the last telling: one piece of work that blocked everything else. */
  readonly eventLoopDelayMaxSeconds: number;
}

const NUMBERS = ['accepted', 'sessions', 'active', 'requestsNow', 'sessionsNow', 'droppedLines'] as const;
const GROUPS = [
  ...(['closed', 'refused', 'ended', 'cancels', 'process'] as const),
  ...(['handshakes', 'requests', 'sessionsOf', 'bytes', 'limited'] as const),
];
const KEYS_MAX = 100;

/** The counts in a message, or null when it holds anything else. */
export function parseWorkerCounts(value: unknown): WorkerCounts | null {
  if (typeof value !== 'object' || value === null) return null;
  const given = value as Readonly<Record<string, unknown>>;
  const areNumbers = NUMBERS.every((name) => typeof given[name] === 'number');
  const { egress = {}, egressNow = 0, holds = {}, heldNow = 0, wakesAsked = 0 } = given;
  const areGroups = GROUPS.every((name) => isGroup(given[name])) && isGroup(egress) && isGroup(holds);
  const areLater = [egressNow, heldNow, wakesAsked].every((value) => typeof value === 'number');
  return areNumbers && areGroups && areLater && areDurations(given['durations']) ? (value as WorkerCounts) : null;
}

function isGroup(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const numbers = Object.values(value);
  return numbers.length <= KEYS_MAX && numbers.every((each) => typeof each === 'number');
}

function areDurations(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const given = value as Readonly<Record<string, unknown>>;
  return DURATIONS.every((name) => {
    const { counts, sumSeconds } = (given[name] ?? {}) as { readonly counts?: unknown; readonly sumSeconds?: unknown };
    if (typeof sumSeconds !== 'number' || !Array.isArray(counts)) return false;
    return counts.length === durationBounds(name).length + 1 && counts.every((count) => typeof count === 'number');
  });
}
