import { isKubeError, type KubeClient, STRATEGIC_MERGE } from '../kube-client.ts';
import { nowText } from './container-state.ts';
import { KUBELET_PORT } from './kubelet-server.ts';
import type { NodeShape } from './scheduler.ts';

/** Registers the node, ready, with the address where the stand-in serves logs. */
export async function registerNode(client: KubeClient, node: NodeShape, address: string): Promise<void> {
  try {
    await client.call('POST', '/api/v1/nodes', {
      body: { apiVersion: 'v1', kind: 'Node', metadata: { name: node.name, labels: node.labels } },
    });
  } catch (error) {
    if (!isKubeError(error, 'AlreadyExists')) throw error;
  }
  const now = nowText();
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'KubeletReady',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  };
  await client.call('PATCH', `/api/v1/nodes/${node.name}/status`, {
    body: {
      status: {
        addresses: [
          { type: 'InternalIP', address },
          { type: 'Hostname', address: node.name },
        ],
        daemonEndpoints: { kubeletEndpoint: { Port: KUBELET_PORT } },
        capacity: node.allocatable,
        allocatable: node.allocatable,
        conditions: [ready],
        nodeInfo: {
          ...{ machineID: '', systemUUID: '', bootID: '', kernelVersion: '', osImage: 'stand-in' },
          ...{ containerRuntimeVersion: 'standin://1', kubeletVersion: 'v1.34.4', kubeProxyVersion: '' },
          ...{ operatingSystem: 'linux', architecture: 'amd64' },
        },
      },
    },
    contentType: STRATEGIC_MERGE,
  });
  // Put there by the API server's admission, taken away by a controller of the cluster.
  await client.call('PATCH', `/api/v1/nodes/${node.name}`, {
    body: { spec: { taints: null } },
    contentType: 'application/merge-patch+json',
  });
}
