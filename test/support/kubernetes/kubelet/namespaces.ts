import { isKubeError, type KubeClient } from '../kube-client.ts';

/** What controllers of a real cluster put into each namespace, and pods are refused without. */
export async function furnishNamespace(client: KubeClient, namespace: string, ca: string): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}`;
  const objects = [
    [`${path}/serviceaccounts`, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } }],
    [
      `${path}/configmaps`,
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'kube-root-ca.crt' }, data: { 'ca.crt': ca } },
    ],
  ] as const;
  for (const [collection, body] of objects) {
    try {
      await client.call('POST', collection, { body });
    } catch (error) {
      // A namespace that is being deleted takes nothing new, and needs nothing.
      if (!isKubeError(error, 'AlreadyExists', 'NotFound', 'Forbidden')) throw error;
    }
  }
}
