import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ETCD_VERSION, KUBERNETES_VERSION, preparedKubernetesHome } from './cache.mjs';
import { findGo, goBuild } from './go.mjs';
import { oneAtATime } from './one-at-a-time.mjs';
import { say } from './run-command.mjs';
import { isDirectory, wholeDirectory } from './whole-directory.mjs';

/** Each has a go.mod that names the versions of all modules and a go.sum with their checksums. */
const MODULES = fileURLToPath(new URL('../../test/support/kubernetes/build', import.meta.url));
export const KUBERNETES_MODULE = join(MODULES, 'kubernetes');

/** The version that the programs say of themselves, as Kubernetes' own build sets it. */
const [major, minor] = KUBERNETES_VERSION.split('.');
const VERSION_PACKAGE = 'k8s.io/component-base/version';
export const KUBERNETES_FLAGS = [
  ...['-s', '-w'],
  `-X=${VERSION_PACKAGE}.gitVersion=v${KUBERNETES_VERSION}`,
  ...[`-X=${VERSION_PACKAGE}.gitMajor=${major}`, `-X=${VERSION_PACKAGE}.gitMinor=${minor}`],
].join(' ');

/**
 * Builds a real kube-apiserver, kubectl and etcd from the module proxy into the cache, unless they are there. They appear
 * all together or not at all.
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export async function prepareKubernetes() {
  const home = preparedKubernetesHome();
  if (process.platform !== 'linux' || (await isDirectory(home))) return null;
  await mkdir(dirname(home), { recursive: true });
  return await oneAtATime(`${home}.lock`, () => wholeDirectory(home, build));
}

async function build(directory) {
  const startedMs = Date.now();
  const found = await findGo();
  if ('problem' in found) return found.problem;
  say(`building Kubernetes ${KUBERNETES_VERSION} and etcd ${ETCD_VERSION} for the tests, once (5 to 20 minutes)`);
  const bin = join(directory, 'bin');
  await mkdir(bin);
  const problem =
    (await goBuild(found.go, join(MODULES, 'etcd'), [
      `-o=${join(bin, 'etcd')}`,
      '-ldflags=-s -w',
      'go.etcd.io/etcd/server/v3',
    ])) ??
    (await goBuild(found.go, KUBERNETES_MODULE, [
      ...[`-o=${bin}/`, `-ldflags=${KUBERNETES_FLAGS}`],
      ...['k8s.io/kubernetes/cmd/kube-apiserver', 'k8s.io/kubernetes/cmd/kubectl'],
    ]));
  if (problem !== null) return problem;
  say(`Kubernetes is built, in ${Math.round((Date.now() - startedMs) / 1000)} s`);
  return null;
}
