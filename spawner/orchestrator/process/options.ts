import type { Clock } from '../../../core/clock.ts';
import type { OpenEnvironment } from '../../../core/environment.ts';
import type { Logger } from '../../../core/logger.ts';
import type { TemplateCatalog } from '../../../core/template.ts';
import type { DiskLimits } from './disk-plan.ts';
import type { PortRange } from './ports.ts';
import type { Connect } from './probes.ts';
import type { Neo4jSettings } from './recipes/neo4j/neo4j-home.ts';
import type { Neo4jInstallSettings } from './recipes/neo4j/neo4j-provider.ts';
import type { HiddenFiles, Walls } from './room.ts';
import type { VolumeMounts } from './volumes/volume-mounts.ts';

export interface ProcessOrchestratorOptions {
  /** Workloads and volumes. Under root other users must be able to reach it. */
  readonly root: string;
  /** Copied programs, made once per version; may be shared by several installations. */
  readonly runtimeRoot: string;
  /** Name of this installation (of its store): in the marker of everything it starts. */
  readonly installation: string;
  /** Random, one per run of the supervisor: workloads of the same are taken over, those of another are ended. */
  readonly instance: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly templates: TemplateCatalog;
  /** Directory of the npm package with Postgres for this platform, or null (see findPostgresPackage). */
  readonly postgresPackage: () => string | null;
  readonly nodePath: string;
  readonly neo4j: Omit<Neo4jSettings & Neo4jInstallSettings, 'path'>;
  /** What pods get of the program's own environment. */
  readonly environment: { readonly path: string; readonly lang: string | null; readonly timeZone: string | null };
  /** Pods with a network of their own find a way out of it on EGRESS_PORT. */
  readonly hasEgress: boolean;
  readonly openEnvironment: OpenEnvironment;
  /** Pods run as users of their own. */
  readonly asRoot: boolean;
  readonly walls: Walls;
  /** Podgate's own, which pods must not see where they run as the same user. */
  readonly hide: Omit<HiddenFiles, 'kept'>;
  readonly connect: Connect;
  /** Of each pod. */
  readonly disk: DiskLimits;
  /** Named volumes that pods mount. */
  readonly volumes: VolumeMounts;
  readonly limits?: Partial<ProcessLimits>;
}

export interface ProcessLimits {
  /** Of what one workload prints, on disk. */
  readonly outputMaxBytes: number;
  /** How often it is checked who listens on the ports of pods that share a network. */
  readonly listenersCheckMs: number;
  /** How often the free space of the disk is asked for. */
  readonly diskCheckMs: number;
  /** Wait after the first failure of a program; it doubles with each. */
  readonly restartDelayMs: number;
  readonly portRange: PortRange;
  /** Callers wait this long for the first look at what an earlier process has left. */
  readonly firstLookMs: number;
  /** stopAll asks for this long before it kills. */
  readonly stopAllGraceMs: number;
}
