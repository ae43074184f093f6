import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { realNodeHome } from '../../../scripts/setup/real-node.mjs';
import type { ControlPlane, KubeObject } from '../kubernetes/control-plane.ts';
import { type GuardedProcess, startGuarded } from '../kubernetes/guarded-process.ts';
import { kubeconfigOf } from '../kubernetes/kubeconfig.ts';
import type { ClusterNetwork } from './cluster-network.ts';

const NAME = 'metrics-server';
const SERVICE = 'metrics-server.kube-system.svc';
const PORT = 4443;

/**
 * What a HorizontalPodAutoscaler and `kubectl top` ask: reads every kubelet each 15 s. It runs beside the control plane, as
 * managed clusters have it, and the API server passes its API on (aggregation).
 */
export async function startMetricsServer(
  controlPlane: ControlPlane,
  network: ClusterNetwork,
  folder: string,
): Promise<GuardedProcess> {
  const { certificates, server } = controlPlane;
  const pair = await certificates.issue('O=system:masters, CN=metrics-server', 'client');
  const serving = await certificates.issue(`CN=${SERVICE}`, 'server', { dns: [SERVICE], addresses: [] });
  const file = (name: string): string => join(folder, `${NAME}.${name}`);
  const files = {
    kubeconfig: kubeconfigOf(server, certificates.ca, { kind: 'certificate', pair }),
    crt: serving.certificate,
    key: serving.key,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(file(name), text, { mode: 0o600 });
  for (const object of objects(network.controlPlaneAddress, certificates.ca)) await controlPlane.apply(object);
  const args = [
    ...['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map(
      (flag) => `--${flag}=${file('kubeconfig')}`,
    ),
    ...[`--bind-address=${network.controlPlaneAddress}`, `--secure-port=${PORT}`, '--metric-resolution=15s'],
    ...[`--tls-cert-file=${file('crt')}`, `--tls-private-key-file=${file('key')}`],
    ...[
      `--kubelet-certificate-authority=${join(controlPlane.folder, 'ca.crt')}`,
      '--kubelet-preferred-address-types=InternalIP',
    ],
  ];
  return startGuarded(...network.enter(join(realNodeHome(), 'bin', NAME), args), join(folder, 'logs', `${NAME}.log`));
}

/** A Service without a selector: its endpoint is the control plane's address. */
const objects = (address: string, ca: string): readonly KubeObject[] =>
  parseAllDocuments(`
apiVersion: v1
kind: Service
metadata: {name: ${NAME}, namespace: kube-system}
spec: {ports: [{name: https, port: 443, targetPort: ${PORT}}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${NAME}, namespace: kube-system, labels: {kubernetes.io/service-name: ${NAME}}}
addressType: ${address.includes(':') ? 'IPv6' : 'IPv4'}
ports: [{name: https, port: ${PORT}}]
endpoints: [{addresses: ['${address}'], conditions: {ready: true}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {name: ${NAME}, namespace: kube-system}
  caBundle: ${Buffer.from(ca).toString('base64')}
`).map((document) => document.toJS() as KubeObject);
