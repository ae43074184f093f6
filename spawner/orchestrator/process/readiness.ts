import { isIPv6 } from 'node:net';
import { isAborted, pause } from '../../../core/abort.ts';
import { DEFAULT_STANZA } from '../../../core/ids.ts';
import type { NetworkAddress } from '../../../core/pod-network.ts';
import type { Readiness } from '../../../core/template.ts';
import type { Listener } from './listeners.ts';
import { portVariable } from './ports.ts';
import { type Connect, isListening, probe, type ProbedPlace } from './probes.ts';

/** Dense while somebody waits for it, then ever thinner. */
export function pollDelayMs(waitingForMs: number): number {
  if (waitingForMs < 10_000) return 12;
  return waitingForMs < 60_000 ? 50 : 250;
}

export interface WatchedPort {
  readonly stanza: string;
  readonly port: number;
}

/** Where a program may listen. One that does so on IPv6 alone is dialed there. */
const ADDRESSES = ['127.0.0.1', '::1'] as const;

/**
 * Watches the ports of a workload that has started until all of them answer or the signal aborts. `answers` is called for
 * each as soon as it does, with the address; what belongs to a stranger is reported to `strange` instead and looked at
 * again.
 */
export async function watchPorts(options: {
  readonly ports: readonly WatchedPort[];
  readonly readiness: Readiness;
  readonly connect: Connect;
  readonly isOwned: (place: NetworkAddress) => Promise<boolean>;
  /** Does it let its user in? Asked of the stanza `readiness` names, once it is known to be the pod's: it gets a password. */
  readonly letsIn?: ((probed: ProbedPlace, signal: AbortSignal) => Promise<boolean>) | null;
  readonly answers: (stanza: string, address: string) => void;
  readonly strange: (port: number) => void;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { ports, readiness, connect, isOwned, letsIn = null, answers, strange, signal } = options;
  const addressThatAnswers = async ({ stanza, port }: WatchedPort): Promise<string | null> => {
    for (const address of ADDRESSES) {
      const probed = { connect, place: { address, port } };
      const isUp = stanza === readiness.stanza ? await probe(readiness, probed) : await isListening(probed);
      if (isUp) return address;
    }
    return null;
  };
  await Promise.all(
    ports.map(async (watched) => {
      const { stanza, port } = watched;
      const begunMs = performance.now();
      while (!signal.aborted) {
        const address = await addressThatAnswers(watched);
        if (address !== null) {
          const owned = await isOwned({ address, port });
          // Its program may have ended meanwhile.
          if (isAborted(signal)) return;
          const isIn = (): Promise<boolean> =>
            stanza !== readiness.stanza || letsIn === null
              ? Promise.resolve(true)
              : letsIn({ connect, place: { address, port } }, signal);
          if (!owned) strange(port);
          else if (await isIn()) {
            if (!isAborted(signal)) answers(stanza, address);
            return;
          }
        }
        await pause(pollDelayMs(performance.now() - begunMs), signal);
      }
    }),
  );
}

/** Why a program that runs is not ready, for its user. `listeners`: its own. */
export function silenceText(listeners: readonly Listener[], { stanza, port }: WatchedPort): string {
  const wanted = `port ${port} ($${stanza === DEFAULT_STANZA ? 'PORT' : portVariable(stanza)})`;
  if (listeners.some((each) => each.port === port)) return `listens on ${wanted}, but is not ready yet`;
  const places = listeners.map(({ address, port }) =>
    isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`,
  );
  if (places.length === 0) return `does not listen on ${wanted} yet`;
  const named = [...new Set(places)].slice(0, PLACES_NAMED_MAX);
  return `listens on ${named.join(', ')}${places.length > named.length ? ' and others' : ''}, not on ${wanted}`;
}

const PLACES_NAMED_MAX = 3;

/** The readiness that counts for a pod: the template's, or that of another stanza when the pod has not the one it names. */
export function readinessFor(readiness: Readiness, stanzas: readonly string[]): Readiness | null {
  if (stanzas.includes(readiness.stanza)) return readiness;
  const stanza = stanzas.includes(DEFAULT_STANZA) ? DEFAULT_STANZA : stanzas[0];
  return stanza === undefined ? null : { kind: 'tcp', stanza };
}
