import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { WorkloadEvent, WorkloadSpec } from '../../../core/workloads.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { controlPlaneProblem, startTestCluster, type TestCluster } from '../../support/kubernetes/index.ts';
import {
  imageSpec,
  type KubernetesOrchestratorHandle,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../../support/kubernetes-orchestrator.ts';
import { until } from '../../support/until.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'watch-pods';
const LIMITS = { watchSeconds: 2, watchLateMs: 500, watchRetryMs: 50, watchRetryMaxMs: 200 };

/** A way to the API server that can fall silent: connections stay, and nothing comes through any more. */
class SilentWay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isSilent = false;

  constructor(target: URL) {
    this.#server = createServer((client) => {
      const server = connect({ host: target.hostname, port: Number(target.port) });
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from);
        from.on('data', (bytes) => {
          if (!this.#isSilent) to.write(bytes);
        });
        from.on('error', () => to.destroy()).on('close', () => to.destroy());
      }
    });
  }

  async open(): Promise<string> {
    // The API server's certificate is valid for its address alone: the way has the same, and a port of its own.
    await new Promise<void>((resolve) => this.#server.listen(0, this.host, resolve));
    const address = this.#server.address();
    return `https://${this.host}:${typeof address === 'object' ? address?.port : ''}`;
  }

  host = '127.0.0.1';

  /** For the connections there are; new ones get through. */
  fallSilent(): void {
    for (const socket of this.#sockets) socket.removeAllListeners('data').on('data', () => undefined);
  }

  /** For all. */
  set isSilent(value: boolean) {
    this.#isSilent = value;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

describe.skipIf(problem !== null)(`the watch of a cluster${problem === null ? '' : ` (${problem})`}`, () => {
  let cluster: TestCluster;
  let kubeconfig: string;
  let way: SilentWay;
  let handle: KubernetesOrchestratorHandle;
  /** Goes straight to the API server. */
  let other: KubernetesOrchestratorHandle;
  beforeAll(async () => {
    cluster = await startTestCluster({ timings: { probePeriodMs: 50 } });
    kubeconfig = await preparePodNamespace(cluster, NAMESPACE);
    other = runKubernetesOrchestrator(kubeconfig, { settings: { namespace: NAMESPACE }, limits: LIMITS });
  });
  afterAll(async () => {
    await other.close();
    await cluster.stop();
  });
  beforeEach(async () => {
    const target = new URL(cluster.controlPlane.server);
    way = new SilentWay(target);
    way.host = target.hostname;
    const server = await way.open();
    handle = runKubernetesOrchestrator(kubeconfig, {
      settings: { namespace: NAMESPACE },
      limits: LIMITS,
      server,
      deadlineMs: 1_000,
    });
    await until('its watch is fresh', isFresh);
  });
  afterEach(async () => {
    await handle.close();
    await way.close();
  });

  const serving = () => workloadSpec(imageSpec('podgate.test/serves'));
  const glimpse = (workload: WorkloadSpec) => handle.orchestrator.glimpse(workload);
  const isFresh = () => handle.orchestrator.glimpse(serving()).kind !== 'unknown';
  const remove = (workload: WorkloadSpec) =>
    other.orchestrator.remove(workload, { data: 'delete', run: workload.run }, never());

  it('stays fresh after many watches have ended, without listing again', async () => {
    const listsBefore = handle.api.calls.get('GET pods') ?? 0;
    const watchesBefore = handle.api.calls.get('WATCH pods') ?? 0;
    const begunMs = performance.now();
    while (performance.now() - begunMs < 5_000) {
      expect(isFresh()).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(handle.api.calls.get('GET pods') ?? 0).toBe(listsBefore);
    expect((handle.api.calls.get('WATCH pods') ?? 0) - watchesBefore).toBeGreaterThanOrEqual(2);
  });

  it('that is silently dead is detected, not trusted, and restarted: changes meanwhile are reported', async () => {
    const workload = serving();
    await ensured(other.orchestrator, workload);
    await becomes(other.orchestrator, workload, 'ready');
    await until('it is seen', () => glimpse(workload).kind === 'workload');
    const events: WorkloadEvent[] = [];
    const end = new AbortController();
    const watching = (async () => {
      for await (const event of handle.orchestrator.watch(end.signal)) events.push(event);
    })();
    await until('the watch has begun', () => events.length > 0);

    way.isSilent = true;
    await remove(workload);
    await becomesAbsent(other.orchestrator, workload);
    events.length = 0;
    await until('it is no longer believed', () => !isFresh(), { timeoutMs: 4_000 });
    expect(glimpse(workload)).toMatchObject({ kind: 'unknown' });
    await expect(handle.orchestrator.list(never())).rejects.toMatchObject({ code: 'orchestrator.unavailable' });
    way.isSilent = false;

    await until('it is believed again', isFresh, { timeoutMs: 6_000 });
    await until('the removal is told', () => events.some(({ podId }) => podId === workload.podId));
    // Services are watched by a watch of their own.
    await until('nothing of it is left', () => glimpse(workload).kind === 'absent');
    end.abort();
    await watching;
  });

  it('whose connections alone are dead recovers as soon as that is detected', async () => {
    const workload = serving();
    way.fallSilent();
    await ensured(other.orchestrator, workload);
    await until('it is seen', () => glimpse(workload).kind === 'workload', { timeoutMs: 6_000 });
    await remove(workload);
    await becomesAbsent(other.orchestrator, workload);
  });

  it('that missed more than the API server remembers lists again, and reports everything', async () => {
    const [gone, stays] = [serving(), serving()];
    for (const each of [gone, stays]) {
      await ensured(other.orchestrator, each);
      await becomes(other.orchestrator, each, 'ready');
    }
    await until('both are seen', () => glimpse(gone).kind === 'workload' && glimpse(stays).kind === 'workload');
    const events = new Set<string>();
    const end = new AbortController();
    const watching = (async () => {
      for await (const event of handle.orchestrator.watch(end.signal)) events.add(event.podId);
    })();
    await until('the watch has begun', () => events.size >= 2);

    way.isSilent = true;
    await remove(gone);
    await becomesAbsent(other.orchestrator, gone);
    events.clear();
    await until('it is no longer believed', () => !isFresh(), { timeoutMs: 4_000 });
    // What it has seen last is history that nobody has any more: compacted in etcd, and not in a new server's memory.
    const { controlPlane } = cluster;
    await controlPlane.killApiServer();
    await compact(controlPlane.etcdUrl);
    await controlPlane.startApiServer();
    const listsBefore = handle.api.calls.get('GET pods') ?? 0;
    way.isSilent = false;
    await until('both are told', () => events.has(gone.podId) && events.has(stays.podId), { timeoutMs: 15_000 });
    // Their Services may have been listed first.
    await until('the pods are listed again', () => (handle.api.calls.get('GET pods') ?? 0) > listsBefore);
    await until('nothing of it is left', () => glimpse(gone).kind === 'absent');
    expect(glimpse(stays)).toMatchObject({ kind: 'workload', phase: 'ready' });
    end.abort();
    await watching;
    await remove(stays);
    await becomesAbsent(other.orchestrator, stays);
  });

  it('is not trusted while the API server is away, and continues when it is back', async () => {
    const workload = serving();
    await ensured(other.orchestrator, workload);
    const seen = await becomes(other.orchestrator, workload, 'ready');
    await until('it is seen', () => glimpse(workload).kind === 'workload');
    await cluster.controlPlane.killApiServer();
    await until('it is no longer believed', () => !isFresh(), { timeoutMs: 1_000 });
    await expect(handle.orchestrator.observe(workload, never())).rejects.toMatchObject({
      code: 'orchestrator.unavailable',
    });
    await cluster.controlPlane.startApiServer();
    await until('it is believed again', isFresh);
    const now = glimpse(workload);
    if (now.kind !== 'workload') throw new Error(now.kind);
    expect(now.addresses).toEqual(seen.addresses);
    // The pod has not become younger or older by it.
    expect(now.ageMs).toBeGreaterThanOrEqual(seen.ageMs);
    await remove(workload);
    await becomesAbsent(other.orchestrator, workload);
  });
});

async function compact(etcdUrl: string): Promise<void> {
  const post = async (path: string, body: object): Promise<{ readonly header: { readonly revision: string } }> => {
    const answer = await fetch(`${etcdUrl}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`etcd answers ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as { readonly header: { readonly revision: string } };
  };
  const { header } = await post('kv/range', { key: Buffer.from('/').toString('base64') });
  await post('kv/compaction', { revision: header.revision, physical: true });
}
