import { setTimeout as delay } from 'node:timers/promises';
import { isKubeError, type KubeClient, STRATEGIC_MERGE } from '../kube-client.ts';
import { bytesOf, millicoresOf } from './quantities.ts';
import { type Claim, type Pod, podPath } from './objects.ts';

export interface NodeShape {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly allocatable: { readonly cpu: string; readonly memory: string; readonly pods: string };
}

/** Null: the pod fits; else why not, in the scheduler's words. */
export function misfit(pod: Pod, node: NodeShape, claims: readonly Claim[]): string | null {
  const none = (why: string) => `0/1 nodes are available: ${why}.`;
  for (const volume of pod.spec.volumes ?? []) {
    const name = volume.persistentVolumeClaim?.claimName;
    if (name === undefined) continue;
    const claim = claims.find(
      ({ metadata }) => metadata.name === name && metadata.namespace === pod.metadata.namespace,
    );
    if (claim === undefined) return none(`persistentvolumeclaim "${name}" not found`);
    if (claim.metadata.deletionTimestamp !== undefined) return none(`persistentvolumeclaim "${name}" is being deleted`);
  }
  const selector = Object.entries(pod.spec.nodeSelector ?? {});
  if (selector.some(([label, value]) => node.labels[label] !== value)) {
    return none("1 node(s) didn't match Pod's node affinity/selector");
  }
  const total = (of: (quantity: string) => number, resource: string) =>
    pod.spec.containers.reduce((sum, { resources }) => sum + of(resources?.requests?.[resource] ?? '0'), 0);
  if (total(millicoresOf, 'cpu') > millicoresOf(node.allocatable.cpu)) return none('1 Insufficient cpu');
  if (total(bytesOf, 'memory') > bytesOf(node.allocatable.memory)) return none('1 Insufficient memory');
  return null;
}

export interface Scheduler {
  /** Looks at a pod without a node, unless it is being looked at. */
  consider(pod: Pod): void;
  /** Every pod is refused with that message until it is null again. */
  refuse(message: string | null): void;
}

export function createScheduler(
  client: KubeClient,
  node: NodeShape,
  options: {
    readonly claims: () => readonly Claim[];
    /** The newest version of a pod that has no node; undefined when there is none of that uid. */
    readonly waiting: (uid: string) => Pod | undefined;
    readonly retryMs: number;
    readonly failed: (error: unknown) => void;
  },
  signal: AbortSignal,
): Scheduler {
  const busy = new Set<string>();
  let refusal: string | null = null;

  async function schedule(uid: string): Promise<void> {
    let told: string | null = null;
    for (let pod = options.waiting(uid); pod !== undefined && !signal.aborted; pod = options.waiting(uid)) {
      const reason = refusal ?? misfit(pod, node, options.claims());
      try {
        if (reason === null) {
          await bind(client, pod, node.name);
          return;
        }
        if (reason !== told) await tell(client, pod, reason);
        told = reason;
      } catch (error) {
        if (isKubeError(error, 'NotFound', 'Conflict')) return;
        options.failed(error);
      }
      await delay(options.retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  return {
    consider(pod) {
      const { uid } = pod.metadata;
      if (busy.has(uid)) return;
      busy.add(uid);
      void schedule(uid).finally(() => busy.delete(uid));
    },
    refuse: (message) => void (refusal = message),
  };
}

/** The API server sets PodScheduled with it. */
async function bind(client: KubeClient, pod: Pod, node: string): Promise<void> {
  await client.call('POST', `${podPath(pod)}/binding`, {
    body: {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: pod.metadata.name, namespace: pod.metadata.namespace, uid: pod.metadata.uid },
      target: { apiVersion: 'v1', kind: 'Node', name: node },
    },
  });
}

async function tell(client: KubeClient, pod: Pod, message: string): Promise<void> {
  const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
  await client.call('PATCH', `${podPath(pod)}/status`, {
    body: { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } },
    contentType: STRATEGIC_MERGE,
  });
}
