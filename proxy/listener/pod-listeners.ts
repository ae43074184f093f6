import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { PodNetwork } from '../../core/pod-network.ts';
import { listenerWithin } from '../socket/network-namespace.ts';

/** Loopback: names of pods below `localhost` lead there, in a pod as anywhere. */
const ADDRESSES = ['127.0.0.1', '::1'] as const;

export interface PodListener<Kind> {
  readonly kind: Kind;
  readonly port: number;
}

export interface PodListenersOptions<Kind> {
  /** What is listened on in each network namespace. */
  readonly listeners: readonly PodListener<Kind>[];
  readonly listen: (kind: Kind, handle: object, network: PodNetwork) => Promise<{ close(): void }>;
  readonly log: Logger;
}

/**
 * Makes the gateway reachable from inside the network namespaces of pods, which have no other way out: it listens there on
 * its own ports, beside its other workers. A port that the pod itself has taken stays the pod's.
 */
export class PodListeners<Kind> {
  readonly #options: PodListenersOptions<Kind>;
  readonly #open = new Map<number, Promise<readonly { close(): void }[]>>();

  constructor(options: PodListenersOptions<Kind>) {
    this.#options = options;
  }

  /** All namespaces there are: opens what is missing, closes what is left over. An open socket keeps a namespace alive. */
  set(networks: readonly PodNetwork[]): void {
    const wanted = new Set(networks.map(({ inode }) => inode));
    for (const [inode, listening] of this.#open) {
      if (wanted.has(inode)) continue;
      this.#open.delete(inode);
      void listening.then((each) => each.forEach((one) => one.close()));
    }
    for (const network of networks) {
      if (!this.#open.has(network.inode)) this.#open.set(network.inode, this.#openIn(network));
    }
  }

  async #openIn(network: PodNetwork): Promise<readonly { close(): void }[]> {
    const { listeners, listen, log } = this.#options;
    const opened: { close(): void }[] = [];
    for (const { kind, port } of listeners) {
      for (const address of ADDRESSES) {
        try {
          opened.push(await listen(kind, listenerWithin(network, address, port), network));
        } catch (error) {
          // The pod has the port itself, has ended, or there is no IPv6.
          log.debug({ port, address, error: errorText(error) }, 'cannot listen in the network of a pod');
        }
      }
    }
    return opened;
  }
}
