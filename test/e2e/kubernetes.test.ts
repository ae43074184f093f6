import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { controlPlaneProblem, startTestCluster, type TestCluster } from '../support/kubernetes/index.ts';
import { postgresProblem } from '../support/kubernetes/kubelet/postgres-image.ts';
import { preparePodNamespace } from '../support/kubernetes-orchestrator.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

const problem = controlPlaneProblem() ?? postgresProblem();
const NAMESPACE = 'e2e-pods';
const HOST = 'mypg.pods.localhost';

/** The whole program with its pods in a cluster, as the account of deploy/. */
describe.skipIf(problem !== null)(`Podgate with a cluster${problem === null ? '' : ` (${problem})`}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'podgate-e2e-kubernetes-'));
  let cluster: TestCluster;
  let program: Program;
  beforeAll(async () => {
    cluster = await startTestCluster();
    const kubeconfig = join(directory, 'kubeconfig');
    writeFileSync(kubeconfig, await preparePodNamespace(cluster, NAMESPACE), { mode: 0o600 });
    const config = join(directory, 'podgate.yaml');
    writeFileSync(config, 'images: [podgate.test/serves]\n');
    program = await Program.start({
      env: {
        PODGATE_ORCHESTRATOR: 'kubernetes',
        PODGATE_NAMESPACE: NAMESPACE,
        PODGATE_CONFIG: config,
        KUBECONFIG: kubeconfig,
      },
    });
  });
  afterAll(async () => {
    await program.dispose();
    await cluster.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const psql = async (sql: string) => {
    const { body } = await program.get('/v3/pods/mypg/credentials');
    const { user_username: user, user_password: password } = body.result as Record<string, string>;
    const conninfo = `host=${HOST} hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=verify-full sslrootcert=${program.caPath} user=${user} dbname=${user}`;
    return run('psql', [conninfo, '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql], {
      env: { PGPASSWORD: password ?? '' },
    });
  };

  const succeeds = async (method: string, path: string, body?: object): Promise<void> => {
    const answer = await program.api(method, path, body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  };
  const fetchApi = (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${program.controlPort}${path}`, { ...init, headers: { 'X-Tapis-Token': program.token } });
  const upload = async (volume: string, path: string, content: string): Promise<void> => {
    const form = new FormData();
    form.set('file', new Blob([content]), path);
    const answer = await fetchApi(`/v3/pods/volumes/${volume}/upload/${path}`, { method: 'POST', body: form });
    expect(answer.status, await answer.text()).toBe(200);
  };
  const statusOf = async (path: string): Promise<unknown> =>
    ((await program.get(`/v3/pods/${path}`)).body.result as { readonly status: string } | null)?.status;

  test('a Postgres pod is created by one call and reached by its name; its data survives a restart of the pod and of Podgate', async () => {
    await program.createPod({ pod_id: 'mypg', pod_template: 'postgres', persistent_volume: true });
    expect(await psql('create table kept as select 42 as n')).toMatchObject({ code: 0, stderr: '' });
    const restarted = await program.api('POST', '/v3/pods/mypg/restart?wait=routable');
    expect(restarted.status, JSON.stringify(restarted.body)).toBe(200);
    expect(await psql('select n from kept')).toMatchObject({ code: 0, stdout: '42\n' });
    const before = cluster.kubelet.pods().map(({ uid }) => uid);
    await program.stop();
    expect(cluster.kubelet.pods().map(({ uid }) => uid)).toEqual(before);
    await program.start();
    await expect.poll(() => psql('select n from kept'), { timeout: 20_000 }).toMatchObject({ code: 0, stdout: '42\n' });
  });

  test('an image that is not on the allow list, and a template for processes, are refused with a message', async () => {
    const refused = async (body: object) => {
      const answer = await program.api('POST', '/v3/pods', body);
      expect(answer.status).toBe(400);
      return JSON.stringify(answer.body.message);
    };
    expect(await refused({ pod_id: 'other', image: 'nginx' })).toContain(
      'neither a template nor an image on the allow list',
    );
    expect(await refused({ pod_id: 'other', pod_template: 'podgate/process', command: ['x'] })).toContain(
      'this installation runs containers',
    );
  });

  test('a clone is refused with the reason and another way, and leaves nothing', async () => {
    const refused = await program.api('POST', '/v3/pods/mypg/clone', { pod_id: 'mypgcopy' });
    expect([refused.status, refused.body.message]).toEqual([
      501,
      'This installation cannot clone pods, because they run in a cluster: create a pod and load a dump of the data into it.',
    ]);
    expect((await program.get('/v3/pods/mypgcopy')).status).toBe(404);
  });

  test('a snapshot is restored, to a claim of its own', async () => {
    await succeeds('POST', '/v3/pods/volumes', { volume_id: 'mydata', size_limit: 16 });
    await upload('mydata', 'kept.txt', 'before');
    const snapshot = { snapshot_id: 'mysnap', source_volume_id: 'mydata', source_volume_path: '/', size_limit: 16 };
    await succeeds('POST', '/v3/pods/snapshots', snapshot);
    await expect.poll(() => statusOf('snapshots/mysnap'), { timeout: 30_000 }).toBe('AVAILABLE');
    await upload('mydata', 'kept.txt', 'after');
    await upload('mydata', 'later.txt', 'after');
    await succeeds('POST', '/v3/pods/volumes/mydata/restore', { snapshot_id: 'mysnap' });
    await expect.poll(() => statusOf('volumes/mydata'), { timeout: 30_000 }).toBe('AVAILABLE');
    const { body } = await program.get('/v3/pods/volumes/mydata/list');
    expect((body.result as readonly { readonly name: string }[]).map(({ name }) => name)).toEqual(['kept.txt']);
    expect(await (await fetchApi('/v3/pods/volumes/mydata/contents/kept.txt')).text()).toBe('before');
    for (const path of ['snapshots/mysnap', 'volumes/mydata']) await succeeds('DELETE', `/v3/pods/${path}`);
  });

  test('a deleted pod leaves nothing in the cluster', async () => {
    expect((await program.api('DELETE', '/v3/pods/mypg')).status).toBe(200);
    const { client } = cluster.controlPlane;
    for (const path of ['pods', 'services', 'secrets', 'persistentvolumeclaims']) {
      await expect
        .poll(
          async () =>
            (await client.get<{ readonly items: readonly object[] }>(`/api/v1/namespaces/${NAMESPACE}/${path}`)).items,
          { timeout: 20_000 },
        )
        .toEqual([]);
    }
  });
});
