import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareRealNode, realNodeHome } from '../../../scripts/setup/real-node.mjs';
import { type ControlPlane, startControlPlane } from '../kubernetes/control-plane.ts';
import { type GuardedProcess, startGuarded } from '../kubernetes/guarded-process.ts';
import { kubeconfigOf } from '../kubernetes/kubeconfig.ts';
import { until } from '../until.ts';
import { addOns } from './add-ons.ts';
import { type ClusterNetwork, type IpFamilies, makeClusterNetwork } from './cluster-network.ts';
import { IMAGE_NAMES, type ImageName, prepareImages } from './images.ts';
import { startMetricsServer } from './metrics-server.ts';
import { cgroupOf, removeCgroups, startWorkerNode, type WorkerNode } from './worker-node.ts';

/** Without these no cluster works: DNS, volumes, and what every pod has. */
const SYSTEM_IMAGES: readonly ImageName[] = ['pause', 'coredns', 'local-path-provisioner', 'busybox'];
const ADD_ONS_MS = 120_000;
const FOLDER_PREFIX = 'podgate-real-node-';
const OWNER_FILE = 'owner.json';

interface Owner {
  readonly pid: number;
  readonly network: number;
  readonly controlPlaneFolder: string | null;
}

export interface RealClusterOptions {
  /** Beside those that the cluster itself needs; all unless given. */
  readonly images?: readonly ImageName[];
  /** One unless given. */
  readonly nodes?: number;
  /** Over each node's KubeletConfiguration. */
  readonly kubelet?: Readonly<Record<string, unknown>>;
  /** IPv4 alone unless given. */
  readonly families?: IpFamilies;
  /** With metrics-server: what a HorizontalPodAutoscaler asks. */
  readonly metrics?: boolean;
  /** One line for each step. */
  readonly say?: (line: string) => void;
}

/**
 * A real cluster for tests: etcd, API server, controller-manager and scheduler, and nodes with containerd, kubelet,
 * kube-proxy and a network that enforces policies; CoreDNS and a provisioner of volumes run on it. Everything is in
 * namespaces of its own and goes with this process, even when that is killed. Takes Linux and root.
 */
