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

/**
 * The network of one cluster, in a network namespace of its own that is joined to this machine's by a veth pair. Nothing
 * is routed or masqueraded on this machine itself: from here every address of the cluster can be reached, and from there
 * nothing but this machine. It goes with this process.
 *
 *   10.N.0.1         control plane        10.N.64+i.0/24   pods of node i, from 0
 *   10.N.0.10+i      node i               10.N.128.0/18    Services; .128.1 kubernetes, .128.10 DNS
 *   10.N.0.100       the load balancer    10.N.255.2       this machine
 */
export interface ClusterNetwork {
  readonly number: number;
  readonly controlPlaneAddress: string;
  readonly loadBalancerAddress: string;
  readonly machineAddress: string;
  readonly serviceRange: string;
  readonly kubernetesServiceAddress: string;
  readonly dnsAddress: string;
  readonly podRange: string;
  readonly nodeAddress: (index: number) => string;
  readonly podRangeOfNode: (index: number) => string;
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

export async function makeClusterNetwork(): Promise<ClusterNetwork> {
  const holder = startGuarded('unshare', ['--net', 'sleep', 'infinity'], join(tmpdir(), 'podgate-real-node.log'));
  try {
    await until('the network namespace is there', async () => (await namespaceOf(holder.pid)) !== (await ours()));
    return await furnish(holder);
  } catch (error) {
    await holder.end();
    throw error;
  }
}

async function furnish(holder: GuardedProcess): Promise<ClusterNetwork> {
  const enter = (command: string, args: readonly string[]) =>
    ['nsenter', [`--net=/proc/${holder.pid}/ns/net`, command, ...args]] as const;
  const inside = async (...args: readonly string[]) => must(...enter('ip', args));
  const number = await claimNumber(holder.pid);
  const outside = interfaceName(number);
  const nodeAddress = (index: number) => `10.${number}.0.${10 + index}`;
  const podRangeOfNode = (index: number) => `10.${number}.${64 + index}.0/24`;
  const loadBalancerAddress = `10.${number}.0.100`;
  const cable = (index: number) => `node${index}`;

  await must('ip', ['address', 'add', `10.${number}.255.2/30`, 'dev', outside]);
  await must('ip', ['link', 'set', outside, 'up']);
  await inside('link', 'set', 'lo', 'up');
  await inside('address', 'add', `10.${number}.255.1/30`, 'dev', 'machine');
  await inside('link', 'set', 'machine', 'up');
  await inside('link', 'add', SWITCH, 'type', 'bridge');
  await inside('address', 'add', `10.${number}.0.1/24`, 'dev', SWITCH);
  await inside('link', 'set', SWITCH, 'up');
  await inside('route', 'add', 'default', 'via', `10.${number}.255.2`);
  await must(...enter('sysctl', ['--quiet', '--write', 'net.ipv4.ip_forward=1']));
  await must('ip', ['route', 'add', `10.${number}.0.0/16`, 'via', `10.${number}.255.1`]);
  return {
    number,
    controlPlaneAddress: `10.${number}.0.1`,
    loadBalancerAddress,
    machineAddress: `10.${number}.255.2`,
    serviceRange: `10.${number}.128.0/18`,
    kubernetesServiceAddress: `10.${number}.128.1`,
    dnsAddress: `10.${number}.128.10`,
    podRange: `10.${number}.64.0/18`,
    nodeAddress,
    podRangeOfNode,
    enter,
    async attachNode(index, pid) {
      const node = async (...args: readonly string[]) => must('nsenter', [`--net=/proc/${pid}/ns/net`, 'ip', ...args]);
      const peer = ['peer', 'name', 'eth0', 'netns', String(pid)];
      // Of the same node before a reboot: the kernel takes a network apart some time after its last process has ended.
      await run(...enter('ip', ['link', 'delete', cable(index)]));
      await inside('link', 'add', cable(index), 'type', 'veth', ...peer);
      await inside('link', 'set', cable(index), 'master', SWITCH, 'up');
      await node('link', 'set', 'lo', 'up');
      await node('address', 'add', `${nodeAddress(index)}/24`, 'dev', 'eth0');
      await node('link', 'set', 'eth0', 'up');
      await node('route', 'add', 'default', 'via', `10.${number}.0.1`);
      await inside('route', 'replace', podRangeOfNode(index), 'via', nodeAddress(index));
    },
    async setCable(index, state) {
      await inside('link', 'set', cable(index), state);
    },
    async leadLoadBalancerTo(index) {
      await inside('route', 'replace', `${loadBalancerAddress}/32`, 'via', nodeAddress(index));
    },
    release: () => holder.end(),
  };
}

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
