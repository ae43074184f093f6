import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import type { KubeApi } from '../../../spawner/orchestrator/kubernetes/api/kube-api.ts';
import { createClusterObjects } from '../../../spawner/orchestrator/kubernetes/cluster-objects.ts';
import { removeWorkload } from '../../../spawner/orchestrator/kubernetes/remove-workload.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import {
  controlPlaneProblem,
  isKubeError,
  startTestCluster,
  type TestCluster,
} from '../../support/kubernetes/index.ts';
import {
  imageSpec,
  type KubernetesOrchestratorHandle,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../../support/kubernetes-orchestrator.ts';
import { until } from '../../support/until.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'deletion-pods';
const DATA = { type: 'pvc', name: 'data', mountPath: '/data', subPath: '', readOnly: false, keyedBy: 'name' } as const;

const notLost = (): boolean => false;

/** The watch of Pods whose events arrive late, or are lost. */
class HeldWatch {
  #held: PromiseWithResolvers<'release' | 'begin'> | null = null;
  #isHistoryLost = false;

  hold(): void {
    this.#held = Promise.withResolvers();
  }

  release(): void {
    this.#held?.resolve('release');
    this.#held = null;
  }

  /** What was held is lost, and so is the history: the Pods are listed again. */
  begin(): void {
    this.#isHistoryLost = true;
    this.#held?.resolve('begin');
    this.#held = null;
  }

  /** With `releases`, the deletion of a Pod is answered after the watch has told that the Pod is gone. */
  around(api: KubeApi, releases: boolean): KubeApi {
    return {
      ...api,
      request: async (request, signal) => {
        const response = await api.request(request, signal);
        if (!releases || request.method !== 'DELETE' || !request.path.includes('/pods/')) return response;
        const goneAt = async () => (await api.request({ method: 'GET', path: request.path }, signal)).status === 404;
        await until('the Pod is gone', goneAt);
        this.release();
        await this.#told;
        return response;
      },
      stream: async (path, query, signal) => {
        if (!path.endsWith('/pods')) return api.stream(path, query, signal);
        if (this.#isHistoryLost) {
          this.#isHistoryLost = false;
          return { status: 410, serverTimeMs: null, chunks: none() };
        }
        const stream = await api.stream(path, query, signal);
        return { ...stream, chunks: this.#late(stream.chunks) };
      },
    };
  }

  readonly #deletion = Promise.withResolvers<undefined>();
  /** Resolves when the reader has taken the event of a deletion and asks for what follows. */
  get #told(): Promise<undefined> {
    return this.#deletion.promise;
  }

  async *#late(chunks: AsyncIterable<string>): AsyncGenerator<string> {
    let isDeletion = false;
    for await (const chunk of chunks) {
      if ((await this.#held?.promise) === 'begin') return;
      yield chunk;
      // An event may come in pieces.
      isDeletion ||= chunk.includes('"DELETED"');
      if (isDeletion && chunk.endsWith('\n')) this.#deletion.resolve(undefined);
    }
  }
}

async function* none(): AsyncGenerator<string> {
  // Nothing comes.
}

describe.skipIf(problem !== null)(`removal in a cluster${problem === null ? '' : ` (${problem})`}`, () => {
  let cluster: TestCluster;
  let handle: KubernetesOrchestratorHandle;
  let kubeconfig: string;
  beforeAll(async () => {
    cluster = await startTestCluster({ timings: { probePeriodMs: 50 } });
    kubeconfig = await preparePodNamespace(cluster, NAMESPACE);
    handle = runKubernetesOrchestrator(kubeconfig, { settings: { namespace: NAMESPACE } });
  });
  afterAll(async () => {
    await handle.close();
    await cluster.stop();
  });

  const objects = () =>
    createClusterObjects({ api: handle.api, namespace: NAMESPACE, site: 'test', serverTime: () => undefined });
  const serving = (change: Partial<WorkloadSpec> = {}) => workloadSpec(imageSpec('podgate.test/serves'), change);
  const remove = (workload: WorkloadSpec, data: 'keep' | 'delete' = 'delete') =>
    handle.orchestrator.remove(workload, { data, run: workload.run }, never());
  const ready = async (workload: WorkloadSpec) => {
    await ensured(handle.orchestrator, workload);
    return becomes(handle.orchestrator, workload, 'ready');
  };
  const namesOf = async (path: string) => {
    const { items } = await cluster.controlPlane.client.get<{
      readonly items: readonly { metadata: { name: string } }[];
    }>(path);
    return items.map(({ metadata }) => metadata.name);
  };

  it('that was paused between its check and its deletion deletes nothing that was created meanwhile', async () => {
    const workload = serving();
    await ready(workload);
    const looked = await objects().readPod(workload, never());
    if (looked === null) throw new Error('the pod is there');
    const services = await objects().list('services', workload.uid, never());
    // Paused here. Somebody else removes that run, and the next one starts under the same name.
    await remove(workload, 'keep');
    await becomesAbsent(handle.orchestrator, workload);
    const next = { ...workload, run: 2 };
    const before = await ready(next);
    expect(await objects().delete('pods', looked, never())).toBe('changed');
    for (const service of services) expect(await objects().delete('services', service, never())).toBe('changed');
    const after = await becomes(handle.orchestrator, next, 'ready');
    expect(after).toEqual({ ...before, ageMs: after.ageMs });
    await remove(next);
    await becomesAbsent(handle.orchestrator, next);
  });

  it('of an object that has changed since the check does nothing either', async () => {
    const workload = serving();
    await ready(workload);
    const looked = await objects().readPod(workload, never());
    if (looked === null) throw new Error('the pod is there');
    cluster.kubelet.crash(NAMESPACE, looked.name);
    await expect
      .poll(() => objects().readPod(workload, never()))
      .not.toMatchObject({ resourceVersion: looked.resourceVersion });
    expect(await objects().delete('pods', looked, never())).toBe('changed');
    await remove(workload);
    await becomesAbsent(handle.orchestrator, workload);
  });

  it('works in steps that any replica can continue: while the Pod ends, its isolation stays', async () => {
    const workload = workloadSpec(
      imageSpec('podgate.test/serves', { environmentVariables: { STOP_AFTER_MS: '500' }, volumeMounts: [DATA] }),
    );
    await ready(workload);
    const path = `/api/v1/namespaces/${NAMESPACE}`;
    const name = `pods-test-dev-${workload.podId}`;
    // By a remover that ends right after its first step, and another that comes when it likes.
    const first = await removeWorkload(objects(), workload, { data: 'delete', run: 1 }, notLost, never());
    expect(first.kind).toBe('ending');
    expect(await namesOf(`/apis/networking.k8s.io/v1/namespaces/${NAMESPACE}/networkpolicies`)).toContain(name);
    expect(await namesOf(`${path}/persistentvolumeclaims`)).toHaveLength(1);
    await expect
      .poll(() => handle.orchestrator.observe(workload, never()), { timeout: 10_000 })
      .toEqual({ kind: 'remains' });
    const second = await removeWorkload(objects(), workload, { data: 'delete', run: 1 }, notLost, never());
    expect(second.kind).toBe('removed');
    await expect.poll(() => handle.orchestrator.observe(workload, never())).toEqual({ kind: 'absent', data: false });
    for (const kind of ['pods', 'services', 'secrets', 'persistentvolumeclaims']) {
      expect((await namesOf(`${path}/${kind}`)).filter((each) => each.startsWith(name))).toEqual([]);
    }
  });

  it.each(['tells of it while the deletion is answered', 'has never seen it and is begun anew'] as const)(
    'is completed by one call when the watch %s',
    async (how) => {
      const watch = new HeldWatch();
      const late = runKubernetesOrchestrator(kubeconfig, {
        settings: { namespace: NAMESPACE },
        around: (api) => watch.around(api, how === 'tells of it while the deletion is answered'),
      });
      try {
        await late.orchestrator.list(never());
        watch.hold();
        const workload = serving();
        // By the other one, which sees it: here, nobody does.
        await ready(workload);
        await late.orchestrator.remove(workload, { data: 'delete', run: 1 }, never());
        if (how === 'has never seen it and is begun anew') {
          await until('its Pod is gone', async () => (await objects().readPod(workload, never())) === null);
          watch.begin();
        }
        expect(await becomesAbsent(handle.orchestrator, workload)).toEqual({ kind: 'absent', data: false });
      } finally {
        watch.release();
        await late.close();
      }
    },
  );

  it('of one pod does not affect another', async () => {
    const [one, two] = [serving(), workloadSpec(imageSpec('podgate.test/serves', { volumeMounts: [DATA] }))];
    await Promise.all([ready(one), ready(two)]);
    const before = await becomes(handle.orchestrator, two, 'ready');
    await remove({ ...one, podId: two.podId });
    await remove(one);
    await becomesAbsent(handle.orchestrator, one);
    const after = await becomes(handle.orchestrator, two, 'ready');
    expect(after).toEqual({ ...before, ageMs: after.ageMs });
    await remove(two, 'keep');
    expect(await becomesAbsent(handle.orchestrator, two)).toEqual({ kind: 'absent', data: true });
    await remove(two);
    await expect.poll(() => handle.orchestrator.observe(two, never())).toEqual({ kind: 'absent', data: false });
  });

  it('of a partial workload is complete: a service without a pod is found, listed and removed', async () => {
    const workload = serving();
    await ready(workload);
    const pod = await objects().readPod(workload, never());
    if (pod === null) throw new Error('the pod is there');
    await cluster.controlPlane.client
      .call('DELETE', `/api/v1/namespaces/${NAMESPACE}/pods/${pod.name}?gracePeriodSeconds=0`)
      .catch((error: unknown) => {
        if (!isKubeError(error, 'NotFound')) throw error;
      });
    await expect
      .poll(() => handle.orchestrator.observe(workload, never()), { timeout: 10_000 })
      .toEqual({ kind: 'remains' });
    await expect
      .poll(async () => (await handle.orchestrator.list(never())).find(({ uid }) => uid === workload.uid))
      .toMatchObject({ phase: 'stopping', addresses: {} });
    // Whoever wants it to run again just says so.
    await ready(workload);
    await remove(workload);
    await becomesAbsent(handle.orchestrator, workload);
  });

  it('needs few calls of the API server, and so do creating and checking', async () => {
    const counted = async (work: () => Promise<unknown>) => {
      const before = new Map(handle.api.calls);
      await work();
      return Object.fromEntries(
        [...handle.api.calls]
          .filter(([what]) => !what.startsWith('WATCH'))
          .map(([what, times]) => [what, times - (before.get(what) ?? 0)] as const)
          .filter(([, times]) => times > 0),
      );
    };
    const workload = serving();
    expect(await counted(() => ensured(handle.orchestrator, workload))).toEqual({
      'POST services': 1,
      'POST networkpolicies': 1,
      'POST pods': 1,
    });
    await becomes(handle.orchestrator, workload, 'ready');
    expect(await counted(() => handle.orchestrator.observe(workload, never()))).toEqual({ 'GET pods': 1 });
    expect(await counted(() => handle.orchestrator.list(never()))).toEqual({});
    const events = handle.orchestrator.watch(AbortSignal.timeout(5_000));
    const removal = await counted(async () => {
      await remove(workload);
      for await (const { podId } of events) {
        if (podId === workload.podId && handle.orchestrator.glimpse(workload).kind === 'absent') break;
      }
    });
    expect(removal).toEqual({
      'GET pods': 2,
      'DELETE pods': 1,
      'GET secrets': 1,
      'GET networkpolicies': 1,
      'DELETE networkpolicies': 1,
      'GET persistentvolumeclaims': 1,
      'GET services': 1,
      'DELETE services': 1,
    });
    expect(await counted(() => handle.orchestrator.observe({ ...workload, uid: randomUUID() }, never()))).toEqual({
      'GET pods': 1,
      'GET services': 1,
      'GET networkpolicies': 1,
      'GET persistentvolumeclaims': 1,
      'GET secrets': 1,
    });
  });
});
