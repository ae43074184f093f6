import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { KubernetesOrchestrator } from '../../spawner/orchestrator/kubernetes/kubernetes-orchestrator.ts';
import type { PodSpec } from '../../core/pod.ts';
import { createKubeApi, type KubeApi, openKubeConfig } from '../../spawner/orchestrator/kubernetes/api/kube-api.ts';
import { createKubernetesOrchestrator } from '../../spawner/orchestrator/kubernetes/kubernetes-orchestrator.ts';
import type { KubernetesLimits, KubernetesSettings } from '../../spawner/orchestrator/kubernetes/options.ts';
import { createTemplateCatalog } from '../../spawner/templates/catalog.ts';
import type { TestCluster } from './kubernetes/index.ts';
import { plainEnvironment } from './pod-records.ts';
import { silentLog } from './silent-log.ts';

const DEPLOY = join(import.meta.dirname, '..', '..', 'deploy', 'base');
const PODGATE = 'podgate';
const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' };

type RoleObject = Parameters<TestCluster['controlPlane']['apply']>[0];

/**
 * A namespace for pods as deploy/ makes it, under the name that is wanted: restricted, with the account of Podgate and
 * the Role it has there and nothing else. Answers that account's kubeconfig.
 */
export async function preparePodNamespace(
  { controlPlane }: Pick<TestCluster, 'controlPlane'>,
  namespace: string,
): Promise<string> {
  await controlPlane.createNamespace(PODGATE).catch((error: unknown) => {
    if (!String(error).includes('exists')) throw error;
  });
  await controlPlane.createNamespace(namespace, RESTRICTED);
  for (const document of parseAllDocuments(readFileSync(join(DEPLOY, 'account.yaml'), 'utf8'))) {
    const object = document.toJS() as RoleObject;
    const isRole = object.kind === 'Role' || object.kind === 'RoleBinding';
    await controlPlane.apply(isRole ? { ...object, metadata: { ...object.metadata, namespace } } : object);
  }
  return controlPlane.serviceAccountKubeconfig(PODGATE, PODGATE);
}

export interface OrchestratorChange {
  readonly settings?: Partial<KubernetesSettings>;
  readonly limits?: Partial<KubernetesLimits>;
  /** Where the API server is for this one. */
  readonly server?: string;
  readonly deadlineMs?: number;
  /** What the orchestrator gets instead: calls that are delayed, say. */
  readonly around?: (api: KubeApi) => KubeApi;
}

export interface KubernetesOrchestratorHandle {
  readonly orchestrator: KubernetesOrchestrator;
  readonly api: KubeApi;
  readonly close: () => Promise<void>;
}

export function kubernetesSettings(change: Partial<KubernetesSettings> = {}): KubernetesSettings {
  return {
    namespace: 'podgate-pods',
    site: 'test',
    storageClass: null,
    volumeSizeMiB: 64,
    ephemeralStorage: { requestMiB: 128, limitMiB: 2_048 },
    volumeAccessMode: 'ReadWriteOnce',
    namedVolumes: { storageClass: null, accessMode: 'ReadWriteOnce' },
    filesImage: 'podgate',
    podSecurity: 'restricted',
    imagePullSecrets: [],
    nodeSelector: {},
    tolerations: [],
    gateway: {
      namespace: PODGATE,
      labels: { 'app.kubernetes.io/name': 'podgate', 'app.kubernetes.io/component': 'gateway' },
    },
    egressExcept: [],
    nameServers: [],
    ...change,
  };
}

/** One that runs, as the account of that kubeconfig. */
export function runKubernetesOrchestrator(
  kubeconfig: string,
  change: OrchestratorChange = {},
): KubernetesOrchestratorHandle {
  const { orchestrator, api } = openKubernetesOrchestrator(kubeconfig, change);
  const life = new AbortController();
  const running = orchestrator.run(life.signal);
  return {
    orchestrator,
    api,
    close: async () => {
      life.abort();
      await running;
      api.distrustConnections();
    },
  };
}

export function openKubernetesOrchestrator(kubeconfig: string, change: OrchestratorChange = {}) {
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
  const api = createKubeApi({
    config: readKubeconfig(
      change.server === undefined ? kubeconfig : kubeconfig.replace(/https:\/\/[^\s"']+/, change.server),
    ),
    clock,
    ...(change.deadlineMs === undefined ? {} : { deadlineMs: change.deadlineMs }),
  });
  const orchestrator = createKubernetesOrchestrator({
    api: change.around?.(api) ?? api,
    clock,
    log: silentLog,
    templates: createTemplateCatalog(),
    openEnvironment: plainEnvironment,
    settings: kubernetesSettings(change.settings),
    ...(change.limits === undefined ? {} : { limits: change.limits }),
  });
  return { orchestrator, api };
}

/** By way of a file, as Podgate gets it. */
function readKubeconfig(text: string) {
  const directory = mkdtempSync(join(tmpdir(), 'podgate-kubeconfig-'));
  try {
    const path = join(directory, 'config');
    writeFileSync(path, text, { mode: 0o600 });
    return openKubeConfig(path);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The part of a spec that runs this image. */
export function imageSpec(image: string, change: Partial<PodSpec> = {}): Partial<PodSpec> {
  return { template: image, writtenTemplate: image, resources: SMALL, ...change };
}

/** Many fit on the one node. */
const SMALL = { cpuRequest: 10, cpuLimit: 100, memRequest: 16, memLimit: 64, gpus: 0 };
