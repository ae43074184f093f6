import type { KubeClient } from '../support/kubernetes/kube-client.ts';

const RESOURCES = [
  '/api/v1/namespaces/NAMESPACE/pods',
  '/api/v1/namespaces/NAMESPACE/services',
  '/api/v1/namespaces/NAMESPACE/secrets',
  '/api/v1/namespaces/NAMESPACE/persistentvolumeclaims',
  '/apis/networking.k8s.io/v1/namespaces/NAMESPACE/networkpolicies',
] as const;

export interface WorkloadObject {
  /** `pods/NAME`, `services/NAME`... */
  readonly key: string;
  readonly name: string;
  /** The API server's own: another one is another object, also under the same name. */
  readonly uid: string;
  readonly resourceVersion: string;
  /** Podgate's uid of the pod it belongs to. */
  readonly podUid: string;
  readonly isBeingDeleted: boolean;
}

interface Listing {
  readonly items: readonly {
    readonly metadata: {
      readonly name: string;
      readonly uid: string;
      readonly resourceVersion: string;
      readonly labels?: Readonly<Record<string, string>>;
      readonly deletionTimestamp?: string;
    };
  }[];
}

/** Everything in the namespace of the pods, as the administrator sees it. */
export async function workloadObjects(
  client: KubeClient,
  namespace: string,
): Promise<ReadonlyMap<string, WorkloadObject>> {
  const objects = new Map<string, WorkloadObject>();
  for (const resource of RESOURCES) {
    const path = resource.replace('NAMESPACE', namespace);
    const { items } = await client.get<Listing>(path);
    for (const { metadata } of items) {
      const { name, uid, resourceVersion, labels = {}, deletionTimestamp } = metadata;
      const key = `${path.slice(path.lastIndexOf('/') + 1)}/${name}`;
      const podUid = Object.entries(labels).find(([label]) => label.endsWith('/uid'))?.[1] ?? '';
      objects.set(key, {
        key,
        name,
        uid,
        resourceVersion,
        podUid,
        isBeingDeleted: deletionTimestamp !== undefined,
      });
    }
  }
  return objects;
}

/** What differs although nobody asked for it. `ofPods`: Podgate's uids of the pods that were to be left alone, or all. */
export function touched(
  before: ReadonlyMap<string, WorkloadObject>,
  after: ReadonlyMap<string, WorkloadObject>,
  ofPods: ReadonlySet<string> | 'all',
): readonly string[] {
  const problems: string[] = [];
  const counts = ({ podUid }: WorkloadObject): boolean => ofPods === 'all' || ofPods.has(podUid);
  for (const object of before.values()) {
    if (!counts(object)) continue;
    const now = after.get(object.key);
    if (now === undefined) problems.push(`${object.key} is gone`);
    else if (now.uid !== object.uid) problems.push(`${object.key} is another one`);
    else if (now.isBeingDeleted) problems.push(`${object.key} is being deleted`);
    else if (now.resourceVersion !== object.resourceVersion) problems.push(`${object.key} was written to`);
  }
  for (const object of after.values()) {
    if (counts(object) && !before.has(object.key)) problems.push(`${object.key} is new`);
  }
  return problems;
}
