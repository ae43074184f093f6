import { isAborted, pause } from '../../../core/abort.ts';
import { DEFAULT_STANZA } from '../../../core/ids.ts';
import type { Readiness } from '../../../core/template.ts';
import { isListening, probe } from './probes.ts';

/** Dense while somebody waits for it, then ever thinner. */
export function pollDelayMs(waitingForMs: number): number {
  if (waitingForMs < 10_000) return 12;
  return waitingForMs < 60_000 ? 50 : 250;
}

export interface WatchedPort {
  readonly stanza: string;
  readonly port: number;
}

/**
 * Watches the ports of a workload that has started until all of them answer or the signal aborts. `answers` is called for
 * each as soon as it does; what belongs to a stranger is reported to `strange` instead and looked at again.
 */
export async function watchPorts(options: {
  readonly ports: readonly WatchedPort[];
  readonly readiness: Readiness;
  readonly isOwned: (port: number) => Promise<boolean>;
  readonly answers: (stanza: string) => void;
  readonly strange: (port: number) => void;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { ports, readiness, isOwned, answers, strange, signal } = options;
  await Promise.all(
    ports.map(async ({ stanza, port }) => {
      const begunMs = performance.now();
      while (!signal.aborted) {
        const isUp = stanza === readiness.stanza ? await probe(readiness, port) : await isListening(port);
        if (isUp) {
          const owned = await isOwned(port);
          // Its program may have ended meanwhile.
          if (isAborted(signal)) return;
          if (owned) {
            answers(stanza);
            return;
          }
          strange(port);
        }
        await pause(pollDelayMs(performance.now() - begunMs), signal);
      }
    }),
  );
}

/** The readiness that counts for a pod: the template's, or that of another stanza when the pod has not the one it names. */
export function readinessFor(readiness: Readiness, stanzas: readonly string[]): Readiness | null {
  if (stanzas.includes(readiness.stanza)) return readiness;
  const stanza = stanzas.includes(DEFAULT_STANZA) ? DEFAULT_STANZA : stanzas[0];
  return stanza === undefined ? null : { kind: 'tcp', stanza };
}
