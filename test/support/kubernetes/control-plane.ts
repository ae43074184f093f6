import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { preparedKubernetesHome } from '../../../scripts/setup/cache.mjs';
import { until } from '../until.ts';
import { type ClusterCertificates, makeClusterCertificates } from './certificates.ts';
import { type GuardedProcess, startGuarded } from './guarded-process.ts';
import { createKubeClient, isKubeError, type KubeClient } from './kube-client.ts';
import { kubeconfigOf } from './kubeconfig.ts';
import { claimLoopbackNetwork, CONTROL_PLANE_NETWORKS, POSSIBLE_NODE_ADDRESSES } from './loopback-network.ts';

const READY_TIMEOUT_MS = 60_000;
/** The name in the certificate of the stand-in for the kubelet; see --kubelet-preferred-address-types. */
export const NODE_NAME = 'node-1';
const FRONT_PROXY = 'front-proxy';

/** Where a control plane runs: on loopback addresses of its own, or in a network of its own (test/support/real-node). */
export interface ControlPlanePlace {
  readonly address: string;
  readonly etcdAddress: string;
  readonly serviceRange: string;
  /** Of the Service `kubernetes`: the first address of that range. */
  readonly kubernetesServiceAddress: string;
  readonly apiServerArguments: readonly string[];
  /** The command that runs this one there. */
  readonly enter: (command: string, args: readonly string[]) => readonly [command: string, args: readonly string[]];
  readonly release: () => Promise<void>;
}

