import { actionLine } from '../core/action-log.ts';
import type { Clock } from '../core/clock.ts';
import { ERRORS, PodgateError } from '../core/errors.ts';
import type { LifecycleChange } from '../core/lifecycle/plan.ts';
import { planSpawn, planSpawnResult } from '../core/lifecycle/spawn.ts';
import type { LogStore } from '../core/log-store.ts';
import type { EnsureResult, Workloads, WorkloadSpec } from '../core/workloads.ts';
import type { Credentials, PodRecord } from '../core/pod.ts';
import { podPut } from '../core/pod-put.ts';
import { type DataOrigin, resolveOrigin } from '../core/data-origin.ts';
import { resolveMounts } from '../core/resolve-mounts.ts';
import { resolveSpec } from '../core/resolve-secrets.ts';
import type { Store, Stored } from '../core/store.ts';
import type { TemplateCatalog } from '../core/template.ts';
import type { Vault } from '../core/vault.ts';

/** This many consecutive conflicts are not a coincidence: the key is returned to the queue. */
const CONFLICTS_MAX = 10;

export interface SpawnParts {
  readonly store: Store;
  readonly logs: LogStore;
  readonly orchestrator: Pick<Workloads, 'ensure'>;
  readonly vault: Vault;
  readonly templates: TemplateCatalog;
  readonly clock: Clock;
  /** Public host name of each routed stanza of a pod. */
  readonly hostsOf: (record: PodRecord) => Readonly<Record<string, string>>;
  readonly publicHttpsPort: number;
}

/** What to do with the key. */
export type SpawnOutcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'later'; readonly delayMs: number }
  /** An older workload is still being removed. */
  | { readonly kind: 'wait'; readonly reason: string };

/**
 * Takes a pod from REQUESTED to CREATING_CONTAINER, or records why that failed. Can be repeated, and interrupted at any
 * point. Throws if the store or the orchestrator does not respond; nothing is left half-done then.
 */
export async function spawnPod(parts: SpawnParts, key: string, signal: AbortSignal): Promise<SpawnOutcome> {
  const claimed = await claimPod(parts, key);
  if (claimed.kind !== 'claimed') return claimed;
  const { record, revision } = claimed;
  const { applied } = record;
  if (applied === null) return { kind: 'done' };
  const attempted = { uid: record.uid, generation: applied.generation, run: applied.run };

  const credentials = await credentialsOf(parts, key, record, applied.spec.template);
  const result: EnsureResult =
    credentials.kind === 'failed'
      ? credentials
      : await ensureResolved(parts, { record, revision }, applied, credentials, signal);
  if (result.kind === 'wait') return result;
  return note(parts, key, attempted, result);
}

interface Revised {
  readonly record: PodRecord;
  readonly revision: number;
}

type Claimed = ({ readonly kind: 'claimed' } & Revised) | Exclude<SpawnOutcome, { kind: 'wait' }>;

async function claimPod(parts: SpawnParts, key: string): Promise<Claimed> {
  for (let conflicts = 0; conflicts < CONFLICTS_MAX; conflicts += 1) {
    const stored = await parts.store.get('pod', key);
    if (stored === null) return { kind: 'done' };
    const step = planSpawn(stored.value, parts.clock.now());
    switch (step.kind) {
      case 'skip':
        return { kind: 'done' };
      case 'later':
        return { kind: 'later', delayMs: step.delayMs };
      case 'ensure':
        return { kind: 'claimed', record: stored.value, revision: stored.revision };
      case 'claim': {
        const written = await write(parts, stored, step.change, step.log);
        if (written !== null) return { kind: 'claimed', ...written };
      }
    }
  }
  return { kind: 'later', delayMs: 0 };
}

/** The record as written, or null if it was modified concurrently: read it again, the desired state may have changed. */
async function write(
  parts: SpawnParts,
  stored: Stored<'pod'>,
  change: LifecycleChange,
  log: string,
): Promise<Revised | null> {
  const nowMs = parts.clock.now();
  const record: PodRecord = { ...stored.value, ...change, updatedAtMs: nowMs };
  const result = await parts.store.commit({ puts: [podPut(record, stored.revision)] });
  if (result.kind !== 'committed') return null;
  await parts.logs.appendAction(record.uid, actionLine(nowMs, log));
  return { record, revision: result.commit };
}

/** Secrets are resolved only in the workload's spec. The record, and its copies in annotations, keep the references. */
async function ensureResolved(
  parts: SpawnParts,
  revised: Revised,
  applied: NonNullable<PodRecord['applied']>,
  credentials: OpenedCredentials,
  signal: AbortSignal,
): Promise<EnsureResult> {
  const { record } = revised;
  const resolved = await resolveSpec(parts, record, applied.spec, { hosts: parts.hostsOf(record) });
  if (resolved.kind === 'failed') return { ...resolved, retryable: false };
  const mounted = await resolveMounts(parts.store, record.tenant, applied.spec);
  if (mounted.kind === 'failed') return { ...mounted, retryable: false };
  const origin = await resolveOrigin(parts.store, record);
  const { mounts } = mounted;
  return await ensure(parts, revised, { ...applied, spec: resolved.spec, mounts, origin }, credentials, signal);
}

