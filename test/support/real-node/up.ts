// One command for a real cluster on this machine; see HELP and real-cluster.ts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { programPath } from '../kubernetes/control-plane.ts';
import { IMAGE_NAMES, type ImageName } from './images.ts';
import { deployPodgate, type PodgateDeployment } from './podgate-deployment.ts';
import { type RealCluster, startRealCluster } from './real-cluster.ts';
import type { NodeProgram } from './worker-node.ts';

const HELP = `up: a real Kubernetes cluster on this machine, in namespaces of its own (Linux, root)

  node test/support/real-node/up.ts [--podgate] [--nodes N] [--images a,b] [--name NAME] [--detach]
  node test/support/real-node/up.ts COMMAND [--name NAME]

etcd, API server, controller-manager and scheduler; on each node containerd, kubelet, kube-proxy (iptables) and kube-router,
which enforces NetworkPolicies; CoreDNS and local-path-provisioner. What is missing is built once, into the cache.

--podgate   installs Podgate of this checkout as docs/operations.md says, with two replicas and Redis
--nodes N   how many nodes (1)
--images    which images nodes get: ${IMAGE_NAMES.join(', ')} (all)
--families  of addresses: ipv4 (the default), dual, ipv6
--metrics   with metrics-server, for \`kubectl top\` and the HorizontalPodAutoscaler
--name      of the cluster, where you have more than one (main)
--detach    answers when it is ready; otherwise it stays, until Ctrl-C. Either way it is gone when that process is

Commands, for the cluster of that name:
  down                      ends all of it
  env                       lines for a shell: eval "$(node test/support/real-node/up.ts env)"; then kubectl, curl $CURL ...
  deploy                    installs Podgate, where --podgate has not
  update                    rolls Podgate out as these sources are now
  add-node                  one more node
  reboot N | power-off N | power-on N
  cable N up|down           the network of node N
  kill N PROGRAM | start N PROGRAM     containerd, kubelet, kube-proxy, kube-router (SIGKILL)
  kill-api-server | start-api-server
Exit codes: 0 done, 1 failed, 2 usage error.`;

interface State {
  readonly pid: number;
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
}

const PLACE = join(tmpdir(), 'podgate-real-nodes');
const FAMILIES = ['ipv4', 'dual', 'ipv6'] as const;
const DONE = 'done';
const FAILED = 'failed: ';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: 'string', default: 'main' },
    nodes: { type: 'string', default: '1' },
    images: { type: 'string', default: IMAGE_NAMES.join(',') },
    podgate: { type: 'boolean', default: false },
    families: { type: 'string', default: 'ipv4' },
    metrics: { type: 'boolean', default: false },
    detach: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const statePath = join(PLACE, `${values.name}.json`);
const socketPath = join(PLACE, `${values.name}.sock`);

process.exitCode = await main();

async function main(): Promise<number> {
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const [command, ...args] = positionals;
  await mkdir(PLACE, { recursive: true });
  if (command === undefined || command === 'up') return values.detach ? detach() : up();
  const state = readState();
  if (command === 'env') {
    if (state === null) return noCluster();
    const { environment } = JSON.parse(readFileSync(statePath, 'utf8')) as State;
    for (const [name, value] of Object.entries(environment)) console.log(`export ${name}='${value}'`);
    return 0;
  }
  return state === null ? noCluster() : ask([command, ...args]);
}

function noCluster(): number {
  console.error(`there is no cluster named ${values.name}`);
  return 1;
}

/** Null: none, or its process is gone, and the cluster with it. */
function readState(): State | null {
  if (!existsSync(statePath)) return null;
  const state = JSON.parse(readFileSync(statePath, 'utf8')) as State;
  try {
    process.kill(state.pid, 0);
    return state;
  } catch {
    // What is left of it on the disk goes when the next one starts.
    rmSync(statePath, { force: true });
    rmSync(socketPath, { force: true });
    return null;
  }
}

async function detach(): Promise<number> {
  const logPath = join(PLACE, `${values.name}.log`);
  const log = openSync(logPath, 'w');
  const args = process.argv.slice(1).filter((arg) => arg !== '--detach');
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  let shown = 0;
  const show = (): string => {
    const text = readFileSync(logPath, 'utf8');
    process.stdout.write(text.slice(shown));
    shown = text.length;
    return text;
  };
  while (child.exitCode === null && child.signalCode === null) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (show().includes('\nready ')) {
      child.unref();
      return 0;
    }
  }
  show();
  return 1;
}

