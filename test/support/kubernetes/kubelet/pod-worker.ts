import { setTimeout as delay } from 'node:timers/promises';
import { isKubeError, type KubeClient } from '../kube-client.ts';
import type { Addresses } from './addresses.ts';
import type { ContainerLog } from './container-log.ts';
import { type ContainerRunner, createContainerRunner, type Timings } from './container-runner.ts';
import { nowText } from './container-state.ts';
import { createReferences, environmentOf } from './environment.ts';
import type { Image, RunningContainer } from './image.ts';
import { type Claim, type Container, keyOf, type Pod, podPath } from './objects.ts';
import { createTransitionTimes, phaseOf, podStatus, type PodView } from './pod-status.ts';
import { createStatusWriter } from './status-writer.ts';
import { resolvePath, type Volumes } from './volumes.ts';

export interface PodWorkerOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly hostAddress: string;
  readonly isRoot: boolean;
  readonly addresses: Addresses;
  readonly volumes: Volumes;
  readonly timings: Timings;
  readonly image: (name: string) => Image | null;
  readonly claim: (namespace: string, name: string) => Claim | undefined;
  readonly failed: (error: unknown) => void;
  /** Nothing of it runs any more, and its address belongs to nobody. */
  readonly ended: () => void;
}

export interface PodWorker {
  readonly pod: Pod;
  /** Null before it has one and after it has given it up. */
  address(): string | null;
  isReady(): boolean;
  /** A newer version of the object: it may be asked to go. */
  update(pod: Pod): void;
  /** The object is gone: what runs is killed at once. */
  gone(): Promise<void>;
  /** The kubelet gives it up: phase Failed with that reason, its address is free. */
  fail(reason: string, message: string): Promise<void>;
  kill(reason: string, container?: string): void;
  pids(): readonly number[];
  /** A sentence when there is none. */
  log(container: string, previous: boolean): ContainerLog | string;
  /** What runs in that container now. */
  running(container: string): RunningContainer | null;
}

const DELETE_RETRY_MS = 300;
/** Of a pod that is over a limit of its own, and of hard thresholds. */
const EVICTION_GRACE_MS = 1_000;

