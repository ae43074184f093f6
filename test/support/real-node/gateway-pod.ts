import type { StanzaAddress } from '../../../core/pod-network.ts';
import { programPath } from '../kubernetes/control-plane.ts';
import { must } from './cluster-network.ts';
import { PROGRAMS_IMAGE } from './images.ts';
import type { RealCluster } from './real-cluster.ts';

const NAMESPACE = 'podgate';
const NAME = 'gateway';
const SCRIPT = `
const [host, port] = process.argv.slice(1);
const socket = require('node:net').connect({ host, port: Number(port), timeout: 10000 });
const fail = (why) => { console.error(why); process.exit(1); };
socket.on('connect', () => process.exit(0)).on('timeout', () => fail('timeout')).on('error', (error) => fail(error.message));
`;

/** Something that network policies take for a gateway: nobody else may connect to pods. */
export interface GatewayPod {
  /** Rejects unless the connection is made. */
  readonly dial: (address: StanzaAddress) => Promise<void>;
}

/** In the namespace `podgate`, which has to be there. */
export async function startGatewayPod({ controlPlane }: RealCluster): Promise<GatewayPod> {
  const kubectl = (...args: readonly string[]) =>
    must(programPath('kubectl'), ['--kubeconfig', controlPlane.adminKubeconfigPath, '-n', NAMESPACE, ...args], 90_000);
  await controlPlane.client.call('POST', `/api/v1/namespaces/${NAMESPACE}/pods`, {
    body: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: NAME,
        labels: { 'app.kubernetes.io/name': 'podgate', 'app.kubernetes.io/component': 'gateway' },
      },
      spec: { containers: [{ name: 'main', image: PROGRAMS_IMAGE, imagePullPolicy: 'IfNotPresent' }] },
    },
  });
  await kubectl('wait', '--for=condition=Ready', `pod/${NAME}`, '--timeout=60s');
  return {
    async dial({ address, port }) {
      await kubectl('exec', NAME, '--', 'node', '-e', SCRIPT, address, String(port));
    },
  };
}
