import { homedir } from 'node:os';
import { join } from 'node:path';

/** The newest of the 5.26 line (long-term support), which runs on Java 17. */
export const NEO4J_VERSION = '5.26.30';

/** The current driver; what Debian has is of the line before. */
export const PGJDBC_VERSION = '42.7.14';

/** The newest that runs on Python 3.11. */
export const TAPIPY_VERSION = '25.4.0';

export const SCHEMATHESIS_VERSION = '4.32.5';

/** A maintained minor of Kubernetes, and the etcd that goes with it: test/support/kubernetes/build/ pins both whole. */
export const KUBERNETES_VERSION = '1.34.4';
export const ETCD_VERSION = '3.6.13';

export const H2SPEC_VERSION = '2.2.1';

/**
 * Where set-up keeps what tests need and this repository does not hold. Root's own home is closed to the users that
 * pods run as, so root keeps it in /var/cache.
 */
function cacheRoot() {
  return process.getuid?.() === 0 ? '/var/cache/podgate' : userCache();
}

function userCache() {
  const xdg = process.env.XDG_CACHE_HOME;
  return join(xdg === undefined || xdg === '' ? join(homedir(), '.cache') : xdg, 'podgate');
}

/** NEO4J_HOME of the Neo4j that set-up prepares for tests; it may not be there (yet). */
export function preparedNeo4jHome() {
  return join(cacheRoot(), `neo4j-${NEO4J_VERSION}`);
}

/** Holds `bin/kube-apiserver`, `bin/kubectl` and `bin/etcd`, built by set-up for tests; it may not be there (yet). */
export function preparedKubernetesHome() {
  return join(cacheRoot(), `kubernetes-${KUBERNETES_VERSION}`);
}

/** What a real node runs beside that, built by `test/support/real-node`: `bin/kubelet` and others. `hash` tells what of. */
export function preparedRealNodeHome(hash) {
  return join(cacheRoot(), `real-node-${hash}`);
}

/** The engine that makes images of the real node, with its layers; and what it made, packed. */
export function preparedRealNodeImages() {
  return join(cacheRoot(), 'real-node-images');
}

/** Drivers of Neo4j in other languages than ours (neo4j-drivers.mjs); `hash` tells what they were made from. */
export function preparedNeo4jDrivers(hash) {
  return join(cacheRoot(), `neo4j-drivers-${hash}`);
}

/** The same of Postgres (postgres-drivers.mjs). */
export function preparedPostgresDrivers(hash) {
  return join(cacheRoot(), `postgres-drivers-${hash}`);
}

/** The driver's one file; it may not be there (yet). */
export function preparedPgjdbc() {
  return join(cacheRoot(), `postgresql-${PGJDBC_VERSION}.jar`);
}

/** For PYTHONPATH; it may not be there (yet). */
export function preparedTapipy() {
  return join(cacheRoot(), `tapipy-${TAPIPY_VERSION}`);
}

/** For PYTHONPATH; its trial puts it there. */
export function preparedSchemathesis() {
  return join(cacheRoot(), `schemathesis-${SCHEMATHESIS_VERSION}`);
}

/** A link to the prepared Neo4j under a name without a version, in the user's own cache. */
export function stableNeo4jHome() {
  return join(userCache(), 'neo4j');
}

/** A Debian root to make images of, packed; it may not be there (yet). */
export function preparedDebianRoot() {
  return join(cacheRoot(), 'debian-bookworm.tar');
}

/** Proxies for Node that `bench/peers.ts` installs to be compared with; it may not be there (yet). */
export function preparedNodePeers() {
  return join(cacheRoot(), 'bench-node-peers');
}

/** h2spec, built by set-up for tests; it may not be there (yet). */
export function preparedH2spec() {
  return join(cacheRoot(), `h2spec-${H2SPEC_VERSION}`);
}

/** Programs of a newer Debian that `bench/peers.ts` unpacks to be compared with; they may not be there (yet). */
export function preparedNewerDebian() {
  return join(cacheRoot(), 'bench-debian-trixie');
}