/** One pod on the node, from its binding to the end of its object. Begins at once. */
export function startPodWorker(pod: Pod, options: PodWorkerOptions): PodWorker {
  const { client, addresses, volumes, failed, image, timings, nodeName } = options;
  const { namespace, uid } = pod.metadata;
  const over = new AbortController();
  const startTime = nowText();
  const sinceOf = createTransitionTimes();
  let object = pod;
  let address: string | null = null;
  let isAddressOurs = false;
  let verdict: PodView['verdict'] = null;
  let ending: Promise<void> | null = null;

  /** A node that was away starts again what ran on it. */
  const restartsOf = (name: string): number => {
    const known = pod.status?.containerStatuses?.find((status) => status.name === name);
    return known === undefined ? 0 : known.restartCount + 1;
  };
  const runnerOf = (isInit: boolean) => (container: Container) =>
    createContainerRunner({
      pod,
      container,
      isInit,
      image,
      timings,
      restarts: restartsOf(container.name),
      changed: () => writer.touch(),
      context: (restarts) => contextOf(container, restarts),
    });
  const inits = (pod.spec.initContainers ?? []).map(runnerOf(true));
  const containers = pod.spec.containers.map(runnerOf(false));
  const view = (): PodView => ({
    pod,
    address,
    hostAddress: options.hostAddress,
    startTime,
    inits: inits.map((runner) => runner.view()),
    containers: containers.map((runner) => runner.view()),
    verdict,
    isEnding: ending !== null,
  });
  const writer = createStatusWriter(client, pod, () => podStatus(view(), sinceOf), failed, over.signal);

  async function contextOf(container: Container, restarts: number) {
    const references = createReferences(client, namespace);
    await volumes.prepare(pod, (name) => options.claim(namespace, name), references);
    if (address === null) {
      address = addresses.take();
      isAddressOurs = true;
    }
    const mounts = await volumes.mountsOf(pod, container);
    const scratch = await volumes.scratch(pod, container, restarts);
    const environment = await environmentOf(container, { pod, address, nodeName }, references);
    const resolve = (path: string) => resolvePath(path, mounts, scratch);
    return { pod, container, address, environment, mounts, restarts, user: userOf(container), resolve };
  }

  function userOf({ securityContext: own }: Container): { uid: number; gid: number } | null {
    if (!options.isRoot) return null;
    const ofPod = pod.spec.securityContext;
    const user = own?.runAsUser ?? ofPod?.runAsUser;
    return user === undefined ? null : { uid: user, gid: own?.runAsGroup ?? ofPod?.runAsGroup ?? ofPod?.fsGroup ?? 0 };
  }

  function releaseAddress(): void {
    if (address === null || !isAddressOurs) return;
    isAddressOurs = false;
    addresses.release(address);
  }

  async function run(): Promise<void> {
    writer.touch();
    for (const runner of inits) {
      await runner.run();
      const { state } = runner.view();
      if (state.kind !== 'terminated' || state.exitCode !== 0) {
        ended();
        return;
      }
    }
    await Promise.all(containers.map((runner) => runner.run()));
    ended();
  }

  /** Every container has ended for good. */
  function ended(): void {
    if (ending === null) releaseAddress();
    writer.touch();
  }

  async function stop(graceMs: number): Promise<void> {
    await Promise.all([...inits, ...containers].map((runner) => runner.stop(graceMs)));
    releaseAddress();
    writer.touch();
  }

  /** As the kubelet does: the last status, then the end of the object, which only the node may tell. */
  async function remove(): Promise<void> {
    await stop((object.metadata.deletionGracePeriodSeconds ?? 30) * 1_000);
    await writer.flushed();
    await volumes.removePod(uid);
    while (!over.signal.aborted) {
      try {
        await client.call('DELETE', podPath(pod), { body: { gracePeriodSeconds: 0, preconditions: { uid } } });
        return;
      } catch (error) {
        // Gone, or another pod has the name: done either way.
        if (isKubeError(error, 'NotFound', 'Conflict')) return;
        failed(error);
        await delay(DELETE_RETRY_MS, undefined, { signal: over.signal }).catch(() => undefined);
      }
    }
  }

  const isOver = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
  if (pod.metadata.deletionTimestamp !== undefined) ending = remove();
  else if (!isOver) run().catch(failed);

  return {
    pod,
    address: () => (isAddressOurs ? address : null),
    isReady: () =>
      ending === null &&
      verdict === null &&
      phaseOf(view()) === 'Running' &&
      containers.every((runner) => runner.view().ready),
    update(next) {
      object = next;
      if (next.metadata.deletionTimestamp !== undefined) ending ??= remove();
    },
    async gone() {
      over.abort();
      ending ??= Promise.resolve();
      await stop(0);
      await volumes.removePod(uid);
      options.ended();
    },
    async fail(reason, message) {
      if (verdict !== null || ending !== null) throw new Error(`${keyOf(pod)} is ending already`);
      verdict = { reason, message };
      await client.call('POST', `/api/v1/namespaces/${namespace}/events`, {
        body: {
          apiVersion: 'v1',
          kind: 'Event',
          metadata: { name: `${pod.metadata.name}.${uid}` },
          involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name: pod.metadata.name, uid },
          ...{ type: 'Warning', reason, message, count: 1 },
          source: { component: 'kubelet', host: nodeName },
        },
      });
      await stop(EVICTION_GRACE_MS);
      await writer.flushed();
    },
    kill(reason, name) {
      for (const runner of containers) {
        if (name === undefined || runner.view().container.name === name) runner.kill(reason);
      }
    },
    pids: () => containers.map((runner: ContainerRunner) => runner.pid()).filter((pid) => pid !== null),
    running: (name) => containers.find((runner) => runner.view().container.name === name)?.running() ?? null,
    log(name, previous) {
      const runner = [...containers, ...inits].find((candidate) => candidate.view().container.name === name);
      const log = runner?.log(previous) ?? null;
      if (log !== null) return log;
      const where = `container "${name}" in pod "${pod.metadata.name}"`;
      if (previous) return `previous terminated ${where} not found`;
      const state = runner?.view().state;
      return state?.kind === 'waiting' ? `${where} is waiting to start: ${state.reason}` : `${where} is not available`;
    },
  };
}
