import { networkInterfaces } from 'node:os';
import { readFile, readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GuardedProcess, startGuarded } from '../kubernetes/guarded-process.ts';
import { run } from '../run.ts';
import { until } from '../until.ts';

/** Clusters of this machine get 10.60.0.0/16 to 10.250.0.0/16. */
const NUMBERS = { first: 60, last: 250 };
const SWITCH = 'nodes';

/** Which addresses nodes, pods and Services have; of 'dual', IPv4 comes first. */
export type IpFamilies = 'ipv4' | 'dual' | 'ipv6';

/**
 * The network of one cluster, in a network namespace of its own that is joined to this machine's by a veth pair. Nothing
 * is routed or masqueraded on this machine itself: from here every address of the cluster can be reached, and from there
 * nothing but this machine. It goes with this process.
 *
 *   10.N.0.1         control plane        10.N.64+i.0/24   pods of node i, from 0
 *   10.N.0.10+i      node i               10.N.128.0/18    Services; .128.1 kubernetes, .128.10 DNS
 *   10.N.0.100       the load balancer    10.N.255.2       this machine
 *
 * Of IPv6: fd10:N::/64 control plane, nodes and load balancer (by the same last numbers), fd10:N:3:i::/64 pods of node i,
 * fd10:N:1::/112 Services, fd10:N:2::2 this machine. Where a field has one address, it is of the first family.
 */
export interface ClusterNetwork {
  readonly number: number;
  readonly families: IpFamilies;
  readonly controlPlaneAddress: string;
  readonly loadBalancerAddresses: readonly string[];
  readonly machineAddress: string;
  readonly serviceRanges: readonly string[];
  readonly kubernetesServiceAddress: string;
  readonly dnsAddress: string;
  readonly podRanges: readonly string[];
  readonly nodeAddresses: (index: number) => readonly string[];
  readonly podRangesOfNode: (index: number) => readonly string[];
  /** The command that runs this one where the control plane is. */
  readonly enter: (command: string, args: readonly string[]) => readonly [string, readonly string[]];
  /** Gives the network namespace of that process its place as node `index`. */
  attachNode(index: number, pid: number): Promise<void>;
  /** As if somebody pulled the cable of the node. */
  setCable(index: number, state: 'up' | 'down'): Promise<void>;
  /** What a load balancer's controller does: connections to its address go to this node. */
  leadLoadBalancerTo(index: number): Promise<void>;
  release(): Promise<void>;
}

export async function makeClusterNetwork(families: IpFamilies = 'ipv4'): Promise<ClusterNetwork> {
  const holder = startGuarded('unshare', ['--net', 'sleep', 'infinity'], join(tmpdir(), 'podgate-real-node.log'));
  try {
    await until('the network namespace is there', async () => (await namespaceOf(holder.pid)) !== (await ours()));
    return await furnish(holder, families);
  } catch (error) {
    await holder.end();
    throw error;
  }
}

async function furnish(holder: GuardedProcess, families: IpFamilies): Promise<ClusterNetwork> {
  const enter = (command: string, args: readonly string[]) =>
    ['nsenter', [`--net=/proc/${holder.pid}/ns/net`, command, ...args]] as const;
  const inside = async (...args: readonly string[]) => must(...enter('ip', args));
  const number = await claimNumber(holder.pid);
  const outside = interfaceName(number);
  const plans = { ipv4: [planIpv4(number)], dual: [planIpv4(number), planIpv6(number)], ipv6: [planIpv6(number)] }[
    families
  ];
  const [first] = plans;
  if (first === undefined) throw new Error('a network has a family');
  const cable = (index: number) => `node${index}`;

  await inside('link', 'set', 'lo', 'up');
  await inside('link', 'add', SWITCH, 'type', 'bridge');
  for (const { machine, outerPrefix, controlPlane, prefix } of plans) {
    await must('ip', ['address', 'add', `${machine}/${outerPrefix}`, 'dev', outside, ...undetected(machine)]);
    await inside('address', 'add', `${before(machine)}/${outerPrefix}`, 'dev', 'machine', ...undetected(machine));
    await inside('address', 'add', `${controlPlane}/${prefix}`, 'dev', SWITCH, ...undetected(controlPlane));
  }
  await must('ip', ['link', 'set', outside, 'up']);
  await inside('link', 'set', 'machine', 'up');
  await inside('link', 'set', SWITCH, 'up');
  for (const { machine, whole, forwarding } of plans) {
    await inside('route', 'add', 'default', 'via', machine);
    await must(...enter('sysctl', ['--quiet', '--write', `${forwarding}=1`]));
    await must('ip', ['route', 'add', whole, 'via', before(machine)]);
  }
  return {
    number,
    families,
    controlPlaneAddress: first.controlPlane,
    loadBalancerAddresses: plans.map(({ loadBalancer }) => loadBalancer),
    machineAddress: first.machine,
    serviceRanges: plans.map(({ services }) => services),
    kubernetesServiceAddress: first.kubernetesService,
    dnsAddress: first.dns,
    podRanges: plans.map(({ pods }) => pods),
    nodeAddresses: (index) => plans.map(({ node }) => node(index)),
    podRangesOfNode: (index) => plans.map(({ podsOfNode }) => podsOfNode(index)),
    enter,
    async attachNode(index, pid) {
      const node = async (...args: readonly string[]) => must('nsenter', [`--net=/proc/${pid}/ns/net`, 'ip', ...args]);
      const peer = ['peer', 'name', 'eth0', 'netns', String(pid)];
      // Of the same node before a reboot: the kernel takes a network apart some time after its last process has ended.
      await run(...enter('ip', ['link', 'delete', cable(index)]));
      await inside('link', 'add', cable(index), 'type', 'veth', ...peer);
      await inside('link', 'set', cable(index), 'master', SWITCH, 'up');
      await node('link', 'set', 'lo', 'up');
      for (const plan of plans) {
        const address = plan.node(index);
        await node('address', 'add', `${address}/${plan.prefix}`, 'dev', 'eth0', ...undetected(address));
      }
      await node('link', 'set', 'eth0', 'up');
      for (const plan of plans) {
        await node('route', 'add', 'default', 'via', plan.controlPlane);
        await inside('route', 'replace', plan.podsOfNode(index), 'via', plan.node(index));
      }
    },
    async setCable(index, state) {
      await inside('link', 'set', cable(index), state);
    },
    async leadLoadBalancerTo(index) {
      for (const { loadBalancer, node } of plans) await inside('route', 'replace', loadBalancer, 'via', node(index));
    },
    release: () => holder.end(),
  };
}

