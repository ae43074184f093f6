import { existsSync, readdirSync } from 'node:fs';
import { appendFile, chmod, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { realNodeHome } from '../../../scripts/setup/real-node.mjs';
import type { ControlPlane } from '../kubernetes/index.ts';
import { type GuardedProcess, startGuarded } from '../kubernetes/guarded-process.ts';
import { isKubeError } from '../kubernetes/kube-client.ts';
import { kubeconfigOf } from '../kubernetes/kubeconfig.ts';
import { until } from '../until.ts';
import { type ImageName, referenceOf } from './images.ts';
import { childOf, type ClusterNetwork, type IpFamilies, must } from './cluster-network.ts';

const SOCKET = '/run/containerd/containerd.sock';
const PAUSE_IMAGE = 'registry.k8s.io/pause:3.10';
const START_MS = 60_000;
const READY_MS = 120_000;
const CGROUPS = '/sys/fs/cgroup';
/** Eight times that of a process, in versions 1 and 2. */
const CPU_WEIGHTS = [
  ['cpu.shares', '8192'],
  ['cpu.weight', '800'],
] as const;

export type NodeProgram = 'containerd' | 'kubelet' | 'kube-proxy' | 'kube-router';
/** In the order of a start. */
const PROGRAMS: readonly NodeProgram[] = ['containerd', 'kubelet', 'kube-proxy', 'kube-router'];

export interface NodeOptions {
  readonly controlPlane: ControlPlane;
  readonly network: ClusterNetwork;
  readonly index: number;
  /** Its disk and its logs: everything of it that outlives a reboot. */
  readonly folder: string;
  /** Over the KubeletConfiguration that it has by itself: evictionHard, for instance. */
  readonly kubelet?: Readonly<Record<string, unknown>>;
}

/**
 * A real node: containerd, kubelet, kube-proxy (iptables) and kube-router (which enforces NetworkPolicies), in PID, mount,
 * network, IPC and UTS namespaces of their own. Whatever ends process 1 of the node, our own end included, ends every
 * container and every program of it, and their mounts and interfaces go with it.
 */
export interface WorkerNode {
  readonly index: number;
  readonly name: string;
  readonly address: string;
  readonly folder: string;
  /** Of process 1 of the node, on this machine. */
  readonly pid: () => number;
  /** The command that runs this one in the node's namespaces. */
  readonly enter: (command: string, args: readonly string[]) => readonly [string, readonly string[]];
  /** `ctr` of containerd, in the namespace of the kubelet. */
  ctr(...args: readonly string[]): Promise<string>;
  importImage(tar: string): Promise<void>;
  /** One more name of an image that it has. */
  aliasImage(name: ImageName, reference: string): Promise<void>;
  /** SIGKILL; nothing starts it again but `start`. */
  kill(program: NodeProgram): Promise<void>;
  start(program: NodeProgram): Promise<void>;
  /** Everything on it ends at once, as when the power goes. Its disk stays. */
  powerOff(): Promise<void>;
  /** After powerOff; answers when the kubelet has said that the node is ready. */
  powerOn(): Promise<void>;
  /** Powers off and forgets: the Node object stays. */
  stop(): Promise<void>;
}

export const cgroupOf = (network: number, index: number): string => `podgate-node-${network}-${index}`;

export async function startWorkerNode(options: NodeOptions): Promise<WorkerNode> {
  const { controlPlane, network, index, folder } = options;
  const name = `node-${index + 1}`;
  const cgroup = cgroupOf(network.number, index);
  const [address = ''] = network.nodeAddresses(index);
  await writeConfiguration(options, name, cgroup);
  const programs = new Map<NodeProgram, GuardedProcess>();
  let machine: GuardedProcess | null = null;
  let pid = 0;

  const enter = (command: string, args: readonly string[]) => {
    if (machine === null) throw new Error(`${name} is off`);
    const namespaces = ['--target', String(pid), '--mount', '--pid', '--net', '--ipc', '--uts'];
    return ['nsenter', [...namespaces, '--wd=/', command, ...args]] as const;
  };

  async function start(program: NodeProgram): Promise<void> {
    const [command, args] = commandOf(program, options, name);
    // nsenter forks, to be in the PID namespace: so each of the two follows its parent.
    const started = startGuarded(...enter('setpriv', ['--pdeathsig', 'KILL', command, ...args]), logOf(program));
    programs.set(program, started);
    if (program === 'containerd') await until('containerd answers', () => ctr('version'), { timeoutMs: START_MS });
  }

  const logOf = (program: string): string => join(folder, 'logs', `${program}.log`);
  const ctr = async (...args: readonly string[]): Promise<string> =>
    must(...enter('ctr', ['--address', SOCKET, '--namespace', 'k8s.io', ...args]), 300_000);

  async function powerOn(): Promise<void> {
    await makeCgroups(cgroup);
    const flags = ['--pid', '--fork', '--kill-child=KILL', '--mount', '--net', '--ipc', '--uts', '--mount-proc'];
    const init = ['bash', join(folder, 'init.sh'), join(realNodeHome(), 'bin', 'pause')];
    machine = startGuarded('unshare', [...flags, '--propagation', 'private', ...init], logOf('init'));
    const { pid: outer } = machine;
    pid = await until(`${name} is on`, async () => {
      if (machine?.ending() !== null) throw new Error(await readFile(logOf('init'), 'utf8'));
      const child = await childOf(outer);
      // init.sh has become `pause` when everything is mounted.
      return (await readFile(`/proc/${child}/comm`, 'utf8')).trim() === 'pause' ? child : null;
    });
    await network.attachNode(index, pid);
    for (const program of PROGRAMS) {
      // It ends at once where the Node object has no address yet, which the kubelet writes.
      if (program === 'kube-router') await untilReady();
      await start(program);
    }
  }

  async function untilReady(): Promise<void> {
    const startedMs = Date.now();
    try {
      await until(`${name} is ready`, () => isReadySince(controlPlane, name, startedMs), {
        timeoutMs: READY_MS,
        everyMs: 200,
      });
    } catch (error) {
      const said = (await readFile(logOf('kubelet'), 'utf8')).slice(-3_000);
      throw new Error(`${name} does not become ready; its kubelet:\n${said}`, { cause: error });
    }
  }

  async function powerOff(): Promise<void> {
    if (machine === null) return;
    // Process 1 first: with it the kernel kills what is in the namespace, and `unshare` waits for that.
    if (machine.ending() === null) process.kill(pid, 'SIGKILL');
    await Promise.all([...programs.values()].map((program) => program.end()));
    await machine.end();
    machine = null;
    programs.clear();
    await removeCgroups(cgroup);
  }

  try {
    await registerNode(controlPlane, name, network.podRangesOfNode(index));
    await powerOn();
  } catch (error) {
    await powerOff();
    throw error;
  }
  return {
    index,
    name,
    address,
    folder,
    pid: () => pid,
    enter,
    ctr,
    async importImage(tar) {
      await ctr('images', 'import', tar);
    },
    async aliasImage(image, reference) {
      await ctr('images', 'tag', '--force', referenceOf(image), reference);
    },
    async kill(program) {
      await programs.get(program)?.end();
    },
    start,
    powerOff,
    powerOn,
    stop: powerOff,
  };
}

/** The range of its pods is ours to give: nothing allocates them. */
async function registerNode({ client }: ControlPlane, name: string, podRanges: readonly string[]): Promise<void> {
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { podCIDR: podRanges[0], podCIDRs: podRanges },
  };
  try {
    await client.call('POST', '/api/v1/nodes', { body: node });
  } catch (error) {
    if (!isKubeError(error, 'AlreadyExists')) throw error;
  }
}

