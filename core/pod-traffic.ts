import { STANZA_NUMBERS, type StanzaConnections, sumStanzas } from './pod-connections.ts';

/** Of one pod, all of its networking entries together. Totals count from the start of the workers. */
export type PodTraffic = StanzaConnections;

export interface PodTrafficReport {
  /** By uid. Empty: it is not known, since not all have answered. */
  readonly traffic: ReadonlyMap<string, PodTraffic>;
  /** Workers and replicas that did not answer in time: without them, sums would be too low. */
  readonly missing: readonly string[];
}

/** Asks every gateway worker of every live replica what it has counted of several pods. */
export interface PodTrafficReader {
  /** Resolves within about two seconds. At most TRAFFIC_PODS_MAX uids. */
  read(uids: readonly string[]): Promise<PodTrafficReport>;
}

/** Of one question. */
const TRAFFIC_PODS_MAX = 100;
const UID_MAX_LENGTH = 64;

/** As it is sent, for each uid in the order of the question: its numbers; null = no connection to this pod was seen. */
export type PackedTraffic = readonly (readonly number[] | null)[];

export function packTraffic(traffic: readonly (PodTraffic | null)[]): PackedTraffic {
  return traffic.map((each) => each && STANZA_NUMBERS.map((name) => each[name]));
}

/** What a worker or another replica has sent; null when it is anything else. */
export function parsePackedTraffic(value: unknown): PackedTraffic | null {
  if (!Array.isArray(value) || value.length > TRAFFIC_PODS_MAX) return null;
  const isCount = (each: unknown): boolean => typeof each === 'number' && Number.isFinite(each) && each >= 0;
  const isPacked = (each: unknown): boolean =>
    each === null || (Array.isArray(each) && each.length === STANZA_NUMBERS.length && each.every(isCount));
  return value.every(isPacked) ? (value as PackedTraffic) : null;
}

/** The uids of a question that came over the bus; null when it is anything else. */
export function parseTrafficUids(value: unknown): readonly string[] | null {
  if (!Array.isArray(value) || value.length > TRAFFIC_PODS_MAX) return null;
  const isUid = (each: unknown): boolean => typeof each === 'string' && each.length <= UID_MAX_LENGTH;
  return value.every(isUid) ? (value as readonly string[]) : null;
}

/** The sums for so many pods. Null: one of the answers is about other pods. */
export function sumTraffic(all: readonly PackedTraffic[], pods: number): readonly PodTraffic[] | null {
  if (all.some(({ length }) => length !== pods)) return null;
  return Array.from({ length: pods }, (_, index) => sumStanzas(all.map((each) => unpacked(each[index] ?? null))));
}

function unpacked(numbers: readonly number[] | null): PodTraffic | null {
  if (numbers === null) return null;
  return Object.fromEntries(STANZA_NUMBERS.map((name, index) => [name, numbers[index]])) as unknown as PodTraffic;
}
