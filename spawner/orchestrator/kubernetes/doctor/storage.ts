import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';
import { type JsonRecord, recordAt, textAt } from '../api/json.ts';

const SUBJECT = 'storage';

/**
 * What the storage class of the volumes means for pods and Redis. `wanted` null = the cluster's default; `drivers` are the
 * names of CSI drivers, null = they cannot be seen. Pure.
 */
export function judgeStorage(
  classes: readonly JsonRecord[],
  wanted: string | null,
  drivers: readonly string[] | null,
  setting = 'kubernetes.storageClass',
): readonly Finding[] {
  const defaults = classes.filter(isDefault);
  const found = wanted === null ? defaults.toSorted(byAge)[0] : classes.find((item) => nameOf(item) === wanted);
  if (found === undefined) {
    return [
      wanted === null
        ? fail(
            SUBJECT,
            'The cluster has no default storage class: Redis and pods with volumes never start.',
            'Mark one as the default, or set kubernetes.storageClass.',
          )
        : fail(SUBJECT, `There is no storage class ${wanted}.`, `Correct ${setting}.`),
    ];
  }
  const name = nameOf(found);
  const findings = [ok(SUBJECT, `Volumes are created by the storage class ${name} (${textAt(found, 'provisioner')}).`)];
  if (wanted === null && defaults.length > 1) {
    findings.push(
      warn(
        SUBJECT,
        `${defaults.length} storage classes are marked as the default; the cluster uses the newest, ${name}.`,
        'Unmark the others, or set kubernetes.storageClass.',
      ),
    );
  }
  if (textAt(found, 'volumeBindingMode') !== 'WaitForFirstConsumer') {
    findings.push(
      warn(
        SUBJECT,
        `${name} creates volumes before their pod is scheduled (volumeBindingMode Immediate).`,
        'In a cluster with several zones, a pod may never be schedulable: use a class with WaitForFirstConsumer.',
      ),
    );
  }
  if (textAt(found, 'reclaimPolicy') === 'Retain') {
    findings.push(
      warn(
        SUBJECT,
        `${name} keeps the data of deleted pods (reclaimPolicy Retain).`,
        'Remove released PersistentVolumes yourself, or use a class with Delete.',
      ),
    );
  }
  if (found['allowVolumeExpansion'] !== true) {
    findings.push(
      warn(
        SUBJECT,
        `Volumes of ${name} cannot be enlarged (allowVolumeExpansion).`,
        'Make the volume of Redis, and kubernetes.volumeSizeMiB, large enough from the start.',
      ),
    );
  }
  // The kubelet and the scheduler enforce it for CSI volumes only (GA since 1.29).
  if (drivers !== null && !drivers.includes(textAt(found, 'provisioner'))) {
    findings.push(
      warn(
        SUBJECT,
        `${name} does not use a CSI driver: nothing enforces ReadWriteOncePod there.`,
        'Two pods on one node could mount the same volume; Podgate never does this, but others may.',
      ),
    );
  }
  return findings;
}

function isDefault(storageClass: JsonRecord): boolean {
  const annotations = recordAt(recordAt(storageClass, 'metadata'), 'annotations');
  return textAt(annotations, 'storageclass.kubernetes.io/is-default-class') === 'true';
}

/** Newest first, as the admission plugin chooses. */
function byAge(one: JsonRecord, other: JsonRecord): number {
  const made = (item: JsonRecord): string => textAt(recordAt(item, 'metadata'), 'creationTimestamp');
  return made(other).localeCompare(made(one)) || nameOf(one).localeCompare(nameOf(other));
}

function nameOf(object: JsonRecord): string {
  return textAt(recordAt(object, 'metadata'), 'name');
}
