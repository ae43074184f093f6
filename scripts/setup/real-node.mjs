import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { preparedRealNodeHome } from './cache.mjs';
import { installDebianPackages } from './debian-packages.mjs';
import { findGo, goBuild } from './go.mjs';
import { KUBERNETES_FLAGS, KUBERNETES_MODULE, prepareKubernetes } from './kubernetes.mjs';
import { oneAtATime } from './one-at-a-time.mjs';
import { isOnPath, say } from './run-command.mjs';
import { isDirectory, wholeDirectory } from './whole-directory.mjs';

const MODULES = fileURLToPath(new URL('../../test/support/real-node/build', import.meta.url));
const KUBERNETES_PROGRAMS = ['kubelet', 'kube-proxy', 'kube-scheduler', 'kube-controller-manager'];
/** By module, what is built of it. */
const OTHER_PROGRAMS = {
  coredns: '.',
  'kube-router': 'github.com/cloudnativelabs/kube-router/v2/cmd/kube-router',
  'local-path-provisioner': 'github.com/rancher/local-path-provisioner',
  'metrics-server': 'sigs.k8s.io/metrics-server/cmd/metrics-server',
  pause: '.',
};

/** Programs (and files, by their path) that a node needs, and the Debian package that has each. */
const PROGRAMS = [
  ['containerd', 'containerd'],
  ['runc', 'runc'],
  ['/usr/lib/cni/bridge', 'containernetworking-plugins'],
  ['iptables', 'iptables'],
  ['ipset', 'ipset'],
  ['conntrack', 'conntrack'],
  ['socat', 'socat'],
  ['modprobe', 'kmod'],
  ['ethtool', 'ethtool'],
  ['dockerd', 'docker.io'],
  ['debootstrap', 'debootstrap'],
];

/** Where the programs of this checkout's real node are; its `bin/` may not be there (yet). */
export function realNodeHome() {
  const hash = createHash('sha256');
  for (const folder of [MODULES, KUBERNETES_MODULE]) {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    for (const path of entries.map((entry) => join(entry.parentPath, entry.name)).sort()) {
      hash.update(path.slice(folder.length)).update('\0').update(readFileSync(path)).update('\0');
    }
  }
  return preparedRealNodeHome(hash.digest('hex').slice(0, 12));
}

/**
 * Brings what a real node of the tests runs: Debian's packages, and the programs of Kubernetes and its add-ons, built
 * from the module proxy into the cache. The programs appear all together or not at all.
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export async function prepareRealNode() {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'a real node takes Linux, and root';
  const missing = [];
  for (const [program, name] of PROGRAMS) if (!(await isOnPath(program))) missing.push(name);
  const problem = missing.length === 0 ? null : await installDebianPackages(missing, 'for the real node of the tests');
  if (problem !== null) return problem;
  const controlPlaneProblem = await prepareKubernetes();
  if (controlPlaneProblem !== null) return controlPlaneProblem;
  const home = realNodeHome();
  if (await isDirectory(home)) return null;
  await mkdir(dirname(home), { recursive: true });
  return await oneAtATime(`${home}.lock`, () => wholeDirectory(home, build));
}

async function build(directory) {
  const startedMs = Date.now();
  const found = await findGo();
  if ('problem' in found) return found.problem;
  say('building kubelet and what else a real node runs, once (5 to 15 minutes)');
  const bin = join(directory, 'bin');
  await mkdir(bin);
  const problem =
    (await goBuild(found.go, KUBERNETES_MODULE, [
      ...[`-o=${bin}/`, `-ldflags=${KUBERNETES_FLAGS}`],
      ...KUBERNETES_PROGRAMS.map((name) => `k8s.io/kubernetes/cmd/${name}`),
    ])) ?? (await buildOthers(found.go, bin));
  if (problem !== null) return problem;
  say(`the real node is built, in ${Math.round((Date.now() - startedMs) / 1000)} s`);
  return null;
}

async function buildOthers(go, bin) {
  for (const [name, program] of Object.entries(OTHER_PROGRAMS)) {
    const problem = await goBuild(go, join(MODULES, name), [`-o=${join(bin, name)}`, '-ldflags=-s -w', program]);
    if (problem !== null) return problem;
  }
  return null;
}
