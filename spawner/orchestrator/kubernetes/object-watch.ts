import { isAborted, pause } from '../../../core/abort.ts';
import { backoffMs } from '../../../core/backoff.ts';
import type { Clock } from '../../../core/clock.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import { JsonLines } from '../../../core/json-lines.ts';
import type { Logger } from '../../../core/logger.ts';
import { isRecord, type JsonRecord, listAt, numberAt, parseJson, recordAt, textAt } from './api/json.ts';
import type { KubeApi } from './api/kube-api.ts';
import { refusalOf } from './api/refusal.ts';
import type { OwnedObject } from './objects.ts';
import type { KubernetesLimits } from './options.ts';

const GONE = 410;
const LINE_MAX_LENGTH = 16 * 1024 * 1024;

/** A copy of all objects of one kind, kept by list and watch. */
export interface ObjectWatch<T extends OwnedObject> {
  /** By name: as the API server last said. */
  readonly items: ReadonlyMap<string, T>;
  /** Resolves after the first complete list. */
  readonly complete: Promise<void>;
  /** Complete, and the watch lives: what is not here is not there. */
  isFresh(): boolean;
  run(signal: AbortSignal): Promise<void>;
}

export interface ObjectWatchOptions<T extends OwnedObject> {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: KubernetesLimits;
  readonly path: string;
  readonly selector: string;
  readonly parse: (object: JsonRecord) => T | null;
  readonly serverTime: (serverTimeMs: number | null) => void;
  /** One object appeared, changed or (`now` null) vanished. */
  readonly changed: (before: T | null, now: T | null) => void;
  /** Anything may have happened unseen: everything there is and was is to be looked at again. */
  readonly relisted: (vanished: readonly T[]) => void;
}

/** The place in the history from which a watch goes on is too old: list again. */
class HistoryLost extends Error {}

/**
 * List, then watch from there; again whenever the watch ends, breaks or dies.
 *
 * The library's own loop notices a dead connection only by silence of half a minute, ends for good at most errors and
 * leaves it to its caller to begin again. Here the API server is told to end every watch after a few seconds; one that
 * outlives this is dead, whatever the network says, and is left. A new watch goes on where the former one stopped, so no
 * event is lost; when that is too long ago (410), everything is listed again and everything counts as changed.
 */
export function watchObjects<T extends OwnedObject>(options: ObjectWatchOptions<T>): ObjectWatch<T> {
  const { api, clock, log, limits, path, selector, parse } = options;
  const items = new Map<string, T>();
  const { promise: complete, resolve: becomeComplete } = Promise.withResolvers<undefined>();
  const lifetimeMs = limits.watchSeconds * 1_000 + limits.watchLateMs;
  let isComplete = false;
  let isBroken = true;
  let aliveAtMs = -Infinity;

  function alive(): void {
    isBroken = false;
    aliveAtMs = clock.monotonicMs();
  }

  async function run(signal: AbortSignal): Promise<void> {
    let version: string | null = null;
    let failures = 0;
    while (!signal.aborted) {
      try {
        version ??= await list(signal);
        version = await follow(version, signal);
        failures = 0;
      } catch (error) {
        if (isAborted(signal)) return;
        if (error instanceof HistoryLost) {
          log.info({ path }, 'the cluster watch missed events; listing again');
          version = null;
          // At once, but never in a tight loop.
          if (failures === 0) {
            failures = 1;
            continue;
          }
        } else {
          isBroken = true;
          if (failures === 0) log.warn({ path, error: errorText(error) }, 'the cluster watch broke; reconnecting');
        }
        failures += 1;
        await pause(backoffMs(failures, { firstMs: limits.watchRetryMs, maxMs: limits.watchRetryMaxMs }), signal);
      }
    }
  }

  async function list(signal: AbortSignal): Promise<string> {
    const found = new Map<string, T>();
    let version: string;
    let next = '';
    do {
      const query = { labelSelector: selector, limit: String(limits.page), ...(next === '' ? {} : { continue: next }) };
      const response = await api.request({ method: 'GET', path, query }, signal);
      if (response.status === GONE) throw new HistoryLost();
      const body = response.status === 200 ? parseJson(response.text) : undefined;
      if (!isRecord(body)) throw broken(`the list of ${path} failed: ${refusalOf(response).message}`);
      options.serverTime(response.serverTimeMs);
      for (const object of listAt(body, 'items')) {
        const item = parse(object);
        if (item !== null) found.set(item.name, item);
      }
      const metadata = recordAt(body, 'metadata');
      version = textAt(metadata, 'resourceVersion');
      next = textAt(metadata, 'continue');
    } while (next !== '');
    const vanished = [...items.values()].filter((item) => found.get(item.name)?.objectUid !== item.objectUid);
    items.clear();
    for (const [name, item] of found) items.set(name, item);
    alive();
    isComplete = true;
    options.relisted(vanished);
    becomeComplete(undefined);
    return version;
  }

  /** Reads one watch to its end; answers where the next goes on. */
  async function follow(from: string, signal: AbortSignal): Promise<string> {
    let version = from;
    const silent = new AbortController();
    const timer = setTimeout(() => silent.abort(), lifetimeMs);
    try {
      const query = {
        watch: 'true',
        allowWatchBookmarks: 'true',
        labelSelector: selector,
        resourceVersion: from,
        timeoutSeconds: String(limits.watchSeconds),
      };
      const stream = await api.stream(path, query, AbortSignal.any([signal, silent.signal]));
      if (stream.status === GONE) throw new HistoryLost();
      if (stream.status !== 200) throw broken(`the watch of ${path} returned ${stream.status}`);
      options.serverTime(stream.serverTimeMs);
      alive();
      const events = new JsonLines(LINE_MAX_LENGTH);
      const onEvent = (event: unknown): boolean => {
        alive();
        version = apply(event) ?? version;
        return true;
      };
      for await (const chunk of stream.chunks) {
        if (events.read(chunk, onEvent) === 'too-long') throw broken('a line of the watch is too long');
      }
      alive();
      return version;
    } catch (error) {
      if (silent.signal.aborted) {
        // The others of the same age are likely as dead as this one.
        api.distrustConnections();
        throw broken(`the watch of ${path} is silent`);
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The version that the event brings. */
  function apply(event: unknown): string | null {
    if (!isRecord(event)) throw broken(`the watch of ${path} sent invalid JSON`);
    const object = recordAt(event, 'object');
    const type = textAt(event, 'type');
    if (type === 'ERROR') {
      if (numberAt(object, 'code') !== GONE)
        log.warn({ path, message: textAt(object, 'message') }, 'the watch reported an error');
      throw new HistoryLost();
    }
    const version = textAt(recordAt(object, 'metadata'), 'resourceVersion');
    const item = type === 'BOOKMARK' ? null : parse(object);
    if (item !== null) {
      const before = items.get(item.name) ?? null;
      if (type === 'DELETED') {
        if (before?.objectUid === item.objectUid) items.delete(item.name);
        options.changed(before ?? item, null);
      } else {
        items.set(item.name, item);
        options.changed(before, item);
      }
    }
    return version === '' ? null : version;
  }

  return {
    items,
    complete,
    isFresh: () => isComplete && !isBroken && clock.monotonicMs() - aliveAtMs < lifetimeMs,
    run,
  };
}

function broken(detail: string): PodgateError {
  return new PodgateError('orchestrator.unavailable', { detail });
}
