import { isIPv6 } from 'node:net';

/** Where the server pod of a probe listens. */
export const PROBE_PORT = 8080;
/** When nothing was reached for so long, the pod is fenced. */
const QUIET_MS = 3_000;
/** A pod that still reaches something after this is not going to be fenced: networks need 0.01 to 2 s, slow ones 10. */
export const FENCE_DEADLINE_MS = 15_000;
/** A policy may take as long to let a pod reach its name servers. */
const NAMES_DEADLINE_MS = 12_000;
export const CGROUP_CONTROLLERS_FILE = '/sys/fs/cgroup/cgroup.controllers';

/**
 * What a pod that is to be fenced tries to reach, by name: the pod at these addresses, and the metadata of clouds. A network
 * may enforce policies for one family of addresses alone. Pure.
 */
export function probeTargets(addresses: readonly string[]): Readonly<Record<string, readonly [string, number]>> {
  const metadata = ['169.254.169.254', 80] as const;
  const [only] = addresses;
  if (addresses.length === 1 && only !== undefined) return { pod: [only, PROBE_PORT], metadata };
  const pods = addresses.map((address) => [`pod-${isIPv6(address) ? 'ipv6' : 'ipv4'}`, [address, PROBE_PORT]] as const);
  return { ...Object.fromEntries(pods), metadata, 'metadata-ipv6': ['fd00:ec2::254', 80] };
}

/** Run by `node -e` in the pod that others try to reach. An address of IPv6 can be bound when it has been found unique. */
export const SERVE = `
for (const host of process.env.POD_IPS.split(',')) {
  const server = require('net').createServer((c) => c.on('error', () => {}).end('podgate\\n'));
  const listen = () => server.listen(${PROBE_PORT}, host);
  server.on('error', () => setTimeout(listen, 500));
  listen();
}
`;

/**
 * Run by `node -e` in a pod that is to be fenced. It tries every target again and again, since networks fence a new pod
 * only some moments after its start, and prints one line, "probe " and JSON as in ProbeReport.
 *
 * Environment: TARGETS, JSON of name to [host, port]; RESOLV_CONF, unset but in tests; NAMES=yes: asks the name servers.
 */
export const REACH = `
const { Resolver } = require('dns').promises;
const { existsSync, readFileSync } = require('fs');
const { connect } = require('net');
const { setTimeout: pause } = require('timers/promises');
const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port, RESOLV_CONF = '/etc/resolv.conf' } = process.env;
const targets = { ...JSON.parse(process.env.TARGETS), ...(host ? { api: [host, Number(port)] } : {}) };
const now = () => performance.now();
const isReached = ([host, port]) => new Promise((resolve) => {
  const socket = connect({ host, port });
  const end = (reached) => { clearTimeout(timer); socket.destroy(); resolve(reached); };
  const timer = setTimeout(end, 500, false);
  socket.on('connect', () => end(true)).on('error', () => end(false));
});
async function fence() {
  const lastMs = {};
  for (;;) {
    await Promise.all(Object.entries(targets).map(async ([name, target]) => {
      if (await isReached(target)) lastMs[name] = now();
    }));
    const afterMs = Math.max(0, ...Object.values(lastMs));
    const begin = Object.keys(lastMs).length > 0 ? afterMs : fence.begunMs;
    if (now() - begin >= ${QUIET_MS}) return { afterMs: Math.round(afterMs), reached: Object.keys(lastMs) };
    if (now() > ${FENCE_DEADLINE_MS}) {
      return { afterMs: null, reached: Object.keys(lastMs).filter((name) => now() - lastMs[name] < ${QUIET_MS}) };
    }
    await pause(100);
  }
}
fence.begunMs = now();
async function nameServers() {
  const text = readFileSync(RESOLV_CONF, 'utf8');
  const servers = [...text.matchAll(/^nameserver\\s+(\\S+)/gm)].map(([, address]) => address);
  const domain = /^search.*?\\bsvc\\.(\\S+)/m.exec(text)?.[1] ?? 'cluster.local';
  return Promise.all(servers.map(async (address) => {
    const resolver = new Resolver({ timeout: 1000, tries: 1 });
    resolver.setServers([address]);
    while (now() < ${NAMES_DEADLINE_MS}) {
      const code = await resolver.resolve4('kubernetes.default.svc.' + domain + '.').then(() => null, (error) => error.code);
      // Any answer shows that the server is reached.
      if (!['ETIMEOUT', 'ECONNREFUSED', 'ECANCELLED'].includes(code)) return { address, afterMs: Math.round(now()) };
      await pause(200);
    }
    return { address, afterMs: null };
  }));
}
const cgroup = existsSync('${CGROUP_CONTROLLERS_FILE}')
  ? { version: 2, controllers: readFileSync('${CGROUP_CONTROLLERS_FILE}', 'utf8').trim().split(' ') }
  : existsSync('/sys/fs/cgroup/memory') ? { version: 1, controllers: [] } : null;
Promise.all([fence(), process.env.NAMES === 'yes' ? nameServers() : []]).then(([fence, nameServers]) => {
  console.log('probe ' + JSON.stringify({ fence, nameServers, cgroup, nowMs: Date.now() }));
  process.exit(0);
});
`;
