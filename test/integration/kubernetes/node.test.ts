import { randomUUID } from 'node:crypto';
import neo4j from 'neo4j-driver';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ControlPlane,
  controlPlaneProblem,
  type KubeletProcess,
  startControlPlane,
  startKubeletProcess,
} from '../../support/kubernetes/index.ts';
import { neo4jProblem } from '../../support/kubernetes/kubelet/neo4j-image.ts';
import { postgresProblem } from '../../support/kubernetes/kubelet/postgres-image.ts';
import { processInfo } from '../../support/process-table.ts';
import { until } from '../../support/until.ts';
import { type PodCalls, podCalls, SERVES, talk } from './pod-calls.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'node';
const STARTS_WITHIN_MS = 45_000;

describe.skipIf(problem !== null)(
  `the node of the tests, as a process${problem === null ? '' : ` (${problem})`}`,
  () => {
    let controlPlane: ControlPlane;
    let kubelet: KubeletProcess;
    let pods: PodCalls;
    beforeAll(async () => {
      controlPlane = await startControlPlane();
      kubelet = await startKubeletProcess(controlPlane, { testPods: 'processes', timings: { crashBackOffMs: 50 } });
      pods = podCalls(controlPlane.client, NAMESPACE);
      await controlPlane.createNamespace(NAMESPACE);
      await until('the namespace takes pods', () =>
        controlPlane.client.get(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts/default`),
      );
    });
    afterAll(async () => {
      await kubelet.stop();
      await controlPlane.stop();
    });

    const nodePod = async (name: string) => (await kubelet.pods()).find((pod) => pod.name === name);

    it('runs pods as processes, which end with them and when they are told to crash', async () => {
      await pods.create('process', SERVES);
      await pods.becomesReady('process');
      const [pid = 0] = (await nodePod('process'))?.pids ?? [];
      expect(processInfo(pid)?.commandLine).toContain('podgate.test/serves');
      await kubelet.crash(NAMESPACE, 'process');
      const crashed = await pods.becomes(
        'process',
        'runs again',
        (_pod, main) => main?.restartCount === 1 && main.ready,
      );
      expect(crashed.status.containerStatuses?.[0]?.lastState.terminated).toMatchObject({
        exitCode: 137,
        reason: 'Error',
      });
      expect(processInfo(pid)).toBeNull();
      await kubelet.evict(NAMESPACE, 'process');
      expect((await pods.get('process')).status).toMatchObject({ phase: 'Failed', reason: 'Evicted' });
      await pods.remove('process');
    });

    it('leaves pods unscheduled on request', async () => {
      await kubelet.refusePods('0/1 nodes are available: 1 node(s) were unschedulable.');
      await pods.create('refused', SERVES);
      await pods.becomes('refused', 'is unschedulable', ({ status }) => status.conditions?.[0]?.status === 'False');
      await kubelet.refusePods(null);
      await pods.becomesReady('refused');
      await pods.remove('refused');
    });

    it('makes a Service reachable at its address while a pod of it is ready, and refuses otherwise', async () => {
      const { spec } = await controlPlane.client.call<{ spec: { clusterIP: string } }>(
        'POST',
        `/api/v1/namespaces/${NAMESPACE}/services`,
        {
          body: {
            apiVersion: 'v1',
            kind: 'Service',
            metadata: { name: 'service' },
            spec: { selector: { app: 'behind' }, ports: [{ port: 5000, targetPort: 'main' }] },
          },
        },
      );
      await expect(talk(spec.clusterIP, 5000, 'x')).rejects.toThrow(/ECONNREFUSED/);
      await pods.create('behind', { ...SERVES, ports: [{ name: 'main', containerPort: 8080 }] });
      await pods.becomesReady('behind');
      await until('the Service answers', async () => (await talk(spec.clusterIP, 5000, 'hello')).endsWith('\nhello'));
      await pods.remove('behind');
      await until('the Service refuses', () =>
        talk(spec.clusterIP, 5000, 'x').then(
          () => false,
          () => true,
        ),
      );
    });

    const noPostgres = postgresProblem();
    it.skipIf(noPostgres !== null)(`runs a real Postgres with its data on a claim ${noPostgres ?? ''}`, async () => {
      // Of their own, so that a second try finds nothing of the first.
      const pod = `postgres-${randomUUID().slice(0, 8)}`;
      const claimName = `data-of-${pod}`;
      await controlPlane.client.call('POST', `/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims`, {
        body: {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: { name: claimName },
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
        },
      });
      const container = {
        image: 'docker.io/library/postgres:18',
        env: [
          { name: 'POSTGRES_USER', value: 'alice' },
          { name: 'POSTGRES_PASSWORD', value: 'secret of alice' },
        ],
        volumeMounts: [{ name: 'data', mountPath: '/var/lib/postgresql' }],
        readinessProbe: {
          exec: { command: ['pg_isready', '-h', '127.0.0.1', '-U', 'alice'] },
          periodSeconds: 1,
          timeoutSeconds: 5,
        },
      };
      const volumes = [{ name: 'data', persistentVolumeClaim: { claimName } }];
      const securityContext = { runAsUser: 999, runAsGroup: 999, runAsNonRoot: true, fsGroup: 999 };
      const connected = async (host: string): Promise<pg.Client> => {
        const client = new pg.Client({ host, user: 'alice', password: 'secret of alice', database: 'alice' });
        await client.connect();
        return client;
      };
      for (const rows of [1, 2]) {
        await pods.create(pod, container, { volumes, securityContext });
        const { status } = await pods.becomesReady(pod, STARTS_WITHIN_MS);
        const client = await connected(String(status.podIP));
        await client.query('CREATE TABLE IF NOT EXISTS starts (n serial)');
        await client.query('INSERT INTO starts DEFAULT VALUES');
        expect((await client.query('SELECT * FROM starts')).rowCount).toBe(rows);
        await client.end();
        await pods.remove(pod);
      }
    });

    const noNeo4j = neo4jProblem();
    it.skipIf(noNeo4j !== null)(`runs a real Neo4j ${noNeo4j ?? ''}`, { timeout: 180_000 }, async () => {
      await pods.create('neo4j', {
        image: 'docker.io/library/neo4j:5.26-community',
        env: [
          { name: 'NEO4J_AUTH', value: 'neo4j/secret-of-neo4j' },
          { name: 'NEO4J_server_bolt_advertised__address', value: 'graph.example.org:443' },
        ],
        ports: [{ containerPort: 7687 }, { containerPort: 7474 }],
        readinessProbe: { httpGet: { port: 7474, path: '/' }, periodSeconds: 1 },
      });
      const { status } = await pods.becomesReady('neo4j', 120_000);
      const driver = neo4j.driver(`bolt://${String(status.podIP)}:7687`, neo4j.auth.basic('neo4j', 'secret-of-neo4j'));
      const { records } = await driver.executeQuery('RETURN 1 AS one');
      expect(records[0]?.get('one')).toEqual(neo4j.int(1));
      await driver.close();
      const discovery = (await (await fetch(`http://${String(status.podIP)}:7474/`)).json()) as { bolt_direct: string };
      expect(discovery.bolt_direct).toBe('bolt://graph.example.org:443');
      await pods.remove('neo4j');
    });

    it('leaves no process when it is killed, and restarts its pods when it is back', async () => {
      await pods.create('orphan', SERVES);
      await pods.becomesReady('orphan');
      const [pid = 0] = (await nodePod('orphan'))?.pids ?? [];
      kubelet.signal('SIGKILL');
      await until(
        'the process of the pod has ended',
        () => processInfo(pid) === null || processInfo(pid)?.state === 'Z',
      );
    });
  },
);
