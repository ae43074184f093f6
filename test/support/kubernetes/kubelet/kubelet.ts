import { mkdtemp, rm, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeyAndCertificate } from '../certificates.ts';
import { createKubeClient } from '../kube-client.ts';
import { claimLoopbackNetwork, nodeAddress, POD_NETWORKS } from '../loopback-network.ts';
import { createAddresses } from './addresses.ts';
import { bindClaim, isProtected, isUsed, unprotectClaim } from './claims.ts';
import type { Timings } from './container-runner.ts';
import type { Image } from './image.ts';
import { startKubeletServer } from './kubelet-server.ts';
import { furnishNamespace } from './namespaces.ts';
import { registerNode } from './node-object.ts';
import { type Claim, type KubeItem, type Pod, type Service } from './objects.ts';
import { type PodWorker, startPodWorker } from './pod-worker.ts';
import { reflect } from './reflector.ts';
import { createScheduler, type NodeShape } from './scheduler.ts';
import { createServiceForwarder } from './service-forwarder.ts';
import { standardImages } from './standard-images.ts';
import { createVolumes } from './volumes.ts';

export interface KubeletOptions {
  /** May do everything. */
  readonly kubeconfig: string;
  readonly ca: string;
  /** Of the server that the API server reads logs from. */
  readonly tls: KeyAndCertificate;
  /** More images by name, or other ones under the names of the test images. */
  readonly images?: ReadonlyMap<string, Image>;
  /** 'inside' (default): the images podgate.test/* run in this process, so that 1,000 pods cost little. */
  readonly testPods?: 'inside' | 'processes';
  readonly timings?: Partial<Timings>;
  readonly node?: Partial<NodeShape>;
  /** Troubles that it gets over by itself, such as an API server that is away. Default: told to nobody. */
  readonly failed?: (error: unknown) => void;
}

/** One pod as the node sees it. */
export interface NodePod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly address: string | null;
  readonly isReady: boolean;
  readonly pids: readonly number[];
}

export interface Kubelet {
  readonly nodeName: string;
  /** Pods have addresses of 127.<network>.0.0/16. */
  readonly network: number;
  pods(): readonly NodePod[];
  /** Ends the pod's containers as if it were short of memory on the node: phase Failed, reason Evicted. */
  evict(namespace: string, pod: string, message?: string): Promise<void>;
  /** Ends what runs in the pod now as the kernel does when its memory is used up; the restart policy decides what follows. */
  outOfMemory(namespace: string, pod: string): void;
  /** Kills what runs in the pod now, as if it had crashed. */
  crash(namespace: string, pod: string): void;
  /** Every pod without a node is unschedulable with that message until it is null again. */
  refusePods(message: string | null): void;
  /** The directory of a claim's data on this machine. */
  claimDirectory(uid: string): string;
  /** Ends all pods' processes and removes what they wrote; the objects in the API server stay as they are. */
  stop(): Promise<void>;
}

const TIMINGS: Timings = {
  crashBackOffMs: 250,
  crashBackOffMaxMs: 5_000,
  retryMs: 100,
  probePeriodMs: null,
  creatingMs: 0,
};
const NODE: NodeShape = {
  name: 'node-1',
  labels: { 'kubernetes.io/hostname': 'node-1', 'kubernetes.io/os': 'linux' },
  allocatable: { cpu: '100000', memory: '100Ti', pods: '10000' },
};

