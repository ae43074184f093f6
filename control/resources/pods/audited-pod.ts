import type { PodRecord } from '../../../core/pod.ts';
import { type AuditedFields, HiddenValue } from '../../objects/audit/audit-changes.ts';
import { stanzaAnswer, volumeMountAnswer } from './response.ts';
import { sleepAnswer } from './sleep/sleep-rules.ts';
import { wireFields } from './wire-names.ts';

/** What the audit log says of a pod. Of environment variables, it says which: values are not for everyone who reads it. */
export function auditedPod({ spec, wish, timeToStopInstance, clonedFrom }: PodRecord): AuditedFields {
  const { environmentVariables, secretMap = {}, volumeMounts, networking, fromTemplate } = spec;
  return {
    template: fromTemplate?.reference ?? spec.template,
    ...{ description: spec.description, command: spec.command, arguments: spec.arguments },
    environment_variables: Object.fromEntries(
      Object.entries(environmentVariables).map(([name, value]) => [name, new HiddenValue(JSON.stringify(value))]),
    ),
    secret_map: Object.fromEntries(Object.entries(secretMap).map(([key, { reference }]) => [key, reference])),
    networking: Object.fromEntries(Object.entries(networking).map(([name, stanza]) => [name, stanzaAnswer(stanza)])),
    volume_mounts: Object.fromEntries(volumeMounts.map(volumeMountAnswer)),
    resources: wireFields(spec.resources),
    persistent_volume: spec.persistentVolume,
    ...(clonedFrom === undefined ? {} : { cloned_from: clonedFrom.podId }),
    ...(clonedFrom?.snapshotId === undefined ? {} : { cloned_from_snapshot: clonedFrom.snapshotId }),
    status_requested: wish,
    time_to_stop_default: spec.timeToStopDefault,
    time_to_stop_instance: timeToStopInstance,
    sleep: sleepAnswer(spec),
  };
}
