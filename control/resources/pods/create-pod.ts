import { compareAndSet } from '../../../core/compare-and-set.ts';
import { PodgateError } from '../../../core/errors.ts';
import { podKey } from '../../../core/ids.ts';
import { startRunChange } from '../../../core/lifecycle/plan.ts';
import type { Credentials, PodRecord, PodSpec } from '../../../core/pod.ts';
import { podPut } from '../../../core/pod-put.ts';
import { NO_USAGE } from '../../../core/quota.ts';
import type { Put } from '../../../core/store.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { allowedImages } from './allowed-images.ts';
import { alphanumericSecret } from './alphanumeric-secret.ts';
import { auditObject } from '../../objects/audit/object-writes.ts';
import { admissionLane, ATTEMPTS_MAX, tooManyConflicts } from '../../objects/change.ts';
import { podEnqueue, podObjects } from './pod-objects.ts';
import type { KeyedMutex } from '../../objects/keyed-mutex.ts';
import { noteAction, type PodParts } from './pod-parts.ts';
import { requireSecrets } from './map-secrets.ts';
import { requireMounts } from './named-mounts.ts';
import { specOfNewPod } from './rules.ts';
import { ruleContext } from './rule-context.ts';
import { expandTemplate } from './template-fields.ts';
import type { WrittenPod } from './written-pod.ts';

const PASSWORD_LENGTH = 30;

/** What makes a new pod a clone. */
export interface CloneOf extends Required<Pick<PodRecord, 'clonedFrom'>> {
  /** Of its credentials: the data has it. */
  readonly username: string;
}

/**
 * Creates a pod: one commit that writes the record and its sealed credentials and makes the key due for the spawner -
 * all or nothing. Wished ON it is REQUESTED from the start, wished OFF it is STOPPED. Throws 'api.invalid' with all that
 * is wrong, 'api.conflict' when the id is taken (also by a pod on its way out), 'api.forbidden' beyond a quota.
 */
export async function createPod(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  body: WrittenPod,
  clone?: CloneOf,
): Promise<PodRecord> {
  const uid = parts.newUid();
  const { podTemplate } = body.fields;
  const { written, origin } = await expandTemplate(
    { ...parts, imageAllowList: await allowedImages(parts, caller.tenant, [podTemplate]) },
    caller,
    body,
  );
  const runs = [written.fields.podTemplate, written.fields.template, written.fields.image];
  const imageAllowList = await allowedImages(parts, caller.tenant, runs);
  const context = ruleContext({ ...parts, imageAllowList }, { tenant: caller.tenant, uid }, caller.username);
  const ruled = specOfNewPod(written, context);
  if (ruled.kind === 'refused') throw new PodgateError('api.invalid', { publicMessages: ruled.problems });
  const { podId } = ruled.value;
  const spec = { ...ruled.value.spec, ...origin };
  const record = {
    ...newRecord(parts, caller, { uid, podId, spec }, written),
    ...(clone === undefined ? {} : { clonedFrom: clone.clonedFrom }),
  };
  await requireSecrets(parts, record, spec, caller.username);
  await requireMounts(parts, record, spec, caller.username);
  const key = podKey(caller.tenant, podId);

  const credential = credentialPut(parts, record, clone?.username);
  const attempt = async (): Promise<true | null> => {
    const existing = await parts.store.get('pod', key);
    if (existing !== null) {
      // A commit may be done and its answer lost on the way: then what is there is ours.
      if (existing.value.uid === record.uid) return true;
      throw taken(podId, existing.value);
    }
    const usage = await parts.admission.admit(record, NO_USAGE, parts.usageOf(record));
    const act = { caller, atMs: record.createdAtMs, before: null, after: record };
    const audit = await auditObject(podObjects(parts), parts.store, act);
    const result = await parts.store.commit({
      puts: [podPut(record, 'absent'), ...credential, ...usage, ...audit.puts],
      ...(record.status === 'REQUESTED' ? { enqueue: [podEnqueue(record)] } : {}),
    });
    // Null: the id is taken, or somebody of this tenant was let in elsewhere, as the next attempt will see.
    return result.kind === 'committed' ? true : null;
  };
  const isCreated = await mutex.run(admissionLane(record), () => compareAndSet(attempt, ATTEMPTS_MAX));
  if (isCreated === null) throw tooManyConflicts({ noun: 'pod' }, podId);
  const of = clone === undefined ? '' : ` as a clone of ${clone.clonedFrom.podId}`;
  await noteAction(parts, record, `Pod object created by '${caller.username}'${of}`);
  return record;
}

function newRecord(
  parts: PodParts,
  caller: Caller,
  { uid, podId, spec }: Pick<PodRecord, 'uid' | 'podId' | 'spec'>,
  { fields }: WrittenPod,
): PodRecord {
  const nowMs = parts.clock.now();
  const stopped: PodRecord = {
    uid,
    tenant: caller.tenant,
    podId,
    createdBy: caller.username,
    generation: 1,
    spec,
    applied: null,
    run: 0,
    wish: 'OFF',
    status: 'STOPPED',
    deleting: null,
    permissions: { [caller.username]: 'ADMIN' },
    timeToStopInstance: fields.timeToStopInstance ?? null,
    statusContainer: null,
    attempts: 0,
    notBeforeMs: 0,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    startInstanceMs: null,
  };
  // A restart of what does not run yet is a start.
  return fields.statusRequested === 'OFF' ? stopped : { ...stopped, ...startRunChange(stopped) };
}

function credentialPut(parts: PodParts, record: PodRecord, username?: string): readonly Put[] {
  const { uid, tenant, podId, spec } = record;
  const credentials = credentialsOf(parts, spec, username ?? podId);
  if (credentials === null) return [];
  const sealed = parts.vault.seal(JSON.stringify(credentials), uid);
  return [
    {
      kind: 'credential',
      key: podKey(tenant, podId),
      expected: 'absent',
      value: { uid, tenant, podId, sealed },
      tenant,
      indexes: [],
    },
  ];
}

function credentialsOf(parts: PodParts, spec: PodSpec, otherwise: string): Credentials | null {
  const credentials = parts.templates.find(spec.template)?.credentials ?? null;
  if (credentials === null) return null;
  return {
    username: credentials.username ?? otherwise,
    password: alphanumericSecret(PASSWORD_LENGTH, parts.randomBytes),
  };
}

function taken(podId: string, record: PodRecord | null): PodgateError {
  const sentence =
    record !== null && record.deleting !== null
      ? `Pod ${podId} is still being deleted; try again in a moment.`
      : `There is already a pod ${podId}.`;
  return new PodgateError('api.conflict', { publicMessages: [sentence] });
}
