import { setTimeout as delay } from 'node:timers/promises';
import { type KubeClient, KubeError } from '../kube-client.ts';
import type { KubeItem } from './objects.ts';

const RETRY_MS = 250;

export interface Reflector<T extends KubeItem> {
  /** By uid: all there are, as the API server last said. */
  readonly items: ReadonlyMap<string, T>;
  /** After the first complete list. */
  readonly synced: Promise<unknown>;
}

interface Listing<T> {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly T[];
}

type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: T }
  | {
      readonly type: 'ERROR';
      readonly object: { readonly code?: number; readonly reason?: string; readonly message?: string };
    };

/**
 * Keeps a copy of all objects at `path` by list and watch until the signal aborts, whatever becomes of the API server
 * meanwhile. `changed` gets each new version, `gone` each that vanished, also when that happened unseen.
 */
export function reflect<T extends KubeItem>(
  client: KubeClient,
  path: string,
  handlers: { changed(item: T): void; gone(item: T): void; failed(error: unknown): void },
  signal: AbortSignal,
): Reflector<T> {
  const items = new Map<string, T>();
  const { promise: synced, resolve } = Promise.withResolvers<undefined>();

  const take = (item: T): void => {
    if (items.get(item.metadata.uid)?.metadata.resourceVersion === item.metadata.resourceVersion) return;
    items.set(item.metadata.uid, item);
    handlers.changed(item);
  };
  const drop = (item: T): void => {
    if (items.delete(item.metadata.uid)) handlers.gone(item);
  };

  async function list(): Promise<string> {
    const listing = await client.get<Listing<T>>(path, { signal });
    const present = new Set(listing.items.map(({ metadata }) => metadata.uid));
    for (const item of [...items.values()]) if (!present.has(item.metadata.uid)) drop(item);
    for (const item of listing.items) take(item);
    resolve(undefined);
    return listing.metadata.resourceVersion;
  }

  /** Answers where to go on, or null when it has to list again. */
  async function watch(from: string): Promise<string | null> {
    let version = from;
    const query = `watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=${from}`;
    for await (const line of client.lines(`${path}?${query}`, signal)) {
      const event = JSON.parse(line) as WatchEvent<T>;
      if (event.type === 'ERROR') return null;
      version = event.object.metadata.resourceVersion;
      if (event.type === 'DELETED') drop(event.object);
      else if (event.type !== 'BOOKMARK') take(event.object);
    }
    return version;
  }

  async function run(): Promise<void> {
    let version: string | null = null;
    const isOver = (): boolean => signal.aborted;
    while (!isOver()) {
      try {
        version = await watch(version ?? (await list()));
      } catch (error) {
        if (isOver()) return;
        if (error instanceof KubeError) version = null;
        handlers.failed(error);
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }
  void run();
  return { items, synced };
}
