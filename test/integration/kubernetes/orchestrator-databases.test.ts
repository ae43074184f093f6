import { existsSync } from 'node:fs';
import neo4j from 'neo4j-driver';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation, WorkloadSpec } from '../../../core/workloads.ts';
import type { PodSpec } from '../../../core/pod.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { controlPlaneProblem, startTestCluster, type TestCluster } from '../../support/kubernetes/index.ts';
import { neo4jProblem } from '../../support/kubernetes/kubelet/neo4j-image.ts';
import { postgresProblem } from '../../support/kubernetes/kubelet/postgres-image.ts';
import {
  type KubernetesOrchestratorHandle,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../../support/kubernetes-orchestrator.ts';
import { checkUse } from '../../support/postgres-use.ts';
import { until } from '../../support/until.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'database-pods';
// On a busy machine a JVM takes its time.
const START_TIMEOUT_MS = 240_000;
const credentials = { username: 'neo4j', password: 'a-password-of-24-letters' };

const POSTGRES: Partial<PodSpec> = {
  template: 'template/postgres',
  writtenTemplate: 'postgres',
  networking: { default: { protocol: 'postgres', port: 5432, ipAllowList: [] } },
};
const NEO4J: Partial<PodSpec> = {
  template: 'template/neo4j',
  writtenTemplate: 'neo4j',
  networking: {
    default: { protocol: 'tcp', port: 7687, ipAllowList: [] },
    browser: { protocol: 'http', port: 7474, ipAllowList: [] },
  },
};
const volume = (mountPath: string) =>
  ({ type: 'pvc', name: 'mine', mountPath, subPath: '', readOnly: false, keyedBy: 'name' }) as const;

/** The official images' places taken by the same databases on this machine, in a namespace of the restricted level. */
describe.skipIf(problem !== null)(`databases in a cluster${problem === null ? '' : ` (${problem})`}`, () => {
  let cluster: TestCluster;
  let handle: KubernetesOrchestratorHandle;
  beforeAll(async () => {
    cluster = await startTestCluster({ timings: { crashBackOffMs: 50, crashBackOffMaxMs: 500 } });
    const kubeconfig = await preparePodNamespace(cluster, NAMESPACE);
    handle = runKubernetesOrchestrator(kubeconfig, { settings: { namespace: NAMESPACE } });
  });
  afterAll(async () => {
    await handle.close();
    await cluster.stop();
  });

  const ready = async (workload: WorkloadSpec) => {
    await ensured(handle.orchestrator, workload);
    return becomes(handle.orchestrator, workload, 'ready', START_TIMEOUT_MS);
  };
  const remove = async (workload: WorkloadSpec, data: 'keep' | 'delete') => {
    await handle.orchestrator.remove(workload, { data, run: workload.run }, never());
    return until('it is gone', async () => {
      const seen = await handle.orchestrator.observe(workload, never());
      return seen.kind === 'absent' && (data === 'keep' || !seen.data) ? seen : null;
    });
  };
  const addressOf = (seen: Extract<Observation, { kind: 'workload' }>, stanza = 'default') => {
    const address = seen.addresses[stanza];
    if (address === undefined) throw new Error(`${stanza} has no address`);
    return address;
  };

  describe.skipIf(postgresProblem() !== null)(`Postgres${postgresProblem() ?? ''}`, () => {
    const owner = { username: 'mypg', password: 'b-password' };
    const query = async (seen: Extract<Observation, { kind: 'workload' }>, text: string, change = {}) => {
      const { address, port } = addressOf(seen);
      const client = new pg.Client({
        host: address,
        port,
        user: owner.username,
        password: owner.password,
        database: 'mypg',
        ...change,
      });
      await client.connect();
      try {
        const result = await client.query<Record<string, unknown>>(text);
        return result.rows;
      } finally {
        await client.end();
      }
    };

    it('is ready when it serves, keeps its data after a restart and loses it only with its pod', async () => {
      const workload = workloadSpec({ ...POSTGRES, persistentVolume: true }, { credentials: owner });
      const first = await ready(workload);
      // Ready means that a query succeeds at once.
      expect(await query(first, 'SELECT current_user AS name')).toEqual([{ name: 'mypg' }]);
      await query(first, 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)');

      expect(await remove(workload, 'keep')).toEqual({ kind: 'absent', data: true });
      const second = await ready({ ...workload, run: 2 });
      expect(await query(second, 'SELECT n FROM kept')).toEqual([{ n: 42 }]);

      expect(await remove({ ...workload, run: 2 }, 'delete')).toEqual({ kind: 'absent', data: false });
      const third = await ready({ ...workload, run: 3 });
      await expect(query(third, 'SELECT n FROM kept')).rejects.toThrow(/does not exist/);
      await remove({ ...workload, run: 3 }, 'delete');
    });

    // What it tells of the rest is the same statement as on `process` (test/integration/spawner/postgres-pod.test.ts).
    it('reports a session inside it, which no gateway sees', async () => {
      const workload = workloadSpec({ ...POSTGRES, persistentVolume: true }, { credentials: owner });
      await ready(workload);
      const check = () => checkUse(handle.orchestrator, workload);
      expect(await check()).toEqual({ kind: 'idle' });
      const command = ['psql', '-X', '-h', '/var/run/postgresql', '-U', 'mypg', '-c', 'SELECT pg_sleep(60)'];
      const over = new AbortController();
      const options = { command, outputMaxBytes: 1_000, deadlineMs: 60_000 };
      const session = handle.orchestrator.shell.exec(workload, options, over.signal).catch(() => undefined);
      await until('it is seen', async () => {
        const use = await check();
        return use.kind === 'in-use' && use.because.join() === 'a query of user mypg';
      });
      over.abort();
      await session;
      await remove(workload, 'delete');
      expect(await check()).toMatchObject({ kind: 'unknown' });
    });

    it('without a volume starts empty each time', async () => {
      const workload = workloadSpec(POSTGRES, { credentials: owner });
      await query(await ready(workload), 'CREATE TABLE lost (n int)');
      expect(await remove(workload, 'keep')).toEqual({ kind: 'absent', data: false });
      const second = await ready({ ...workload, run: 2 });
      await expect(query(second, 'SELECT n FROM lost')).rejects.toThrow(/does not exist/);
      await remove({ ...workload, run: 2 }, 'delete');
    });

    it('keeps its data on a volume that its user has mounted there', async () => {
      const spec = { ...POSTGRES, volumeMounts: [volume('/var/lib/postgresql')] };
      const workload = workloadSpec(spec, { credentials: owner });
      await query(await ready(workload), 'CREATE TABLE kept (n int)');
      const claims = await cluster.controlPlane.client.get<{
        readonly items: readonly { metadata: { name: string; uid: string } }[];
      }>(`/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims`);
      const claim = claims.items.find(({ metadata }) => metadata.name.includes(workload.uid));
      expect(claim?.metadata.name).toBe(`pods-test-dev-${workload.podId}-${workload.uid}-mine`);
      await remove(workload, 'keep');
      expect(await query(await ready({ ...workload, run: 2 }), 'SELECT n FROM kept')).toEqual([]);
      await remove({ ...workload, run: 2 }, 'delete');
      const directory = cluster.kubelet.claimDirectory(claim?.metadata.uid ?? '');
      await until('the data itself is gone', () => !existsSync(directory));
    });

    it('that crashes recovers with its data, and reports that it was killed', async () => {
      const workload = workloadSpec({ ...POSTGRES, persistentVolume: true }, { credentials: owner });
      await query(await ready(workload), 'CREATE TABLE kept (n int)');
      cluster.kubelet.crash(NAMESPACE, `pods-test-dev-${workload.podId}`);
      const back = await until(
        'it has been restarted',
        async () => {
          const seen = await handle.orchestrator.observe(workload, never());
          return seen.kind === 'workload' && seen.phase === 'ready' && seen.restarts > 0 ? seen : null;
        },
        { timeoutMs: START_TIMEOUT_MS },
      );
      expect(back.signal).toBe('SIGKILL');
      expect(await query(back, 'SELECT n FROM kept')).toEqual([]);
      await remove(workload, 'delete');
    });
  });

  it.skipIf(neo4jProblem() !== null)(
    `Neo4j advertises its public name, keeps its data after a restart and loses it with its pod${neo4jProblem() ?? ''}`,
    async () => {
      const hosts = { default: 'graph.pods.example.org', browser: 'graph-browser.pods.example.org' };
      const workload = workloadSpec({ ...NEO4J, persistentVolume: true }, { credentials, hosts, publicHttpsPort: 443 });
      const run = async (seen: Extract<Observation, { kind: 'workload' }>, text: string) => {
        const { address, port } = addressOf(seen);
        const driver = neo4j.driver(
          `bolt://${address}:${port}`,
          neo4j.auth.basic(credentials.username, credentials.password),
        );
        try {
          const { records } = await driver.executeQuery(text, {}, { database: 'neo4j' });
          return records.map((record) => record.toObject());
        } finally {
          await driver.close();
        }
      };
      const first = await ready(workload);
      await run(first, 'CREATE (:Kept {n: 42})');
      const routers = await run(
        first,
        "CALL dbms.routing.getRoutingTable({}, 'neo4j') YIELD servers UNWIND servers AS s RETURN DISTINCT s.addresses AS a",
      );
      expect(routers).toEqual([{ a: ['graph.pods.example.org:443'] }]);
      const http = addressOf(first, 'browser');
      const discovery = (await (await fetch(`http://${http.address}:${http.port}/`)).json()) as {
        bolt_routing: string;
      };
      expect(discovery.bolt_routing).toContain('graph.pods.example.org:443');

      await remove(workload, 'keep');
      const second = await ready({ ...workload, run: 2 });
      expect(await run(second, 'MATCH (k:Kept) RETURN k.n AS n')).toMatchObject([{ n: expect.anything() as unknown }]);
      expect(await remove({ ...workload, run: 2 }, 'delete')).toEqual({ kind: 'absent', data: false });
      await becomesAbsent(handle.orchestrator, workload);
    },
    600_000,
  );
});