/** Addresses of one family. */
interface Plan {
  readonly controlPlane: string;
  readonly node: (index: number) => string;
  /** Of the network of nodes, in bits. */
  readonly prefix: number;
  readonly loadBalancer: string;
  readonly pods: string;
  readonly podsOfNode: (index: number) => string;
  readonly services: string;
  readonly kubernetesService: string;
  readonly dns: string;
  /** Of this machine; the other end of its veth pair has the address before. */
  readonly machine: string;
  readonly outerPrefix: number;
  readonly whole: string;
  /** The kernel's setting that makes it a router. */
  readonly forwarding: string;
}

const planIpv4 = (number: number): Plan => ({
  controlPlane: `10.${number}.0.1`,
  node: (index) => `10.${number}.0.${10 + index}`,
  prefix: 24,
  loadBalancer: `10.${number}.0.100`,
  pods: `10.${number}.64.0/18`,
  podsOfNode: (index) => `10.${number}.${64 + index}.0/24`,
  services: `10.${number}.128.0/18`,
  kubernetesService: `10.${number}.128.1`,
  dns: `10.${number}.128.10`,
  machine: `10.${number}.255.2`,
  outerPrefix: 30,
  whole: `10.${number}.0.0/16`,
  forwarding: 'net.ipv4.ip_forward',
});

const planIpv6 = (number: number): Plan => ({
  controlPlane: `fd10:${number}::1`,
  node: (index) => `fd10:${number}::${10 + index}`,
  prefix: 64,
  loadBalancer: `fd10:${number}::100`,
  pods: `fd10:${number}:3::/48`,
  podsOfNode: (index) => `fd10:${number}:3:${index}::/64`,
  services: `fd10:${number}:1::/112`,
  kubernetesService: `fd10:${number}:1::1`,
  dns: `fd10:${number}:1::10`,
  machine: `fd10:${number}:2::2`,
  outerPrefix: 126,
  whole: `fd10:${number}::/32`,
  forwarding: 'net.ipv6.conf.all.forwarding',
});

const before = (machine: string): string => machine.replace(/2$/, '1');
/** Without it, an IPv6 address cannot be used for a second, while the kernel checks whether another machine has it. */
const undetected = (address: string): readonly string[] => (address.includes(':') ? ['nodad'] : []);

/** The interface is the claim: its name exists once, and it goes with the namespace that has its other end. */
async function claimNumber(pid: number): Promise<number> {
  const taken = Object.values(networkInterfaces()).flatMap(
    (addresses) => addresses?.map(({ address }) => address) ?? [],
  );
  for (let number = NUMBERS.first; number <= NUMBERS.last; number += 1) {
    if (taken.some((address) => address.startsWith(`10.${number}.`))) continue;
    const peer = ['type', 'veth', 'peer', 'name', 'machine', 'netns', String(pid)];
    const added = await run('ip', ['link', 'add', interfaceName(number), ...peer]);
    if (added.code === 0) return number;
    if (!added.stderr.includes('File exists')) throw new Error(`ip link add failed: ${added.stderr}`);
  }
  throw new Error('every network 10.60.0.0/16 to 10.250.0.0/16 is taken');
}

const interfaceName = (number: number): string => `pgcluster${number}`;
const ours = (): Promise<string> => readlink('/proc/self/ns/net');
const namespaceOf = (pid: number): Promise<string> => readlink(`/proc/${pid}/ns/net`);

/** The process that `unshare --fork` or `nsenter` has started, by its id on this machine. */
export async function childOf(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return Number(children.trim().split(' ')[0] ?? '');
}

export async function must(command: string, args: readonly string[], timeoutMs = 60_000): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, { timeoutMs });
  if (code === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${`${stdout}${stderr}`.slice(-4_000)}`);
}