/** A real etcd and kube-apiserver, by default on loopback, with nothing else of a cluster. */
export interface ControlPlane {
  /** https://127.N.255.1:6443 on loopback, the same after each start. */
  readonly server: string;
  /** Of etcd, in plaintext: to compact it, for instance, so that old watches expire (410). */
  readonly etcdUrl: string;
  /** Its logs (etcd.log, kube-apiserver.log), certificates and admin.kubeconfig. */
  readonly folder: string;
  readonly certificates: ClusterCertificates;
  /** May do everything. For set-up and the stand-in; what is tested gets a ServiceAccount. */
  readonly adminKubeconfig: string;
  readonly adminKubeconfigPath: string;
  /** As the administrator. */
  readonly client: KubeClient;
  readonly apiServerPid: () => number;
  /** `labels`: pod-security.kubernetes.io/enforce=restricted, for instance. Present is as good as created. */
  createNamespace(name: string, labels?: Readonly<Record<string, string>>): Promise<void>;
  /** A kubeconfig with a token (TokenRequest, an hour) of a ServiceAccount, which is made when missing. */
  serviceAccountKubeconfig(namespace: string, name: string): Promise<string>;
  /** Creates or replaces objects (of `kubectl get -o json`, or YAML parsed): roles, bindings, namespaces... */
  apply(object: KubeObject): Promise<void>;
  /** SIGKILL. etcd and its data stay. */
  killApiServer(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing is said on them; SIGCONT. */
  signalApiServer(signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** At the same address with the same data; answers when it is ready. */
  startApiServer(): Promise<void>;
  /** Ends both and removes the folder. */
  stop(): Promise<void>;
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

/** Null, or a sentence on why there can be no control plane here. */
export function controlPlaneProblem(): string | null {
  if (process.platform !== 'linux') return 'the Kubernetes tests need Linux: every address of 127.0.0.0/8';
  const missing = ['kube-apiserver', 'etcd'].filter((name) => !existsSync(programPath(name)));
  return missing.length === 0 ? null : `${missing.join(' and ')} missing: node scripts/setup.mjs --test builds them`;
}

export const programPath = (name: string): string => join(preparedKubernetesHome(), 'bin', name);

export async function startControlPlane(where?: ControlPlanePlace): Promise<ControlPlane> {
  const problem = controlPlaneProblem();
  if (problem !== null) throw new Error(problem);
  const place = where ?? (await placeOnLoopback());
  const server = `https://${place.address.includes(':') ? `[${place.address}]` : place.address}:6443`;
  const etcdUrl = `http://${place.etcdAddress}:2379`;
  const folder = await mkdtemp(join(tmpdir(), 'podgate-kubernetes-'));
  const certificates = await makeClusterCertificates({
    serverAddress: place.address,
    kubernetesServiceAddress: place.kubernetesServiceAddress,
    kubeletName: NODE_NAME,
    kubeletAddresses: POSSIBLE_NODE_ADDRESSES,
  });
  const start = (name: string, args: readonly string[]): GuardedProcess =>
    startGuarded(...place.enter(programPath(name), args), join(folder, `${name}.log`));
  const adminKubeconfig = kubeconfigOf(server, certificates.ca, { kind: 'certificate', pair: certificates.admin });
  const client = createKubeClient(adminKubeconfig);
  const adminKubeconfigPath = await writeFiles(folder, certificates, adminKubeconfig);
  const etcd = start('etcd', etcdArguments(folder, place));
  let apiServer: GuardedProcess | null = null;

  async function startApiServer(): Promise<void> {
    if (apiServer !== null && apiServer.ending() === null) throw new Error('the API server runs already');
    const started = start('kube-apiserver', apiServerArguments(folder, place));
    apiServer = started;
    await until(
      'the API server is ready',
      async () => {
        for (const [name, program] of Object.entries({ etcd, 'kube-apiserver': started })) {
          if (program.ending() !== null) throw new Error(`${name} ended:\n${await logEnd(folder, name)}`);
        }
        await client.get('/readyz', { timeoutMs: 2_000 });
        return client.get('/api/v1/namespaces/default', { timeoutMs: 2_000 });
      },
      { timeoutMs: READY_TIMEOUT_MS, everyMs: 50 },
    );
  }

  async function stop(): Promise<void> {
    client.close();
    await Promise.all([apiServer?.end(), etcd.end()]);
    await place.release();
    await rm(folder, { recursive: true, force: true });
  }

  const running = (): GuardedProcess => {
    if (apiServer === null) throw new Error('the API server has not been started');
    return apiServer;
  };
  const createNamespace = (name: string, labels: Readonly<Record<string, string>> = {}) =>
    create(client, '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });

  try {
    await startApiServer();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    server,
    etcdUrl,
    folder,
    certificates,
    adminKubeconfig,
    adminKubeconfigPath,
    client,
    apiServerPid: () => running().pid,
    createNamespace,
    async serviceAccountKubeconfig(namespace, name) {
      const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
      await create(client, accounts, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } });
      const { status } = await client.call<{ status: { token: string } }>('POST', `${accounts}/${name}/token`, {
        body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3_600 } },
      });
      return kubeconfigOf(server, certificates.ca, { kind: 'token', token: status.token }, namespace);
    },
    apply: (object) => apply(client, object),
    killApiServer: () => running().end(),
    signalApiServer: (signal) => running().kill(signal),
    startApiServer,
    stop,
  };
}

async function placeOnLoopback(): Promise<ControlPlanePlace> {
  const network = await claimLoopbackNetwork(CONTROL_PLANE_NETWORKS);
  const prefix = `127.${network.number}`;
  return {
    address: `${prefix}.255.1`,
    etcdAddress: `${prefix}.255.2`,
    serviceRange: `${prefix}.0.0/17`,
    kubernetesServiceAddress: `${prefix}.0.1`,
    // Endpoints of the Service `kubernetes` may not be loopback addresses: there are none.
    apiServerArguments: ['--endpoint-reconciler-type=none'],
    enter: (command, args) => [command, args],
    release: () => network.release(),
  };
}

/** Answers the path of the administrator's kubeconfig. */
async function writeFiles(folder: string, certificates: ClusterCertificates, adminKubeconfig: string): Promise<string> {
  const { server, kubeletClient, kubelet, serviceAccounts } = certificates;
  const frontProxy = await certificates.issue(`CN=${FRONT_PROXY}`, 'client');
  const files: Readonly<Record<string, string>> = {
    'ca.crt': certificates.ca,
    'server.crt': server.certificate,
    'server.key': server.key,
    'kubelet-client.crt': kubeletClient.certificate,
    'kubelet-client.key': kubeletClient.key,
    'kubelet.crt': kubelet.certificate,
    'kubelet.key': kubelet.key,
    'front-proxy.crt': frontProxy.certificate,
    'front-proxy.key': frontProxy.key,
    'service-accounts.key': serviceAccounts.key,
    'service-accounts.pub': serviceAccounts.publicKey,
    'admin.kubeconfig': adminKubeconfig,
  };
  await mkdir(join(folder, 'etcd'), { mode: 0o700 });
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text, { mode: 0o600 });
  return join(folder, 'admin.kubeconfig');
}

