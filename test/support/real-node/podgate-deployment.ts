import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments, parseDocument } from 'yaml';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { copyOverlay, makeSecrets } from '../deploy-overlay.ts';
import { MERGE } from '../kubernetes/kube-client.ts';
import { programPath } from '../kubernetes/control-plane.ts';
import { must } from './cluster-network.ts';
import { IMAGE_NAMES, PROGRAMS_IMAGE, referenceOf } from './images.ts';
import type { RealCluster } from './real-cluster.ts';

const NAMESPACE = 'podgate';
const ROLLOUT_MS = 300_000;

/** Podgate as docs/operations.md installs it, in a real cluster. */
export interface PodgateDeployment {
  /** deploy/overlays/mine of the cluster's folder, with its secrets. */
  readonly overlay: string;
  /** The load balancer's; names below example.org lead there. */
  readonly address: string;
  /** Of the certificate: what clients trust. */
  readonly caPath: string;
  kubectl(...args: readonly string[]): Promise<string>;
  /** `podgate ARGS` in a replica. */
  podgate(...args: readonly string[]): Promise<string>;
  /** Of the administrator. */
  token(): Promise<string>;
  /** Rolls the image as of these sources out. */
  update(): Promise<void>;
}

export interface DeploymentOptions {
  readonly say?: (line: string) => void;
}

/**
 * What docs/operations.md has an operator type, from a copied overlay to a Deployment that is rolled out; then what a load
 * balancer's controller does.
 */
export async function deployPodgate(cluster: RealCluster, options: DeploymentOptions = {}): Promise<PodgateDeployment> {
  const { controlPlane, network, folder } = cluster;
  const say = options.say ?? (() => undefined);
  const kubectl = (...args: readonly string[]) =>
    must(programPath('kubectl'), ['--kubeconfig', controlPlane.adminKubeconfigPath, ...args], ROLLOUT_MS + 10_000);
  const rollout = async (): Promise<void> => {
    say('waiting for Podgate');
    await kubectl('-n', NAMESPACE, 'rollout', 'status', 'deployment/podgate', `--timeout=${ROLLOUT_MS / 1_000}s`);
  };
  say('applying deploy/ as docs/operations.md says');
  const overlay = copyOverlay(folder);
  await makeSecrets(overlay);
  await allowTestImages(join(overlay, 'podgate.yaml'));
  if (network.families !== 'ipv4') await serveIpv6(join(overlay, 'kustomization.yaml'));
  await aliasPinnedImages(cluster, await kubectl('kustomize', overlay));
  await kubectl('apply', '-k', overlay);
  await controlPlane.client.call('PATCH', `/api/v1/namespaces/${NAMESPACE}/services/podgate/status`, {
    contentType: MERGE,
    body: { status: { loadBalancer: { ingress: network.loadBalancerAddresses.map((ip) => ({ ip })) } } },
  });
  await rollout();
  const podgate = (...args: readonly string[]) =>
    kubectl('-n', NAMESPACE, 'exec', 'deploy/podgate', '--', 'podgate', ...args);
  return {
    overlay,
    address: network.loadBalancerAddresses[0] ?? '',
    caPath: join(overlay, 'secrets/tls.crt'),
    kubectl,
    podgate,
    token: async () => (await podgate('token', '--user', 'admin')).trim(),
    async update() {
      await cluster.provideImage('podgate');
      await kubectl('-n', NAMESPACE, 'rollout', 'restart', 'deployment/podgate');
      await rollout();
    },
  };
}

/** Users may run the programs of the tests beside the templates. */
async function allowTestImages(path: string): Promise<void> {
  const settings = parseDocument(await readFile(path, 'utf8'));
  settings.addIn(['images'], PROGRAMS_IMAGE.split(':')[0]);
  await writeFile(path, settings.toString());
}

async function serveIpv6(path: string): Promise<void> {
  const overlay = parseDocument(await readFile(path, 'utf8'));
  overlay.addIn(['components'], '../../components/ipv6');
  await writeFile(path, overlay.toString());
}

/** What is pinned by a digest, or named by another tag, is one of ours under that name: there is no registry here. */
async function aliasPinnedImages(cluster: RealCluster, rendered: string): Promise<void> {
  const manifests = parseAllDocuments(rendered).map((document) => document.toJS() as unknown);
  const templates = createTemplateCatalog()
    .list()
    .map(({ image }) => image);
  const wanted = new Set([...imagesOf(manifests), ...templates].filter((image) => image !== null));
  for (const image of wanted) {
    const reference = fullReference(image);
    const name = IMAGE_NAMES.find((candidate) => repositoryOf(referenceOf(candidate)) === repositoryOf(reference));
    if (name !== undefined && reference !== referenceOf(name)) await cluster.aliasImage(name, reference);
  }
}

function imagesOf(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === 'image' && typeof inner === 'string' ? [inner] : imagesOf(inner),
  );
}

/** As the node asks for it: `redis:8` is docker.io/library/redis:8, and beside a digest the tag is nothing. */
function fullReference(image: string): string {
  const [name = '', digest] = image.split('@');
  const [first = '', ...rest] = name.split('/');
  const isFull = rest.length > 0 && (first.includes('.') || first.includes(':'));
  const full = isFull ? name : rest.length > 0 ? `docker.io/${name}` : `docker.io/library/${name}`;
  return digest === undefined ? full : `${repositoryOf(full)}@${digest}`;
}

const repositoryOf = (reference: string): string => reference.replace(/@.*$/, '').replace(/:[^/]*$/, '');
