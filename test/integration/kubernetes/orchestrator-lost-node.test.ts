import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import { becomes, ensured, never, observed, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { controlPlaneProblem, startTestCluster, type TestCluster } from '../../support/kubernetes/index.ts';
import { STRATEGIC_MERGE } from '../../support/kubernetes/kube-client.ts';
import {
  imageSpec,
  type KubernetesOrchestratorHandle,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../../support/kubernetes-orchestrator.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'lost-node-pods';
const AWAY = 'node-away';
const DATA = {
  type: 'pvc' as const,
  name: 'data',
  mountPath: '/data',
  subPath: '',
  readOnly: false,
  keyedBy: 'name' as const,
};

/**
 * A node that was cut off: nobody runs it, and its Pods are as its kubelet and the node controller left them. For all
 * that the cluster knows, they run on.
 */
describe.skipIf(problem !== null)(`pods on a lost node${problem === null ? '' : ` (${problem})`}`, () => {
  let cluster: TestCluster;
  let handle: KubernetesOrchestratorHandle;
  beforeAll(async () => {
    cluster = await startTestCluster();
    const kubeconfig = await preparePodNamespace(cluster, NAMESPACE);
    handle = runKubernetesOrchestrator(kubeconfig, {
      settings: { namespace: NAMESPACE },
      limits: { lostAfterMs: 500 },
    });
  });
  afterAll(async () => {
    await handle.close();
    await cluster.stop();
  });

  const pathOf = ({ podId }: WorkloadSpec) => `/api/v1/namespaces/${NAMESPACE}/pods/pods-test-dev-${podId}`;
  const uidOf = async (workload: WorkloadSpec) =>
    (await cluster.controlPlane.client.get<{ metadata: { uid: string } }>(pathOf(workload))).metadata.uid;

  async function madeOnNodeAway(workload: WorkloadSpec): Promise<string> {
    const { client } = cluster.controlPlane;
    cluster.kubelet.refusePods('0/1 nodes are available.');
    await ensured(handle.orchestrator, workload);
    const path = pathOf(workload);
    const target = { apiVersion: 'v1', kind: 'Node', name: AWAY };
    const metadata = { name: path.slice(path.lastIndexOf('/') + 1) };
    await client.call('POST', `${path}/binding`, { body: { apiVersion: 'v1', kind: 'Binding', metadata, target } });
    cluster.kubelet.refusePods(null);
    const running = { running: { startedAt: new Date().toISOString() } };
    await client.call('PATCH', `${path}/status`, {
      body: {
        status: {
          phase: 'Running',
          podIP: '10.9.9.9',
          conditions: [
            { type: 'Ready', status: 'False' },
            { type: 'ContainersReady', status: 'True' },
          ],
          containerStatuses: [
            { name: 'pod', image: 'a', imageID: 'a', ready: true, started: true, restartCount: 0, state: running },
          ],
        },
      },
      contentType: STRATEGIC_MERGE,
    });
    await becomes(handle.orchestrator, workload, 'ready');
    return uidOf(workload);
  }
  /** As the taint manager does after tolerationSeconds; the grace is that of the test. */
  const deletedByCluster = (workload: WorkloadSpec) =>
    cluster.controlPlane.client.call('DELETE', `${pathOf(workload)}?gracePeriodSeconds=1`);

  it('without a volume are abandoned after their deletion is overdue, reachable until then, and start elsewhere', async () => {
    const workload = workloadSpec(imageSpec('podgate.test/serves'));
    const lost = await madeOnNodeAway(workload);
    await deletedByCluster(workload);
    const stopping = await becomes(handle.orchestrator, workload, 'stopping');
    expect(stopping.message).toMatch(/has stopped reporting.* will give it up soon\.$/);
    expect(stopping.addresses['default']).toMatchObject({ address: '10.9.9.9' });
    expect((await becomes(handle.orchestrator, workload, 'lost')).addresses).toEqual(stopping.addresses);
    await handle.orchestrator.remove(workload, { data: 'keep', run: 1 }, never());
    await observed(handle.orchestrator, workload, 'gone', (seen): seen is typeof seen => seen.kind === 'absent');
    await ensured(handle.orchestrator, workload);
    const again = await becomes(handle.orchestrator, workload, 'ready');
    expect(again.addresses['default']?.address).not.toBe('10.9.9.9');
    expect(await uidOf(workload)).not.toBe(lost);
  });

  it('with a volume are waited for, whatever is requested, until the cluster knows that they have ended', async () => {
    const workload = workloadSpec(imageSpec('podgate.test/serves', { volumeMounts: [DATA] }));
    const held = await madeOnNodeAway(workload);
    await deletedByCluster(workload);
    const stopping = await becomes(handle.orchestrator, workload, 'stopping');
    expect(stopping.message).toContain('Its volume must not be used twice');
    // One without a volume that was deleted later is overdue for long enough: so is this.
    const sibling = workloadSpec(imageSpec('podgate.test/serves'));
    await madeOnNodeAway(sibling);
    await deletedByCluster(sibling);
    await becomes(handle.orchestrator, sibling, 'lost');
    const next = { ...workload, run: 2 };
    for (const asked of [workload, next]) {
      await handle.orchestrator.remove(workload, { data: 'keep', run: 1 }, never());
      expect(await handle.orchestrator.ensure(asked, never())).toMatchObject({ kind: 'wait' });
      expect((await becomes(handle.orchestrator, workload, 'stopping')).addresses).toEqual(stopping.addresses);
      expect(await uidOf(workload)).toBe(held);
    }
    // The Node object was deleted, or has the taint out-of-service: the cluster's garbage collector of Pods.
    await cluster.controlPlane.client.call('DELETE', `${pathOf(workload)}?gracePeriodSeconds=0`);
    await ensured(handle.orchestrator, next);
    await becomes(handle.orchestrator, next, 'ready');
    expect(await uidOf(workload)).not.toBe(held);
  });
});
