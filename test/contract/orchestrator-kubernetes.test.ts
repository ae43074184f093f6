import { describe } from 'vitest';
import { controlPlaneProblem, startTestCluster } from '../support/kubernetes/index.ts';
import {
  imageSpec,
  openKubernetesOrchestrator,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../support/kubernetes-orchestrator.ts';
import type { Behaviour } from './orchestrator-harness.ts';
import { describeOrchestrator } from './orchestrator.suite.ts';

const problem = controlPlaneProblem();
const NAMESPACE = 'contract-pods';
/** Nobody listens there. */
const NOWHERE = 'https://127.0.0.1:1';

/** Against a real API server, as the account and with the Role of deploy/, in a namespace of the restricted level. */
describe.skipIf(problem !== null)(`with a real API server${problem === null ? '' : ` (${problem})`}`, () => {
  describeOrchestrator('Kubernetes', async () => {
    const cluster = await startTestCluster({
      timings: { crashBackOffMs: 20, crashBackOffMaxMs: 100, probePeriodMs: 50 },
    });
    const kubeconfig = await preparePodNamespace(cluster, NAMESPACE);
    const settings = { namespace: NAMESPACE };
    const running = runKubernetesOrchestrator(kubeconfig, { settings });
    const idle = openKubernetesOrchestrator(kubeconfig, { settings, server: NOWHERE, limits: { firstListMs: 50 } });
    return {
      orchestrator: running.orchestrator,
      idle: idle.orchestrator,
      specOf,
      impossible: { template: 'podgate/process', writtenTemplate: 'podgate/process', command: ['true'] },
      close: async () => {
        await running.close();
        await cluster.stop();
      },
    };
  });
});

function specOf(behaviour: Behaviour) {
  switch (behaviour.kind) {
    case 'serves': {
      const { endsAfterMs } = behaviour;
      const environmentVariables: Record<string, string> =
        endsAfterMs === undefined ? {} : { STOP_AFTER_MS: String(endsAfterMs) };
      return imageSpec('podgate.test/serves', { environmentVariables });
    }
    case 'exits':
      return imageSpec('podgate.test/exits', {
        environmentVariables: { EXIT_CODE: String(behaviour.code), EXIT_LINE: behaviour.line },
      });
    case 'counts-starts':
      return imageSpec('podgate.test/counts-starts', {
        volumeMounts: [
          { type: 'pvc', name: 'counter', mountPath: '/counter', subPath: '', readOnly: false, keyedBy: 'name' },
        ],
      });
  }
}
