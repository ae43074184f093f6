import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { type Kubelet, type KubeletOptions, startKubelet } from './kubelet/kubelet.ts';

export interface TestCluster {
  readonly controlPlane: ControlPlane;
  readonly kubelet: Kubelet;
  stop(): Promise<void>;
}

/** A control plane and, in this process, a node for it. */
export async function startTestCluster(
  options: Omit<KubeletOptions, 'kubeconfig' | 'ca' | 'tls'> = {},
): Promise<TestCluster> {
  const controlPlane = await startControlPlane();
  try {
    const { adminKubeconfig, certificates } = controlPlane;
    const kubelet = await startKubelet({
      ...options,
      kubeconfig: adminKubeconfig,
      ca: certificates.ca,
      tls: certificates.kubelet,
    });
    return {
      controlPlane,
      kubelet,
      async stop() {
        await kubelet.stop();
        await controlPlane.stop();
      },
    };
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
}
