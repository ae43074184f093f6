import { actionLine } from '../../../core/action-log.ts';
import type { Clock } from '../../../core/clock.ts';
import { errorText } from '../../../core/errors.ts';
import type { PodConnectionsReader } from '../../../core/pod-connections-reader.ts';
import type { PodTrafficReader } from '../../../core/pod-traffic.ts';
import type { RouteFeed } from '../../../core/feed-protocol.ts';
import type { LogStore } from '../../../core/log-store.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Orchestrator } from '../../../core/orchestrator.ts';
import type { WorkloadLogs } from '../../../core/workload-logs.ts';
import type { Store } from '../../../core/store.ts';
import type { TemplateCatalog } from '../../../core/template.ts';
import type { Vault } from '../../../core/vault.ts';
import type { Admission } from '../../objects/quota/admission.ts';
import type { UsageOf } from '../../objects/quota/count-usage.ts';
import type { PodLimits } from './pod-limits.ts';
import type { PodSchemas } from './schema.ts';
import type { TemplateTags } from './template-tags.ts';

/** What the use cases work with. */
export interface PodParts {
  readonly store: Store;
  readonly logs: LogStore;
  readonly orchestrator: WorkloadLogs & Pick<Orchestrator, 'shell' | 'output' | 'clones' | 'metrics'>;
  readonly vault: Vault;
  /** Those that come with the program. */
  readonly templates: TemplateCatalog;
  /** Of the templates that users make. */
  readonly tags: TemplateTags;
  readonly schemas: PodSchemas;
  readonly feed: RouteFeed;
  readonly connections: PodConnectionsReader;
  readonly traffic: PodTrafficReader;
  readonly clock: Clock;
  readonly log: Logger;
  readonly site: string;
  readonly limits: PodLimits;
  readonly admission: Admission;
  readonly usageOf: UsageOf;
  readonly allowsImages: boolean;
  /** Why pods cannot mount named volumes, for users; null: they can. Default: there are none. */
  readonly mountProblem?: string | null;
  /** Of the configuration: for every tenant. */
  readonly imageAllowList: readonly string[];
  /** The tenant whose administrators allow images for the others as well; null: none. */
  readonly siteAdminTenant: string | null;
  readonly randomBytes: (size: number) => Uint8Array;
  readonly newUid: () => string;
}

/**
 * Adds a line to action_logs. The record is written by then and is what counts: a log that cannot be written is told to
 * the operator and never fails the call.
 */
export async function noteAction(
  parts: Pick<PodParts, 'logs' | 'clock' | 'log'>,
  pod: { readonly uid: string; readonly tenant: string; readonly podId: string },
  text: string,
): Promise<void> {
  try {
    await parts.logs.appendAction(pod.uid, actionLine(parts.clock.now(), text));
  } catch (error) {
    const { uid, tenant, podId } = pod;
    parts.log.warn({ uid, tenant, podId, error: errorText(error) }, 'failed to write a line of action_logs');
  }
}