interface NodeObject {
  readonly status: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastHeartbeatTime: string;
    }[];
  };
}

async function isReadySince({ client }: ControlPlane, name: string, sinceMs: number): Promise<boolean> {
  const { status } = await client.get<NodeObject>(`/api/v1/nodes/${name}`);
  const ready = status.conditions?.find(({ type }) => type === 'Ready');
  // Times of Kubernetes are whole seconds.
  return ready?.status === 'True' && Date.parse(ready.lastHeartbeatTime) >= Math.floor(sinceMs / 1_000) * 1_000;
}

function commandOf(
  program: NodeProgram,
  { network, folder, index }: NodeOptions,
  name: string,
): readonly [string, readonly string[]] {
  const file = (path: string) => join(folder, path);
  const bin = (path: string) => join(realNodeHome(), 'bin', path);
  switch (program) {
    case 'containerd':
      return ['containerd', ['--config', file('containerd.toml')]];
    case 'kubelet':
      return [
        bin('kubelet'),
        [
          ...[`--config=${file('kubelet.yaml')}`, `--kubeconfig=${file('kubelet.kubeconfig')}`],
          ...[`--hostname-override=${name}`, `--node-ip=${network.nodeAddresses(index).join()}`, '-v=1'],
        ],
      ];
    case 'kube-proxy':
      return [
        bin('kube-proxy'),
        [
          ...[`--kubeconfig=${file('kube-proxy.kubeconfig')}`, `--hostname-override=${name}`, '--proxy-mode=iptables'],
          ...[`--cluster-cidr=${network.podRanges.join()}`, '--conntrack-max-per-core=0'],
          ...['--conntrack-tcp-timeout-established=0s', '--conntrack-tcp-timeout-close-wait=0s', '--oom-score-adj=0'],
        ],
      ];
    case 'kube-router':
      return [
        bin('kube-router'),
        [
          ...['--run-firewall=true', '--run-router=false', '--run-service-proxy=false'],
          ...[`--kubeconfig=${file('kube-router.kubeconfig')}`, `--hostname-override=${name}`],
          ...network.serviceRanges.map((range) => `--service-cluster-ip-range=${range}`),
          ...[`--enable-ipv4=${network.families !== 'ipv6'}`, `--enable-ipv6=${network.families !== 'ipv4'}`],
          '--service-node-port-range=30000-32767',
          ...['--iptables-sync-period=60s', '--metrics-port=0', '--health-port=0'],
        ],
      ];
  }
}