export interface RealCluster {
  readonly controlPlane: ControlPlane;
  readonly network: ClusterNetwork;
  /** Everything that is kept of it, logs too. */
  readonly folder: string;
  readonly nodes: readonly WorkerNode[];
  addNode(): Promise<WorkerNode>;
  /** Makes the image as of these sources and gives it to every node. */
  provideImage(name: ImageName): Promise<void>;
  /** Has every node know this image under another name too. */
  aliasImage(name: ImageName, reference: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startRealCluster(options: RealClusterOptions = {}): Promise<RealCluster> {
  const say = options.say ?? (() => undefined);
  const problem = await prepareRealNode();
  if (problem !== null) throw new Error(problem);
  const names = [...new Set([...SYSTEM_IMAGES, ...(options.images ?? IMAGE_NAMES)])];
  const images = new Map(await prepareImages(names, say));
  await removeLeftovers();
  const folder = await mkdtemp(join(tmpdir(), FOLDER_PREFIX));
  const network = await makeClusterNetwork(options.families);
  const claim = (controlPlaneFolder: string | null): Promise<void> => {
    const owner: Owner = { pid: process.pid, network: network.number, controlPlaneFolder };
    return writeFile(join(folder, OWNER_FILE), JSON.stringify(owner));
  };
  await claim(null);
  say(`starting the control plane at ${network.controlPlaneAddress}`);
  const closers: (() => Promise<void>)[] = [
    () => rm(folder, { recursive: true, force: true }),
    () => network.release(),
  ];
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const controlPlane = await startControlPlane({
      address: network.controlPlaneAddress,
      etcdAddress: '127.0.0.1',
      serviceRange: network.serviceRanges.join(),
      kubernetesServiceAddress: network.kubernetesServiceAddress,
      apiServerArguments: ['--enable-aggregator-routing=true'],
      enter: network.enter,
      release: () => Promise.resolve(),
    });
    closers.push(() => controlPlane.stop());
    await claim(controlPlane.folder);
    await mkdir(join(folder, 'logs'));
    const controllers = await startControllers(controlPlane, network, folder);
    closers.push(async () => {
      await Promise.all(controllers.map((program) => program.end()));
    });

    const nodes: WorkerNode[] = [];
    const addNode = async (): Promise<WorkerNode> => {
      const index = nodes.length;
      say(`starting node ${index + 1}`);
      const place = join(folder, `node-${index + 1}`);
      await mkdir(place);
      const node = await startWorkerNode({
        controlPlane,
        network,
        index,
        folder: place,
        kubelet: options.kubelet ?? {},
      });
      closers.push(() => node.stop());
      nodes.push(node);
      for (const [name, tar] of images) {
        say(`giving ${node.name} the image ${name}`);
        await node.importImage(tar);
      }
      return node;
    };
    for (let count = 0; count < (options.nodes ?? 1); count += 1) await addNode();
    await network.leadLoadBalancerTo(0);

    say('starting DNS and the provisioner of volumes');
    for (const object of addOns(network)) await controlPlane.apply(object);
    await isAvailable(controlPlane, 'kube-system', 'coredns');
    await isAvailable(controlPlane, 'local-path-storage', 'local-path-provisioner');
    if (options.metrics === true) {
      const metricsServer = await startMetricsServer(controlPlane, network, folder);
      closers.push(() => metricsServer.end());
    }
    return {
      controlPlane,
      network,
      folder,
      nodes,
      addNode,
      async provideImage(name) {
        const [tar] = (await prepareImages([name], say)).values();
        if (tar === undefined || images.get(name) === tar) return;
        images.set(name, tar);
        for (const node of nodes) await node.importImage(tar);
      },
      async aliasImage(name, reference) {
        for (const node of nodes) await node.aliasImage(name, reference);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Of clusters whose process was killed: nothing runs any more, but the disk of their nodes and empty control groups stay. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const folder = join(tmpdir(), name);
    if (!name.startsWith(FOLDER_PREFIX) || !existsSync(join(folder, OWNER_FILE))) continue;
    const { pid, network, controlPlaneFolder } = JSON.parse(await readFile(join(folder, OWNER_FILE), 'utf8')) as Owner;
    if (existsSync(`/proc/${pid}`)) continue;
    for (const entry of await readdir(folder)) {
      const [, index] = /^node-(\d+)$/.exec(entry) ?? [];
      if (index !== undefined) await removeCgroups(cgroupOf(network, Number(index) - 1));
    }
    for (const path of [controlPlaneFolder, folder]) if (path) await rm(path, { recursive: true, force: true });
  }
}

async function startControllers(
  controlPlane: ControlPlane,
  network: ClusterNetwork,
  folder: string,
): Promise<readonly GuardedProcess[]> {
  const { certificates, server, folder: secrets } = controlPlane;
  const start = async (name: string, user: string, args: readonly string[]): Promise<GuardedProcess> => {
    const pair = await certificates.issue(`CN=system:${user}`, 'client');
    const kubeconfig = join(folder, `${name}.kubeconfig`);
    await writeFile(kubeconfig, kubeconfigOf(server, certificates.ca, { kind: 'certificate', pair }), { mode: 0o600 });
    const all = [`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--bind-address=127.0.0.1', ...args];
    return startGuarded(...network.enter(join(realNodeHome(), 'bin', name), all), join(folder, 'logs', `${name}.log`));
  };
  return Promise.all([
    start('kube-scheduler', 'kube-scheduler', []),
    start('kube-controller-manager', 'kube-controller-manager', [
      ...['--use-service-account-credentials', `--root-ca-file=${join(secrets, 'ca.crt')}`],
      `--service-account-private-key-file=${join(secrets, 'service-accounts.key')}`,
      ...[`--cluster-cidr=${network.podRanges.join()}`, '--allocate-node-cidrs=false'],
    ]),
  ]);
}

async function isAvailable({ client }: ControlPlane, namespace: string, name: string): Promise<void> {
  await until(
    `${namespace}/${name} is available`,
    async () => {
      const { status } = await client.get<{ status: { availableReplicas?: number } }>(
        `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`,
      );
      return (status.availableReplicas ?? 0) > 0;
    },
    { timeoutMs: ADD_ONS_MS, everyMs: 200 },
  );
}
