import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { becomes, ensured, never } from '../contract/orchestrator-harness.ts';
import { preparePodNamespace, runKubernetesOrchestrator } from '../support/kubernetes-orchestrator.ts';
import { must } from '../support/real-node/cluster-network.ts';
import { startGatewayPod } from '../support/real-node/gateway-pod.ts';
import { type RealCluster, startRealCluster } from '../support/real-node/real-cluster.ts';
import type { WorkerNode } from '../support/real-node/worker-node.ts';
import { until } from '../support/until.ts';
import { type Database, databasePod } from './database-pods.ts';
import { type FirstStartStage, START_TIMEOUT_MS } from './first-start-stage.ts';

const NAMESPACE = 'first-starts';
const QUERY_TIMEOUT_MS = 60_000;
const QUERY = `
const [module, database, address, port] = process.argv.slice(1);
const { answersQuery } = await import(module);
await answersQuery(database, address, Number(port));
`;

/** Kills all processes of the container; the kubelet restarts it on the same volume. */
export async function openRealNodeStage(database: Database): Promise<FirstStartStage> {
  const cluster = await startRealCluster({ images: [database, 'programs'] });
  const handle = runKubernetesOrchestrator(await preparePodNamespace(cluster, NAMESPACE), {
    settings: { namespace: NAMESPACE, volumeSizeMiB: 1_024 },
  });
  const { orchestrator } = handle;
  await startGatewayPod(cluster);
  const node = nodeOf(cluster);

  const run = async (delayMs: number | null): Promise<number> => {
    const pod = databasePod(database);
    await ensured(orchestrator, pod);
    const container = await until(
      'its container runs',
      async () => {
        const [found] = await containersOf(node, NAMESPACE, `pods-test-dev-${pod.podId}`);
        return found !== undefined && (await taskPid(node, found)) !== null ? found : null;
      },
      { timeoutMs: START_TIMEOUT_MS, everyMs: 50 },
    );
    const begunMs = performance.now();
    if (delayMs !== null) {
      await sleep(delayMs);
      await node.ctr('tasks', 'kill', '--signal', 'SIGKILL', '--all', container);
      await until(
        'it has been restarted',
        async () => {
          const seen = await orchestrator.observe(pod, never());
          return seen.kind === 'workload' && seen.restarts > 0;
        },
        { timeoutMs: START_TIMEOUT_MS, everyMs: 200 },
      );
    }
    const seen = await becomes(orchestrator, pod, 'ready', START_TIMEOUT_MS);
    const readyMs = performance.now() - begunMs;
    const place = seen.addresses['default'];
    if (place === undefined) throw new Error('the pod has no address');
    await queryAsGateway(node, database, place);
    // Again and again, as the health loop does: a removal ends when the API server does not respond in time.
    await until(
      'the pod and its data are gone',
      async () => {
        await orchestrator.remove(pod, { data: 'delete', run: 1 }, never());
        const left = await orchestrator.observe(pod, never());
        return left.kind === 'absent' && !left.data;
      },
      { timeoutMs: START_TIMEOUT_MS, everyMs: 500 },
    );
    return readyMs;
  };
  return {
    measure: () => run(null),
    kill: async (delayMs) => {
      await run(delayMs);
    },
    close: async () => {
      await handle.close();
      await cluster.stop();
    },
  };
}

function nodeOf({ nodes: [node] }: RealCluster): WorkerNode {
  if (node === undefined) throw new Error('the cluster has no node');
  return node;
}

/** Ids in containerd, without the container that holds the namespaces of the pod. */
async function containersOf(node: WorkerNode, namespace: string, pod: string): Promise<readonly string[]> {
  const labels = [
    ['io.kubernetes.pod.namespace', namespace],
    ['io.kubernetes.pod.name', pod],
    ['io.cri-containerd.kind', 'container'],
  ];
  const filter = labels.map(([name, value]) => `labels.${JSON.stringify(name)}==${JSON.stringify(value)}`).join();
  return (await node.ctr('containers', 'list', '--quiet', filter)).split('\n').filter((line) => line !== '');
}

/** In the PID namespace of the node; null: it does not run. */
async function taskPid(node: WorkerNode, container: string): Promise<string | null> {
  const lines = (await node.ctr('tasks', 'list')).split('\n').map((line) => line.split(/\s+/));
  const [, pid, status] = lines.find(([id]) => id === container) ?? [];
  return pid !== undefined && status === 'RUNNING' ? pid : null;
}

/** From the network of the gateway pod: the policies of the pod let nobody else in. */
async function queryAsGateway(
  node: WorkerNode,
  database: Database,
  { address, port }: { readonly address: string; readonly port: number },
): Promise<void> {
  const [gateway] = await containersOf(node, 'podgate', 'gateway');
  const pid = gateway === undefined ? null : await taskPid(node, gateway);
  if (pid === null) throw new Error('the gateway pod does not run');
  const module = pathToFileURL(join(import.meta.dirname, 'database-pods.ts')).href;
  const query = [process.execPath, '--input-type=module', '-e', QUERY, module, database, address, String(port)];
  await must(...node.enter('nsenter', ['--target', pid, '--net', ...query]), QUERY_TIMEOUT_MS);
}