async function writeConfiguration(options: NodeOptions, name: string, cgroup: string): Promise<void> {
  const { controlPlane, network, index, folder } = options;
  const { certificates, server } = controlPlane;
  for (const directory of ['logs', 'cni', 'var-lib', 'var-log', 'sysctls', 'plugins']) {
    await mkdir(join(folder, directory), { recursive: true });
  }
  for (const directory of ['containerd', 'kubelet', 'cni', 'local-path']) {
    await mkdir(join(folder, 'var-lib', directory), { recursive: true });
  }
  const kubeconfig = async (subject: string): Promise<string> =>
    kubeconfigOf(server, certificates.ca, { kind: 'certificate', pair: await certificates.issue(subject, 'client') });
  const names = { dns: [name], addresses: network.nodeAddresses(index) };
  const pair = await certificates.issue(`CN=system:node:${name}, O=system:nodes`, 'server', names);
  const files: Readonly<Record<string, string>> = {
    'ca.crt': certificates.ca,
    'kubelet.crt': pair.certificate,
    'kubelet.key': pair.key,
    'kubelet.kubeconfig': await kubeconfig(`O=system:nodes, CN=system:node:${name}`),
    'kube-proxy.kubeconfig': await kubeconfig('CN=system:kube-proxy'),
    'kube-router.kubeconfig': await kubeconfig('O=system:masters, CN=kube-router'),
    'kubelet.yaml': stringify({ ...kubeletConfiguration(options, cgroup), ...options.kubelet }),
    'containerd.toml': containerdConfiguration(folder),
    'cni/10-bridge.conflist': JSON.stringify(cniConfiguration(network.podRangesOfNode(index))),
    // Nothing outside can be resolved: there is nothing outside.
    'resolv.conf': `nameserver ${network.controlPlaneAddress}\n`,
    'init.sh': initScript(folder, name, network.families),
  };
  for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), text, { mode: 0o600 });
  await appendFile(join(folder, 'logs', 'init.log'), '');
  await chmod(folder, 0o755);
}