async function up(): Promise<number> {
  if (readState() !== null) {
    console.error(`there is a cluster named ${values.name}: end it with \`down\`, or give this one another --name`);
    return 1;
  }
  const startedMs = performance.now();
  const say = (line: string) =>
    console.log(`${((performance.now() - startedMs) / 1_000).toFixed(1).padStart(6)} s  ${line}`);
  const images = values.images.split(',').filter((name) => name !== '') as ImageName[];
  const unknown = images.filter((name) => !IMAGE_NAMES.includes(name));
  if (unknown.length > 0) {
    console.error(`no such image: ${unknown.join(', ')}`);
    return 2;
  }
  const families = FAMILIES.find((known) => known === values.families);
  if (families === undefined) {
    console.error(`--families is one of ${FAMILIES.join(', ')}`);
    return 2;
  }
  const { nodes, metrics } = values;
  const cluster = await startRealCluster({ images, nodes: Number(nodes), families, metrics, say });
  const ended = Promise.withResolvers<null>();
  let podgate: PodgateDeployment | null = null;
  const note = (): void => writeState(cluster, podgate);
  const deploy = async (tell: (line: string) => void): Promise<void> => {
    podgate = await deployPodgate(cluster, { say: tell });
    note();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.resolve(null));
  let server: Server | null = null;
  try {
    if (values.podgate) await deploy(say);
    note();
    server = await listen(cluster, { deploy, end: () => ended.resolve(null), podgate: () => podgate });
    console.log(
      `\nready in ${((performance.now() - startedMs) / 1_000).toFixed(0)} s: eval "$(node ${process.argv[1]} env)"`,
    );
    await ended.promise;
    say('ending');
    return 0;
  } finally {
    server?.close();
    await cluster.stop();
    rmSync(statePath, { force: true });
  }
}

function writeState(cluster: RealCluster, podgate: PodgateDeployment | null): void {
  const { controlPlane, network, folder, nodes } = cluster;
  const of = podgate === null ? {} : { PODGATE_ADDRESS: podgate.address, PODGATE_CA: podgate.caPath };
  const curl = podgate === null ? {} : { CURL: `--cacert ${podgate.caPath} --connect-to ::${inUrl(podgate.address)}:` };
  const environment = {
    KUBECONFIG: controlPlane.adminKubeconfigPath,
    PATH: `${dirname(programPath('kubectl'))}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    CLUSTER_FOLDER: folder,
    CLUSTER_NETWORK: network.podRanges.join(),
    NODE_PIDS: nodes.map((node) => node.pid()).join(' '),
    ...of,
    ...curl,
  };
  writeFileSync(statePath, JSON.stringify({ pid: process.pid, folder, environment } satisfies State), { mode: 0o600 });
}

function inUrl(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

interface Control {
  readonly deploy: (say: (line: string) => void) => Promise<void>;
  readonly podgate: () => PodgateDeployment | null;
  readonly end: () => void;
}

/** Commands come by a socket, a line of JSON each; the answers are lines, the last one says how it went. */
async function listen(cluster: RealCluster, control: Control): Promise<Server> {
  rmSync(socketPath, { force: true });
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    createInterface({ input: socket }).on('line', (line) => {
      const say = (text: string) => void socket.write(`${text}\n`);
      obey(cluster, control, JSON.parse(line) as string[], say).then(
        () => socket.end(`${DONE}\n`),
        (error: unknown) => socket.end(`${FAILED}${error instanceof Error ? error.message : String(error)}\n`),
      );
    });
  });
  server.listen(socketPath);
  await once(server, 'listening');
  return server;
}

async function obey(
  cluster: RealCluster,
  control: Control,
  [command = '', ...args]: readonly string[],
  say: (line: string) => void,
): Promise<void> {
  const { controlPlane, network } = cluster;
  const node = () => {
    const found = cluster.nodes[Number(args[0]) - 1];
    if (found === undefined) throw new Error(`which node? 1 to ${cluster.nodes.length}`);
    return found;
  };
  const commands: Readonly<Record<string, () => Promise<void>>> = {
    down: async () => control.end(),
    deploy: () => control.deploy(say),
    update: async () => {
      const podgate = control.podgate();
      if (podgate === null) throw new Error('Podgate is not deployed');
      await podgate.update();
    },
    'add-node': async () => {
      await cluster.addNode();
    },
    reboot: async () => {
      await node().powerOff();
      await node().powerOn();
    },
    'power-off': () => node().powerOff(),
    'power-on': () => node().powerOn(),
    cable: () => network.setCable(node().index, args[1] === 'down' ? 'down' : 'up'),
    kill: () => node().kill(args[1] as NodeProgram),
    start: () => node().start(args[1] as NodeProgram),
    'kill-api-server': () => controlPlane.killApiServer(),
    'start-api-server': () => controlPlane.startApiServer(),
  };
  const chosen = commands[command];
  if (chosen === undefined) throw new Error(`there is no command ${command}; see --help`);
  await chosen();
}

async function ask(command: readonly string[]): Promise<number> {
  const socket = connect(socketPath);
  await once(socket, 'connect');
  socket.write(`${JSON.stringify(command)}\n`);
  let last = '';
  for await (const line of createInterface({ input: socket })) {
    if (last !== '') console.log(last);
    last = line;
  }
  if (last !== DONE) console.error(last);
  if (last === DONE && command[0] === 'down') await untilGone();
  return last === DONE ? 0 : 1;
}

async function untilGone(): Promise<void> {
  while (readState() !== null) await new Promise((resolve) => setTimeout(resolve, 100));
}