function etcdArguments(folder: string, { etcdAddress }: ControlPlanePlace): readonly string[] {
  const [clients, peers] = [`http://${etcdAddress}:2379`, `http://${etcdAddress}:2380`];
  return [
    ...[`--data-dir=${join(folder, 'etcd')}`, '--name=test', '--log-level=error'],
    ...[`--listen-client-urls=${clients}`, `--advertise-client-urls=${clients}`],
    ...[`--listen-peer-urls=${peers}`, `--initial-advertise-peer-urls=${peers}`, `--initial-cluster=test=${peers}`],
    // What a test writes need not outlive this machine.
    '--unsafe-no-fsync',
  ];
}

function apiServerArguments(folder: string, place: ControlPlanePlace): readonly string[] {
  const file = (name: string) => join(folder, name);
  return [
    ...[`--etcd-servers=http://${place.etcdAddress}:2379`, `--bind-address=${place.address}`, '--secure-port=6443'],
    ...[`--advertise-address=${place.address}`, `--service-cluster-ip-range=${place.serviceRange}`],
    ...place.apiServerArguments,
    ...[`--cert-dir=${folder}`, `--client-ca-file=${file('ca.crt')}`],
    ...[`--tls-cert-file=${file('server.crt')}`, `--tls-private-key-file=${file('server.key')}`],
    ...['--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction', '--allow-privileged=true'],
    `--service-account-issuer=https://kubernetes.default.svc`,
    `--service-account-key-file=${file('service-accounts.pub')}`,
    `--service-account-signing-key-file=${file('service-accounts.key')}`,
    `--kubelet-client-certificate=${file('kubelet-client.crt')}`,
    `--kubelet-client-key=${file('kubelet-client.key')}`,
    `--kubelet-certificate-authority=${file('ca.crt')}`,
    '--kubelet-preferred-address-types=InternalIP',
    // Aggregated APIs (test/support/real-node/metrics-server.ts) believe the API server about who asks.
    ...[`--proxy-client-cert-file=${file('front-proxy.crt')}`, `--proxy-client-key-file=${file('front-proxy.key')}`],
    ...[`--requestheader-client-ca-file=${file('ca.crt')}`, `--requestheader-allowed-names=${FRONT_PROXY}`],
    ...['--requestheader-username-headers=X-Remote-User', '--requestheader-group-headers=X-Remote-Group'],
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    ...['--profiling=false', '-v=0'],
  ];
}

async function create(client: KubeClient, path: string, body: unknown): Promise<void> {
  try {
    await client.call('POST', path, { body });
  } catch (error) {
    if (!isKubeError(error, 'AlreadyExists')) throw error;
  }
}

async function apply(client: KubeClient, object: KubeObject): Promise<void> {
  const path = await resourcePath(client, object);
  const query = `fieldManager=test-environment&force=true`;
  await client.call('PATCH', `${path}/${object.metadata.name}?${query}`, {
    body: object,
    contentType: 'application/apply-patch+yaml',
  });
}

async function resourcePath(client: KubeClient, { apiVersion, kind, metadata }: KubeObject): Promise<string> {
  const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const { resources } = await client.get<{ resources: { name: string; kind: string; namespaced: boolean }[] }>(group);
  const resource = resources.find((candidate) => candidate.kind === kind && !candidate.name.includes('/'));
  if (resource === undefined) throw new Error(`the API server knows no ${apiVersion} ${kind}`);
  return resource.namespaced
    ? `${group}/namespaces/${metadata.namespace ?? 'default'}/${resource.name}`
    : `${group}/${resource.name}`;
}

async function logEnd(folder: string, name: string): Promise<string> {
  return (await readFile(join(folder, `${name}.log`), 'utf8')).slice(-3_000);
}
