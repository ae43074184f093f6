import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import type { Clock } from '../../core/clock.ts';
import type { OpenEnvironment } from '../../core/environment.ts';
import type { Logger } from '../../core/logger.ts';
import type { Orchestrator } from '../../core/orchestrator.ts';
import type { PodNetworks } from '../../core/pod-network.ts';
import type { TemplateCatalog } from '../../core/template.ts';
import type { VolumeFiles } from '../../core/volume.ts';
import { connectGuarded } from '../../proxy/socket/connect-guarded.ts';
import { canEnterNamespaces } from '../../proxy/socket/network-namespace.ts';
import type { DiskLimits } from '../../spawner/orchestrator/process/disk-plan.ts';
import { createTemplateCatalog } from '../../spawner/templates/catalog.ts';
import { acquireExclusiveLock } from '../exclusive-lock.ts';
import { keepDescriptorsFromChildren } from '../inherited-descriptors.ts';
import { podsRootOf } from './pods-root.ts';

export interface OpenedOrchestrator {
  readonly orchestrator: Orchestrator;
  readonly templates: TemplateCatalog;
  /** It runs container images, and not its templates alone. */
  readonly allowsImages: boolean;
  /** No pod can read what belongs to another pod or to Podgate itself. */
  readonly arePodsSeparated: boolean;
  /** What separates pods, in one line for the operator; null: the cluster. */
  readonly protection: string | null;
  /** Null: pods have no network namespace of this machine. */
  readonly podNetworks: PodNetworks | null;
  /** Of volumes; null: it has none. */
  readonly files: VolumeFiles | null;
  /** Why pods cannot mount volumes, for users; null: they can. */
  readonly mountProblem: string | null;
  /** Ends all pods, where they end with Podgate; null where they outlive it. */
  readonly stopAll: ((signal: AbortSignal) => Promise<void>) | null;
}

export interface OpenOrchestratorOptions {
  readonly config: Config;
  readonly installation: string;
  readonly instance: string;
  readonly runDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly openEnvironment: OpenEnvironment;
}

/** What the configuration names. Its modules are loaded only then: the client library of Kubernetes alone is 30 MB. */
export function openOrchestrator(options: OpenOrchestratorOptions): Promise<OpenedOrchestrator> {
  const { kubernetes } = options.config;
  return kubernetes === null ? openProcesses(options) : openKubernetes(options, kubernetes);
}

async function openKubernetes(
  { config, clock, log, openEnvironment }: OpenOrchestratorOptions,
  { kubeconfig, templateImages, ...settings }: NonNullable<Config['kubernetes']>,
): Promise<OpenedOrchestrator> {
  const { createKubeApi, openKubeConfig } = await import('../../spawner/orchestrator/kubernetes/api/kube-api.ts');
  const { createKubernetesOrchestrator } =
    await import('../../spawner/orchestrator/kubernetes/kubernetes-orchestrator.ts');
  const templates = createTemplateCatalog(templateImages);
  const orchestrator = createKubernetesOrchestrator({
    api: createKubeApi({ config: openKubeConfig(kubeconfig), clock }),
    clock,
    log,
    templates,
    openEnvironment,
    settings: { ...settings, site: config.site, filesImage: templates.find('podgate/hello')?.image ?? 'podgate' },
  });
  return {
    orchestrator,
    templates,
    allowsImages: true,
    arePodsSeparated: true,
    protection: null,
    podNetworks: null,
    files: orchestrator.files,
    mountProblem: null,
    stopAll: null,
  };
}

async function openProcesses({
  config,
  installation,
  instance,
  runDir,
  clock,
  log,
  openEnvironment,
}: OpenOrchestratorOptions) {
  const { createProcessOrchestrator } = await import('../../spawner/orchestrator/process/process-orchestrator.ts');
  const { createDirectoryFiles } = await import('../../spawner/orchestrator/process/volumes/directory-files.ts');
  const { arePodsSeparated, protectionText } = await import('../../spawner/orchestrator/process/separation.ts');
  const { findPostgresPackage } = await import('../../spawner/orchestrator/process/recipes/recipes.ts');
  const templates = createTemplateCatalog();
  const { tryWalls } = await import('../../spawner/orchestrator/process/walls.ts');
  keepDescriptorsFromChildren();
  const asRoot = process.getuid?.() === 0;
  const walls = tryWalls({ asRoot, canEnter: canEnterNamespaces() });
  const podsRoot = podsRootOf({ dataDir: config.dataDir, installation, asRoot });
  const files = createDirectoryFiles({ root: join(podsRoot.root, 'files'), asRoot });
  const orchestrator = createProcessOrchestrator({
    volumes: files.mounts,
    ...podsRoot,
    installation,
    instance,
    clock,
    log,
    templates,
    postgresPackage: () => findPostgresPackage(import.meta.dirname),
    nodePath: process.execPath,
    neo4j: {
      home: config.neo4jHome,
      javaHome: config.javaHome,
      cacheDir: config.cacheDir,
      install: config.process.install,
      // Its XML parser is loaded only when something is downloaded.
      source: async () => {
        const { readMavenRepository } = await import('../../config/maven-repository.ts');
        return readMavenRepository(config.process.mavenRepository, process.env);
      },
      lock: acquireExclusiveLock,
    },
    environment: config.podEnvironment,
    hasEgress: config.process.egress !== null,
    openEnvironment,
    asRoot,
    walls,
    disk: diskLimitsOf(config),
    hide: hiddenFilesOf(config, runDir),
    connect: (place) => connectGuarded({ host: place.address, port: place.port }, place),
  });
  return {
    orchestrator,
    templates,
    allowsImages: false,
    arePodsSeparated: arePodsSeparated(orchestrator.protection),
    protection: protectionText(orchestrator.protection),
    podNetworks: orchestrator.podNetworks,
    files,
    mountProblem: orchestrator.mountProblem,
    stopAll: (signal: AbortSignal) => orchestrator.stopAll(signal),
  };
}

function diskLimitsOf({ process: { volumeSizeMiB, ephemeralStorage, files } }: Config): DiskLimits {
  return { volumeMiB: volumeSizeMiB, homeMiB: ephemeralStorage.limitMiB, files };
}

/** What pods must not see that run as the same user: keys, tokens and sockets, and the way to that user's own session. */
function hiddenFilesOf(config: Config, runDir: string) {
  const keyFiles = [config.secretKeyFile, ...config.certificates.map(({ keyFile }) => keyFile)];
  const isBelow = (path: string): boolean => path.startsWith(`${config.dataDir}/`);
  return {
    directories: [config.dataDir, ...(isBelow(runDir) ? [] : [runDir]), `/run/user/${process.getuid?.() ?? 0}`],
    files: keyFiles.filter((path) => !isBelow(path)),
  };
}