function kubeletConfiguration({ network, folder }: NodeOptions, cgroup: string): Readonly<Record<string, unknown>> {
  const file = (path: string) => join(folder, path);
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: file('ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: file('kubelet.crt'),
    tlsPrivateKeyFile: file('kubelet.key'),
    containerRuntimeEndpoint: `unix://${SOCKET}`,
    ...(network.families === 'ipv6' ? { address: '::', healthzBindAddress: '::1' } : {}),
    volumePluginDir: file('plugins'),
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    failCgroupV1: false,
    failSwapOn: false,
    // Root may not be allowed to lower it (no CAP_SYS_RESOURCE).
    oomScoreAdj: 0,
    clusterDNS: [network.dnsAddress],
    clusterDomain: 'cluster.local',
    resolvConf: file('resolv.conf'),
    nodeStatusUpdateFrequency: '5s',
    evictionHard: {
      'memory.available': '300Mi',
      'nodefs.available': '1%',
      'imagefs.available': '1%',
      'nodefs.inodesFree': '1%',
    },
    // Images cannot be pulled again.
    imageGCHighThresholdPercent: 100,
    serializeImagePulls: false,
  };
}

const containerdConfiguration = (folder: string): string => `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "${SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "${PAUSE_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${join(folder, 'cni')}"
`;

/** Nothing is masqueraded: every address of the cluster is routed everywhere, and policies see who asks. */
const cniConfiguration = (podRanges: readonly string[]): unknown => ({
  cniVersion: '0.4.0',
  name: 'pods',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipMasq: false,
      hairpinMode: true,
      ipam: {
        type: 'host-local',
        ranges: podRanges.map((subnet) => [{ subnet }]),
        routes: podRanges.map((range) => ({ dst: range.includes(':') ? '::/0' : '0.0.0.0/0' })),
      },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
});

/**
 * Process 1 of the node, until all is mounted. The usual places are the node's own; and settings of the kernel that are
 * the whole machine's, which a kubelet writes, are hidden behind files.
 */
const initScript = (folder: string, name: string, families: IpFamilies): string => `set -eu
hostname ${name}
mount --make-rshared /
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/lock
for place in lib log; do mount --bind "${folder}/var-$place" "/var/$place"; done
for setting in vm/overcommit_memory kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  file="${folder}/sysctls/$(printf %s "$setting" | tr / -)"
  cat "/proc/sys/$setting" > "$file"
  mount --bind "$file" "/proc/sys/$setting"
done
sysctl --quiet --write net.ipv4.ip_forward=1${families === 'ipv4' ? '' : ' net.ipv6.conf.all.forwarding=1'}
exec "$1"
`;

/** Of version 1 each controller has a tree of its own; version 2 has one. */
function cgroupTrees(): readonly string[] {
  if (existsSync(join(CGROUPS, 'cgroup.controllers'))) return [CGROUPS];
  return readdirSync(CGROUPS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(CGROUPS, entry.name));
}

async function makeCgroups(name: string): Promise<void> {
  for (const tree of cgroupTrees()) {
    await mkdir(join(tree, name), { recursive: true });
    // All of the node would weigh as much as one other process of this machine.
    for (const [file, weight] of CPU_WEIGHTS) {
      if (existsSync(join(tree, name, file))) await writeFile(join(tree, name, file), weight);
    }
    if (!tree.endsWith('/cpuset')) continue;
    // Of version 1: without them nothing may run in it.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      await writeFile(join(tree, name, file), await readFile(join(tree, file), 'utf8'));
    }
  }
}

/** Of processes that have ended; those of killed ones are gone within moments. */
export async function removeCgroups(name: string): Promise<void> {
  for (const tree of cgroupTrees()) {
    await until(`${join(tree, name)} is removed`, () => removeTree(join(tree, name)), {
      timeoutMs: 10_000,
      everyMs: 100,
    });
  }
}

async function removeTree(path: string): Promise<boolean> {
  if (!existsSync(path)) return true;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(join(path, entry.name));
  }
  await rmdir(path);
  return true;
}
