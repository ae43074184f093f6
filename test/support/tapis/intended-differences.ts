import type { Difference, TapisDocument } from './documents.ts';

/** Fields that neither document has, by schema. docs/tapis-compatibility.md names them all. */
export const OWN_FIELDS: Readonly<Record<string, readonly string[]>> = {
  NewPod: ['routing_port', 'persistent_volume', 'sleep'],
  UpdatePod: ['routing_port', 'persistent_volume', 'sleep'],
  PodResponseModel: [
    'routing_port',
    'persistent_volume',
    'cloned_from',
    'sleep',
    'asleep_since',
    'last_used_ts',
    'awake_because',
  ],
  Networking: ['public_port', 'backend_protocol', 'proxy_protocol', 'speaks_first', 'tls', 'client_ca'],
  SecretResponseModel: ['update_ts'],
  VolumeResponseModel: ['message'],
  NewSnapshot: ['source_pod_id'],
  SnapshotResponseModel: ['message', 'scheduled_by', 'source_pod_id'],
};

/** The same schema under its other name. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  Resources: 'models_pods__Resources',
  models_pods__Resources: 'Resources',
};

/** Is this one of the differences that docs/tapis-compatibility.md describes? `documents`: both. */
export function isIntended(difference: Difference, documents: readonly TapisDocument[]): boolean {
  const { version, place, kind } = difference;
  switch (kind) {
    case 'more': {
      const { field } = difference;
      // Both generations of clients work at once: what one of them writes or reads is there for the other, too.
      const isOfOther = documents.some((each) => each.describes(OTHER_NAMES[place] ?? place, field));
      return isOfOther || documents.some((each) => each.describes(place, field)) || ownField(place, field);
    }
    case 'missing':
      // A snapshot of the data of a pod names that instead.
      if (place === 'NewSnapshot' && /^source_volume_(id|path)$/.test(difference.field)) return true;
      // Newer clients name a template or an image instead.
      return version === '1.6.0' && place === 'NewPod' && difference.field === 'pod_template';
    case 'other': {
      const { rule, value } = difference;
      // The document of 1.6.0 cannot say that a field may be null; the service of that version returns it.
      if (version === '1.6.0' && value === null) return true;
      // The web interface sends numbers as digits in strings.
      return rule === 'type integer' && typeof value === 'string' && /^-?\d+$/.test(value);
    }
  }
}

function ownField(place: string, field: string): boolean {
  return OWN_FIELDS[place]?.includes(field) === true;
}
