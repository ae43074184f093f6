import {
  imageSpec,
  openKubernetesOrchestrator,
  preparePodNamespace,
  runKubernetesOrchestrator,
} from '../support/kubernetes-orchestrator.ts';
import { PROGRAMS_IMAGE } from '../support/real-node/images.ts';
import { startGatewayPod } from '../support/real-node/gateway-pod.ts';
import { startRealCluster } from '../support/real-node/real-cluster.ts';
import type { Behaviour, OpenOrchestratorHarness } from '../contract/orchestrator-harness.ts';
import { describeOrchestrator } from '../contract/orchestrator.suite.ts';

const NAMESPACE = 'contract-pods';
/** Nobody listens there. */
const NOWHERE = 'https://127.0.0.1:1';

/** As the account and with the Role of deploy/, in a namespace of the restricted level, with policies that are enforced. */
const open: OpenOrchestratorHarness = async () => {
  const cluster = await startRealCluster({ images: ['programs'] });
  const kubeconfig = await preparePodNamespace(cluster, NAMESPACE);
  const gateway = await startGatewayPod(cluster);
  const settings = { namespace: NAMESPACE };
  const running = runKubernetesOrchestrator(kubeconfig, { settings });
  const idle = openKubernetesOrchestrator(kubeconfig, { settings, server: NOWHERE, limits: { firstListMs: 50 } });
  return {
    orchestrator: running.orchestrator,
    idle: idle.orchestrator,
    specOf,
    impossible: { template: 'podgate/process', writtenTemplate: 'podgate/process', command: ['true'] },
    dial: gateway.dial,
    close: async () => {
      await running.close();
      await cluster.stop();
    },
  };
};

describeOrchestrator('Kubernetes on a real node', open, { concurrent: true });

function specOf(behaviour: Behaviour) {
  const program = (name: string, environmentVariables: Readonly<Record<string, string>> = {}) =>
    imageSpec(PROGRAMS_IMAGE, {
      command: ['node', '/programs/main.mjs', `podgate.test/${name}`],
      environmentVariables: { ...environmentVariables },
    });
  switch (behaviour.kind) {
    case 'serves': {
      const { endsAfterMs } = behaviour;
      return program('serves', endsAfterMs === undefined ? {} : { STOP_AFTER_MS: String(endsAfterMs) });
    }
    case 'exits':
      return program('exits', { EXIT_CODE: String(behaviour.code), EXIT_LINE: behaviour.line });
    case 'counts-starts':
      return {
        ...program('counts-starts'),
        volumeMounts: [
          {
            type: 'pvc',
            name: 'counter',
            mountPath: '/counter',
            subPath: '',
            readOnly: false,
            keyedBy: 'name',
          } as const,
        ],
      };
  }
}