async function ensure(
  parts: SpawnParts,
  { record, revision }: Revised,
  applied: NonNullable<PodRecord['applied']> &
    Required<Pick<WorkloadSpec, 'mounts'>> & { readonly origin: DataOrigin | null },
  { credentials, sealed }: OpenedCredentials,
  signal: AbortSignal,
): Promise<EnsureResult> {
  const { storeId } = await parts.store.identity();
  // A spawner that was paused in between uses an outdated record: this lets the orchestrator detect that.
  return parts.orchestrator.ensure(
    {
      tenant: record.tenant,
      podId: record.podId,
      uid: record.uid,
      generation: applied.generation,
      run: applied.run,
      spec: applied.spec,
      createdBy: record.createdBy,
      credentials,
      ...(applied.mounts.length === 0 ? {} : { mounts: applied.mounts }),
      ...(applied.origin === null ? {} : { origin: applied.origin }),
      hosts: parts.hostsOf(record),
      publicHttpsPort: parts.publicHttpsPort,
      annotations: { storeId, commit: revision, record: JSON.stringify(record), credential: sealed },
    },
    signal,
  );
}

/** Works on a fresh read, so that a concurrent change of the desired state wins. */
async function note(
  parts: SpawnParts,
  key: string,
  attempted: { readonly uid: string; readonly generation: number; readonly run: number },
  result: Exclude<EnsureResult, { kind: 'wait' }>,
): Promise<SpawnOutcome> {
  for (let conflicts = 0; conflicts < CONFLICTS_MAX; conflicts += 1) {
    const stored = await parts.store.get('pod', key);
    if (stored === null) return { kind: 'done' };
    const step = planSpawnResult(stored.value, attempted, result, parts.clock.now());
    if (step === null) return { kind: 'done' };
    if ((await write(parts, stored, step.change, step.log)) === null) continue;
    if (result.kind === 'ensured' && result.note !== undefined) {
      await parts.logs.appendAction(stored.value.uid, actionLine(parts.clock.now(), result.note));
    }
    return step.retryMs === null ? { kind: 'done' } : { kind: 'later', delayMs: step.retryMs };
  }
  return { kind: 'later', delayMs: 0 };
}

/** Records on the pod why nothing happens, in sentences for users. Details go to the operator's log. */
export async function noteParked(parts: SpawnParts, key: string, error: unknown): Promise<void> {
  const stored = await parts.store.get('pod', key);
  if (stored === null || stored.value.wish !== 'ON' || stored.value.deleting !== null) return;
  const why = error instanceof PodgateError ? error.publicMessages.join(' ') : ERRORS['api.internal'].message;
  const message = `It failed to start repeatedly: ${why} Podgate retries in ten minutes, or when you restart it.`;
  const statusContainer = {
    phase: 'parked',
    message,
    startTime: null,
    exitCode: null,
    signal: null,
    restarts: 0,
  };
  await write(parts, stored, { statusContainer }, `spawner parked the pod: ${message}`);
}

interface OpenedCredentials {
  readonly credentials: Credentials | null;
  /** As they are stored. */
  readonly sealed: string | null;
}

type Opened =
  | ({ readonly kind: 'opened' } & OpenedCredentials)
  | { readonly kind: 'failed'; readonly reason: string; readonly retryable: false };

async function credentialsOf(parts: SpawnParts, key: string, record: PodRecord, template: string): Promise<Opened> {
  if ((parts.templates.find(template)?.credentials ?? null) === null)
    return { kind: 'opened', credentials: null, sealed: null };
  const stored = await parts.store.get('credential', key);
  if (stored?.value.uid !== record.uid) {
    return { kind: 'failed', reason: 'This pod has no credentials: delete it and create it again.', retryable: false };
  }
  try {
    const { sealed } = stored.value;
    const opened: unknown = JSON.parse(parts.vault.open(sealed, record.uid));
    if (isCredentials(opened)) return { kind: 'opened', credentials: opened, sealed };
    return { kind: 'failed', reason: 'The credentials of this pod cannot be read.', retryable: false };
  } catch (error) {
    // The message of JSON.parse quotes the text, so it is never passed on.
    const reason = error instanceof PodgateError ? ERRORS[error.code].message : 'The credentials cannot be read.';
    return { kind: 'failed', reason, retryable: false };
  }
}

function isCredentials(value: unknown): value is Credentials {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'username' in value &&
    typeof value.username === 'string' &&
    'password' in value &&
    typeof value.password === 'string'
  );
}
