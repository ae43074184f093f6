import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation, WorkloadSpec } from '../../../core/workloads.ts';
import type { PodSpec } from '../../../core/pod.ts';
import { becomes, ensured, isPhase, never, observed, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { until } from '../../support/until.ts';
import { STRATEGIC_MERGE } from '../../support/kubernetes/kube-client.ts';
import { controlPlaneProblem, startTestCluster, type TestCluster } from '../../support/kubernetes/index.ts';
import {
  imageSpec,
  type KubernetesOrchestratorHandle,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../../support/kubernetes-orchestrator.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'status-pods';

/** What the API server, the scheduler and the kubelet say, as Podgate's account gets to know it and users read it. */
describe.skipIf(problem !== null)(`the status of pods in a cluster${problem === null ? '' : ` (${problem})`}`, () => {
  let cluster: TestCluster;
  let handle: KubernetesOrchestratorHandle;
  beforeAll(async () => {
    cluster = await startTestCluster({ timings: { crashBackOffMs: 20, crashBackOffMaxMs: 200, probePeriodMs: 50 } });
    const kubeconfig = await preparePodNamespace(cluster, NAMESPACE);
    handle = runKubernetesOrchestrator(kubeconfig, { settings: { namespace: NAMESPACE } });
  });
  afterAll(async () => {
    await handle.close();
    await cluster.stop();
  });

  const serving = (change: Partial<PodSpec> = {}) => workloadSpec(imageSpec('podgate.test/serves', change));
  const nameOf = ({ podId }: WorkloadSpec) => `pods-test-dev-${podId}`;
  const made = async (workload: WorkloadSpec) => {
    await ensured(handle.orchestrator, workload);
    return workload;
  };
  type Workload = Extract<Observation, { kind: 'workload' }>;
  const saying = (ref: WorkloadSpec, phase: Workload['phase'], text: string) =>
    observed(
      handle.orchestrator,
      ref,
      `${phase}, saying "${text}"`,
      (seen): seen is Workload => isPhase(phase)(seen) && seen.message.includes(text),
    );
  const remove = (workload: WorkloadSpec) =>
    handle.orchestrator.remove(workload, { data: 'delete', run: workload.run }, never());

  it('a missing image is an error with its reason, and the kubelet keeps trying', async () => {
    const workload = await made(workloadSpec(imageSpec('registry.example/no/such:1')));
    const seen = await saying(workload, 'crashing', 'The node cannot pull the image registry.example/no/such:1');
    expect(seen.message).toContain('it does not exist');
    expect(seen.addresses).toEqual({});
    await remove(workload);
  });

  it('the usage of a pod is unknown without metrics-server, with the reason', async () => {
    expect(await handle.orchestrator.metrics?.read([serving()], never())).toEqual({
      kind: 'unavailable',
      reason: expect.stringContaining('an operator can install metrics-server') as string,
    });
  });

  it('a pod that fits on no node waits, with the reason', async () => {
    cluster.kubelet.refusePods('0/1 nodes are available: 1 Insufficient nvidia.com/gpu.');
    const workload = await made(serving());
    await saying(
      workload,
      'pending',
      'No node has room for this pod: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.',
    );
    cluster.kubelet.refusePods(null);
    await becomes(handle.orchestrator, workload, 'ready');
    await remove(workload);
  });

  it('output is followed across the rotation of its log, and read from a mark on across its restart', async () => {
    const go = join(mkdtempSync(join(tmpdir(), 'podgate-rotation-')), 'go');
    // Some 15 MiB in the file of the kubelet, which rotates it at 10.
    const script = `echo begin; while [ ! -e ${go} ]; do sleep 0.1; done; seq 1 300000; exec sleep 1000`;
    const workload = await made(workloadSpec(imageSpec('podgate.test/command', { command: ['sh', '-c', script] })));
    const { orchestrator } = handle;
    const { printedSince, followPrinted } = orchestrator;
    if (printedSince === undefined || followPrinted === undefined) throw new Error('it rotates logs');
    const since = (mark: string) => printedSince(workload, { mark, mostBytes: 1024 * 1024 * 16 }, never());
    const first = await until('it has printed', async () => {
      const part = await since('');
      return part.text === 'begin\n' ? part : null;
    });
    const end = new AbortController();
    let text = '';
    let mark = '';
    const following = (async () => {
      for await (const part of followPrinted(workload, '', end.signal)) {
        text += part.text;
        ({ mark } = part);
      }
    })().catch(() => undefined);
    await until('it is followed', () => text === 'begin\n');
    writeFileSync(go, '');
    await until('all of it has come', () => text.endsWith('\n300000\n'), { timeoutMs: 60_000 });
    end.abort();
    await following;
    const lines = text.trim().split('\n').slice(1);
    expect(lines).toHaveLength(300_000);
    expect(lines.findIndex((line, index) => line !== String(index + 1))).toBe(-1);
    // The kubelet has only the end of it.
    const rest = await since(first.mark);
    expect([rest.text.startsWith('1\n'), rest.text.endsWith('\n300000\n')]).toEqual([false, true]);
    expect(await since(mark)).toEqual({ text: '', mark, isAll: true });
    rmSync(go);
    cluster.kubelet.outOfMemory(NAMESPACE, nameOf(workload));
    const next = await until('the next one has printed', async () => {
      const part = await since(mark);
      // Its log may be there before the status that counts the restart.
      return part.text === 'begin\n' && part.mark.endsWith(' 1') ? part : null;
    });
    expect(next.previousLength).toBe(0);
    expect(await orchestrator.logs(workload, { tailBytes: 14, isPrevious: true }, never())).toBe(
      '299999\n300000\n'.slice(-14),
    );
    expect(await orchestrator.logs(workload, { tailBytes: 1_000 }, never())).toBe('begin\n');
    await remove(workload);
  }, 120_000);

  it('a pod that uses too much memory starts again, and says why', async () => {
    const workload = await made(serving());
    await becomes(handle.orchestrator, workload, 'ready');
    cluster.kubelet.outOfMemory(NAMESPACE, nameOf(workload));
    const seen = await observed(
      handle.orchestrator,
      workload,
      'ready again',
      (each): each is Workload => isPhase('ready')(each) && each.restarts === 1,
    );
    expect(seen).toMatchObject({ signal: 'SIGKILL', exitCode: null });
    for (let restarts = 1; restarts < 3; restarts += 1) {
      cluster.kubelet.outOfMemory(NAMESPACE, nameOf(workload));
      await observed(
        handle.orchestrator,
        workload,
        'restarted',
        (each): each is Workload => each.kind === 'workload' && each.restarts > restarts,
      );
    }
    await remove(workload);
  });

  it('a pod that runs out of memory repeatedly is a crash loop with that reason', async () => {
    const workload = await made(
      workloadSpec(
        imageSpec('podgate.test/exits', { environmentVariables: { EXIT_CODE: '1', EXIT_AFTER_MS: '60000' } }),
      ),
    );
    await until('it has been killed often enough', async () => {
      const seen = await handle.orchestrator.observe(workload, never());
      if (seen.kind !== 'workload' || seen.phase === 'pending') return false;
      if (seen.phase !== 'crashing') cluster.kubelet.outOfMemory(NAMESPACE, nameOf(workload));
      return seen.phase === 'crashing';
    });
    await saying(workload, 'crashing', 'used more memory than its limit and was killed');
    await remove(workload);
  });

  it('an evicted pod is to be started again, and says why it ended', async () => {
    const workload = await made(serving());
    await becomes(handle.orchestrator, workload, 'ready');
    await cluster.kubelet.evict(NAMESPACE, nameOf(workload));
    const seen = await saying(workload, 'evicted', 'evicted this pod');
    expect(seen.message).toContain('The node was low on resource: memory.');
    expect(seen.addresses).toEqual({});
    // The next run finds the way free once the evicted Pod has gone.
    const next = { ...workload, run: 2 };
    await ensured(handle.orchestrator, next);
    await becomes(handle.orchestrator, next, 'ready');
    const excess = 'Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ';
    await cluster.kubelet.evict(NAMESPACE, nameOf(workload), excess);
    await saying(next, 'exceeded', 'exceeded its storage limit');
    await remove(next);
  });

  it('a pod whose node has stopped reporting stays reachable, and its status says so', async () => {
    const workload = await made(serving());
    const before = await becomes(handle.orchestrator, workload, 'ready');
    // What the node controller writes, 40 s after a node's last word: no reason.
    const ready = { type: 'Ready', status: 'False', lastTransitionTime: new Date().toISOString(), reason: null };
    await cluster.controlPlane.client.call('PATCH', `/api/v1/namespaces/${NAMESPACE}/pods/${nameOf(workload)}/status`, {
      body: { status: { conditions: [ready] } },
      contentType: STRATEGIC_MERGE,
    });
    const seen = await saying(workload, 'ready', 'has stopped reporting');
    expect(seen.addresses).toEqual(before.addresses);
    await remove(workload);
  });

  it('an image that runs as root is refused by the node, and the user learns what to do', async () => {
    const workload = await made(workloadSpec(imageSpec('docker.io/library/postgres:18')));
    await saying(workload, 'crashing', 'The image runs as root, which this cluster does not allow');
    await remove(workload);
  });

  it('a pod that the API server rejects is refused for good, with its message', async () => {
    const resources = { cpuRequest: 2_000, cpuLimit: 100, memRequest: 16, memLimit: 16, gpus: 0 };
    const result = await handle.orchestrator.ensure(serving({ resources }), never());
    expect(result).toMatchObject({ kind: 'failed', retryable: false });
    if (result.kind === 'failed')
      expect(result.reason).toMatch(/^The cluster does not accept this pod \(Invalid\): .*resources.*\.$/);
  });

  it('an exhausted quota is a reason to retry later', async () => {
    await cluster.controlPlane.apply({
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'none', namespace: NAMESPACE },
      spec: { hard: { 'requests.cpu': '1m' } },
    });
    // No controller counts here: the quota admission itself waits until the status says what is used.
    await cluster.controlPlane.client.call('PATCH', `/api/v1/namespaces/${NAMESPACE}/resourcequotas/none/status`, {
      contentType: 'application/merge-patch+json',
      body: { status: { hard: { 'requests.cpu': '1m' }, used: { 'requests.cpu': '0' } } },
    });
    const workload = serving();
    await expect
      .poll(() => handle.orchestrator.ensure(workload, never()), { timeout: 15_000 })
      .toMatchObject({
        kind: 'failed',
        retryable: true,
        reason: expect.stringContaining('exceeds a quota of the cluster') as string,
      });
    await cluster.controlPlane.client.call('DELETE', `/api/v1/namespaces/${NAMESPACE}/resourcequotas/none`);
    await remove(workload);
  });

  it('another object of the same name is never touched: an operator has to check', async () => {
    const workload = serving();
    await cluster.controlPlane.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: nameOf(workload), namespace: NAMESPACE },
      spec: { ports: [{ port: 1, targetPort: 1 }] },
    });
    const result = await handle.orchestrator.ensure(workload, never());
    expect(result).toMatchObject({ kind: 'failed', retryable: true });
    await remove(workload);
    expect(
      await cluster.controlPlane.client.get(`/api/v1/namespaces/${NAMESPACE}/services/${nameOf(workload)}`),
    ).toBeDefined();
    expect(await handle.orchestrator.observe(workload, never())).toEqual({ kind: 'absent', data: false });
  });
});
