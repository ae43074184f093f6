import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe } from 'vitest';
import { filesClaimName } from '../../spawner/orchestrator/kubernetes/files/claims.ts';
import { controlPlaneProblem, startTestCluster } from '../support/kubernetes/index.ts';
import { preparePodNamespace, runKubernetesOrchestrator } from '../support/kubernetes-orchestrator.ts';
import { describeVolumeFiles } from './volume-files.suite.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'contract-files';

/** As the account and with the Role of deploy/; file servers are processes of this machine, reached by exec. */
describe.skipIf(problem !== null)(`with a real API server${problem === null ? '' : ` (${problem})`}`, () => {
  describeVolumeFiles('claims of Kubernetes', async () => {
    const cluster = await startTestCluster();
    const running = runKubernetesOrchestrator(await preparePodNamespace(cluster, NAMESPACE), {
      settings: { namespace: NAMESPACE },
    });
    return {
      files: running.orchestrator.files,
      inVolume: async (ref, command) => {
        const path = `/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims/${filesClaimName('test', ref)}`;
        const claim = await cluster.controlPlane.client.call('GET', path);
        const { uid } = (claim as { metadata: { uid: string } }).metadata;
        const directory = cluster.kubelet.claimDirectory(uid);
        await promisify(execFile)('/bin/sh', ['-c', command], { cwd: join(directory, 'data') });
      },
      close: async () => {
        await running.close();
        await cluster.stop();
      },
    };
  });
});
