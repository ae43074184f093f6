import { createServer, connect, type Server, type Socket } from 'node:net';
import type { Pod, Service } from './objects.ts';
import { portOf } from './probes.ts';

/**
 * Does what kube-proxy does: a Service's address takes connections on its ports while a pod of its selector is ready,
 * and refuses them otherwise. `readyAddress` answers where a pod can be dialled, or null when it is not ready.
 */
export interface ServiceForwarder {
  readonly serviceChanged: (service: Service) => void;
  readonly serviceGone: (service: Service) => void;
  /** Also when it is gone: then it is not ready any more. */
  podChanged(pod: Pod): void;
  close(): void;
}

interface Forwarded {
  service: Service;
  readonly ready: Map<string, Pod>;
  listeners: Server[] | null;
  readonly sockets: Set<Socket>;
}

export function createServiceForwarder(
  pods: () => Iterable<Pod>,
  readyAddress: (pod: Pod) => string | null,
  failed: (error: unknown) => void,
): ServiceForwarder {
  const byUid = new Map<string, Forwarded>();
  /** By namespace and one pair of each selector, so that a pod's change does not ask every Service. */
  const byPair = new Map<string, Set<Forwarded>>();

  function pairOf({ metadata, spec }: Service): string | null {
    const keys = Object.entries(spec.selector ?? {}).map((pair) => keyOfPair(metadata.namespace, pair));
    // The rarest: a Service of one pod shares most of its labels with all others.
    return keys.sort((a, b) => (byPair.get(a)?.size ?? 0) - (byPair.get(b)?.size ?? 0))[0] ?? null;
  }

  function refresh(forwarded: Forwarded): void {
    if (forwarded.ready.size === 0) close(forwarded);
    else forwarded.listeners ??= open(forwarded);
  }

  function open(forwarded: Forwarded): Server[] {
    const { clusterIP, ports = [] } = forwarded.service.spec;
    return ports
      .filter(({ protocol = 'TCP' }) => protocol === 'TCP')
      .map(({ port, targetPort = port }) => {
        const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
          forward(forwarded, targetPort, socket);
        });
        server.on('error', failed).listen({ host: clusterIP, port, exclusive: true });
        return server;
      });
  }

  function forward({ ready, sockets }: Forwarded, targetPort: number | string, socket: Socket): void {
    const candidates = [...ready.values()];
    const pod = candidates[Math.floor(Math.random() * candidates.length)];
    const address = pod === undefined ? null : readyAddress(pod);
    const ports = pod?.spec.containers.map((container) => portOf(targetPort, container)) ?? [];
    const port = ports.find((found) => found !== null) ?? null;
    if (address === null || port === null) {
      socket.resetAndDestroy();
      return;
    }
    const backend = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
    for (const [one, other] of [
      [socket, backend],
      [backend, socket],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.resetAndDestroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }

  /** Sessions that run go on, as with kube-proxy. */
  function close(forwarded: Forwarded): void {
    for (const server of forwarded.listeners ?? []) server.close();
    forwarded.listeners = null;
  }

  function judge(forwarded: Forwarded, pod: Pod): void {
    const { uid, namespace, labels = {} } = pod.metadata;
    const { metadata, spec } = forwarded.service;
    const isSelected =
      namespace === metadata.namespace &&
      Object.entries(spec.selector ?? {}).every(([label, value]) => labels[label] === value);
    if (isSelected && readyAddress(pod) !== null) forwarded.ready.set(uid, pod);
    else forwarded.ready.delete(uid);
  }

  const serviceGone = ({ metadata }: Service): void => {
    const forwarded = byUid.get(metadata.uid);
    if (forwarded === undefined) return;
    byUid.delete(metadata.uid);
    for (const bucket of byPair.values()) bucket.delete(forwarded);
    close(forwarded);
  };

  return {
    serviceGone,
    serviceChanged(service) {
      const known = byUid.get(service.metadata.uid)?.service;
      if (known !== undefined && textOf(known) === textOf(service)) return;
      serviceGone(service);
      const { clusterIP = 'None' } = service.spec;
      const pair = pairOf(service);
      if (clusterIP === 'None' || pair === null || service.metadata.deletionTimestamp !== undefined) return;
      const forwarded: Forwarded = { service, ready: new Map(), listeners: null, sockets: new Set() };
      byUid.set(service.metadata.uid, forwarded);
      byPair.set(pair, (byPair.get(pair) ?? new Set()).add(forwarded));
      for (const pod of pods()) judge(forwarded, pod);
      refresh(forwarded);
    },
    podChanged(pod) {
      for (const pair of Object.entries(pod.metadata.labels ?? {})) {
        for (const forwarded of byPair.get(keyOfPair(pod.metadata.namespace, pair)) ?? []) {
          judge(forwarded, pod);
          refresh(forwarded);
        }
      }
    },
    close() {
      for (const forwarded of byUid.values()) {
        close(forwarded);
        for (const socket of forwarded.sockets) socket.destroy();
      }
      byUid.clear();
    },
  };
}

/** All of a Service that counts here. */
const textOf = ({ metadata, spec }: Service): string => JSON.stringify([metadata.deletionTimestamp, spec]);

const keyOfPair = (namespace: string, [label, value]: readonly [string, string]): string =>
  `${namespace}/${label}=${value}`;
