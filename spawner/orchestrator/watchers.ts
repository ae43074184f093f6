import type { WorkloadEvent } from '../../core/workloads.ts';

/** Tells every watcher which workloads changed. What a slow watcher has not read yet is kept once per pod, so none is lost. */
export class Watchers {
  readonly #watchers = new Set<(event: WorkloadEvent) => void>();

  changed(pod: { readonly tenant: string; readonly podId: string }): void {
    const event: WorkloadEvent = { kind: 'changed', tenant: pod.tenant, podId: pod.podId };
    for (const tell of this.#watchers) tell(event);
  }

  /** Begins with `present`, so that nothing is missed between a look and the watch. */
  async *watch(present: readonly { readonly tenant: string; readonly podId: string }[], signal: AbortSignal) {
    const waiting = new Map<string, WorkloadEvent>();
    let wake: (() => void) | null = null;
    const tell = (event: WorkloadEvent) => {
      waiting.set(`${event.tenant}/${event.podId}`, event);
      wake?.();
    };
    const onAbort = () => wake?.();
    this.#watchers.add(tell);
    signal.addEventListener('abort', onAbort);
    for (const { tenant, podId } of present) tell({ kind: 'changed', tenant, podId });
    try {
      while (!signal.aborted) {
        for (const [key, event] of waiting) {
          waiting.delete(key);
          yield event;
          // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- aborted while the reader worked
          if (signal.aborted) return;
        }
        // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- filled or aborted while the reader worked
        if (waiting.size > 0 || signal.aborted) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = null;
      }
    } finally {
      this.#watchers.delete(tell);
      signal.removeEventListener('abort', onAbort);
    }
  }
}