/** Starts the stand-in for kubelet, scheduler and the few controllers that pods need. See ../index.ts. */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const { failed = () => undefined } = options;
  const node = { ...NODE, ...options.node };
  const timings = { ...TIMINGS, ...options.timings };
  const images = new Map([...standardImages(options.testPods ?? 'inside'), ...(options.images ?? [])]);
  const over = new AbortController();
  const { signal } = over;
  const client = createKubeClient(options.kubeconfig);
  const network = await claimLoopbackNetwork(POD_NETWORKS);
  const hostAddress = nodeAddress(network.number);
  const root = await mkdtemp(join(tmpdir(), 'podgate-kubelet-'));
  // Pods run as users of their own.
  await chmod(root, 0o755);
  const isRoot = process.getuid?.() === 0;
  const volumes = createVolumes(root, isRoot);
  const addresses = createAddresses(network.number);
  const workers = new Map<string, PodWorker>();
  const quietly = (work: Promise<unknown>): void =>
    void work.catch((error: unknown) => signal.aborted || failed(error));

  const claims = reflect<Claim>(
    client,
    '/api/v1/persistentvolumeclaims',
    { changed: look, gone: forget, failed },
    signal,
  );
  const pods = reflect<Pod>(client, '/api/v1/pods', { changed: place, gone: end, failed }, signal);
  const namespaces = reflect<KubeItem>(
    client,
    '/api/v1/namespaces',
    {
      changed: ({ metadata }) => quietly(furnishNamespace(client, metadata.name, options.ca)),
      gone: () => undefined,
      failed,
    },
    signal,
  );
  const forwarder = createServiceForwarder(
    () => pods.items.values(),
    ({ metadata }) => {
      const worker = workers.get(metadata.uid);
      return worker?.isReady() === true ? worker.address() : null;
    },
    failed,
  );
  const services = reflect<Service>(
    client,
    '/api/v1/services',
    { changed: forwarder.serviceChanged, gone: forwarder.serviceGone, failed },
    signal,
  );
  const scheduler = createScheduler(
    client,
    node,
    {
      claims: () => [...claims.items.values()],
      waiting: (uid) => {
        const pod = pods.items.get(uid);
        return pod?.spec.nodeName === undefined && pod?.metadata.deletionTimestamp === undefined ? pod : undefined;
      },
      retryMs: timings.retryMs,
      failed,
    },
    signal,
  );

  function look(claim: Claim): void {
    if (claim.metadata.deletionTimestamp !== undefined) {
      if (isProtected(claim) && !isUsed(claim, pods.items.values())) quietly(unprotectClaim(client, claim));
    } else if (claim.status?.phase !== 'Bound') quietly(bindClaim(client, claim));
  }

  function forget(claim: Claim): void {
    quietly(volumes.removeClaim(claim.metadata.uid));
  }

  function place(pod: Pod): void {
    const { uid } = pod.metadata;
    if (pod.spec.nodeName === undefined) {
      if (pod.metadata.deletionTimestamp === undefined) scheduler.consider(pod);
      return;
    }
    if (pod.spec.nodeName !== node.name) return;
    const worker = workers.get(uid);
    if (worker !== undefined) {
      worker.update(pod);
      forwarder.podChanged(pod);
      return;
    }
    const started = startPodWorker(pod, {
      ...{ client, nodeName: node.name, hostAddress, isRoot, addresses, volumes, timings, failed },
      image: (name) => images.get(name) ?? null,
      claim: (namespace, name) => find(claims.items.values(), namespace, name),
      ended: () => workers.delete(uid),
    });
    workers.set(uid, started);
  }

  function end(pod: Pod): void {
    const worker = workers.get(pod.metadata.uid);
    if (worker !== undefined) quietly(worker.gone());
    forwarder.podChanged(pod);
    for (const claim of claims.items.values()) if (claim.metadata.deletionTimestamp !== undefined) look(claim);
  }

  const findWorker = (namespace: string, name: string): PodWorker | undefined =>
    [...workers.values()].filter(({ pod }) => isNamed(pod, namespace, name)).at(-1);
  const server = await startKubeletServer({
    address: hostAddress,
    ca: options.ca,
    tls: options.tls,
    find: (namespace, name, container, previous) => {
      const worker = findWorker(namespace, name);
      return worker === undefined ? `pod "${name}" not found` : worker.log(container, previous);
    },
    running: (namespace, name, container) => findWorker(namespace, name)?.running(container) ?? null,
  });
  await registerNode(client, node, hostAddress);
  await Promise.all([claims, pods, namespaces, services].map(({ synced }) => synced));

  const workerOf = (namespace: string, name: string): PodWorker => {
    const worker = findWorker(namespace, name);
    if (worker === undefined) throw new Error(`no pod ${namespace}/${name} runs on this node`);
    return worker;
  };

  return {
    nodeName: node.name,
    network: network.number,
    pods: () =>
      [...workers.values()].map((worker) => ({
        namespace: worker.pod.metadata.namespace,
        name: worker.pod.metadata.name,
        uid: worker.pod.metadata.uid,
        address: worker.address(),
        isReady: worker.isReady(),
        pids: worker.pids(),
      })),
    evict: (namespace, name, message = 'The node was low on resource: memory.') =>
      workerOf(namespace, name).fail('Evicted', message),
    outOfMemory: (namespace, name) => workerOf(namespace, name).kill('OOMKilled'),
    crash: (namespace, name) => workerOf(namespace, name).kill('Error'),
    refusePods: (message) => scheduler.refuse(message),
    claimDirectory: (uid) => volumes.claimDirectory(uid),
    async stop() {
      over.abort();
      forwarder.close();
      await Promise.all([...workers.values()].map((worker) => worker.gone()));
      await server.close();
      client.close();
      await network.release();
      await rm(root, { recursive: true, force: true });
    },
  };
}

const isNamed = ({ metadata }: KubeItem, namespace: string, name: string): boolean =>
  metadata.namespace === namespace && metadata.name === name;

function find<T extends KubeItem>(items: Iterable<T>, namespace: string, name: string): T | undefined {
  for (const item of items) if (isNamed(item, namespace, name)) return item;
  return undefined;
}
