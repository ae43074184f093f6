import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StanzaAddress } from '../../../core/pod-network.ts';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import type { PodSpec } from '../../../core/pod.ts';
import { acquireExclusiveLock } from '../../../main/exclusive-lock.ts';
import { keepDescriptorsFromChildren } from '../../../main/inherited-descriptors.ts';
import type { DiskLimits } from '../../../spawner/orchestrator/process/disk-plan.ts';
import type { ProcessLimits, ProcessOrchestratorOptions } from '../../../spawner/orchestrator/process/options.ts';
import {
  createProcessOrchestrator,
  type ProcessOrchestrator,
} from '../../../spawner/orchestrator/process/process-orchestrator.ts';
import { findPostgresPackage } from '../../../spawner/orchestrator/process/recipes/recipes.ts';
import type { Connect } from '../../../spawner/orchestrator/process/probes.ts';
import type { Walls } from '../../../spawner/orchestrator/process/room.ts';
import { createDirectoryFiles } from '../../../spawner/orchestrator/process/volumes/directory-files.ts';
import { tryWalls } from '../../../spawner/orchestrator/process/walls.ts';
import { connectGuarded } from '../../../proxy/socket/connect-guarded.ts';
import { canEnterNamespaces } from '../../../proxy/socket/network-namespace.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { workloadSpec } from '../../contract/orchestrator-harness.ts';
import { plainEnvironment } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';

export const asRoot = process.getuid?.() === 0;
keepDescriptorsFromChildren();
export const walls = tryWalls({ asRoot, canEnter: canEnterNamespaces() });
export const connectPlace: Connect = (place) => connectGuarded({ host: place.address, port: place.port }, place);
const PROJECT = join(import.meta.dirname, '..', '..', '..');

/** A directory that pods' users can pass through. */
export function temporaryRoot(): { readonly root: string; readonly remove: () => void } {
  const root = mkdtempSync(join(tmpdir(), 'podgate-pods-'));
  chmodSync(root, 0o711);
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}

export interface ProcessOrchestratorChange {
  readonly installation?: string;
  readonly instance?: string;
  readonly limits?: Partial<ProcessLimits>;
  readonly neo4jHome?: string | null;
  readonly neo4j?: Partial<ProcessOrchestratorOptions['neo4j']>;
  readonly path?: string;
  readonly walls?: Walls;
  readonly disk?: DiskLimits;
  readonly volumes?: ProcessOrchestratorOptions['volumes'];
}

export function processOptions(root: string, change: ProcessOrchestratorChange = {}): ProcessOrchestratorOptions {
  return {
    root: join(root, 'pods'),
    runtimeRoot: join(root, 'runtime'),
    installation: change.installation ?? `test-${randomUUID()}`,
    instance: change.instance ?? randomUUID(),
    clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
    log: silentLog,
    templates: createTemplateCatalog(),
    postgresPackage: () => findPostgresPackage(PROJECT),
    nodePath: process.execPath,
    neo4j: {
      home: change.neo4jHome ?? null,
      javaHome: null,
      cacheDir: join(root, 'cache'),
      install: 'never',
      source: () => Promise.reject(new Error('this test has no repository')),
      lock: acquireExclusiveLock,
      ...change.neo4j,
    },
    hasEgress: false,
    environment: { path: change.path ?? process.env['PATH'] ?? '/usr/bin:/bin', lang: 'C.UTF-8', timeZone: 'UTC' },
    openEnvironment: plainEnvironment,
    asRoot,
    walls: change.walls ?? walls,
    hide: { directories: [root], files: [] },
    connect: connectPlace,
    volumes: change.volumes ?? createDirectoryFiles({ root: join(root, 'pods', 'files'), asRoot }).mounts,
    disk: change.disk ?? { homeMiB: null, volumeMiB: null, files: null },
    // The first wait is short, so that a crash loop is seen in a blink.
    limits: { restartDelayMs: 50, ...change.limits },
  };
}

export interface RunningOrchestrator {
  readonly options: ProcessOrchestratorOptions;
  readonly orchestrator: ProcessOrchestrator;
  /** Ends the orchestrator as if its process had ended; pods live on. */
  readonly abandon: () => Promise<void>;
  /** Ends all pods as well. */
  readonly close: () => Promise<void>;
}

export function runProcessOrchestrator(options: ProcessOrchestratorOptions): RunningOrchestrator {
  const orchestrator = createProcessOrchestrator(options);
  const life = new AbortController();
  const running = orchestrator.run(life.signal);
  const abandon = async () => {
    life.abort();
    await running;
  };
  return {
    options,
    orchestrator,
    abandon,
    close: async () => {
      await orchestrator.stopAll(AbortSignal.timeout(10_000));
      await abandon();
    },
  };
}

/** A podgate/process pod that runs this JavaScript, with the ports of its stanzas in the environment. */
export function scriptPod(
  script: string,
  spec: Partial<PodSpec> = {},
  change: Partial<WorkloadSpec> = {},
): WorkloadSpec {
  return workloadSpec({ ...processSpec([process.execPath, '-e', script]), ...spec }, change);
}

export function processSpec(command: readonly string[]): Partial<PodSpec> {
  return { template: 'podgate/process', writtenTemplate: 'podgate/process', command };
}

/** Listens on every port it was given. */
export const SERVE = `
  for (const [name, port] of Object.entries(process.env))
    if (name.startsWith('PORT_')) require('node:net').createServer((c) => c.end()).listen(port, '127.0.0.1');
`;

/** A port of 127.0.0.1 that leads to a stanza of a pod, for clients that know nothing of network namespaces. */
export async function portTo(place: StanzaAddress | undefined): Promise<number> {
  if (place === undefined) throw new Error('the stanza has no address');
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const pod = connectPlace(place);
    socket.pipe(pod).pipe(socket);
    socket.on('error', () => pod.destroy());
    pod.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
