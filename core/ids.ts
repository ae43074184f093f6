/**
 * Names: what a pod, a stanza, a host and a workload may be called, and how one is made from the other.
 * A host label and a workload (Kubernetes Service) name have at most 63 characters (RFC 1035 2.3.4, RFC 1123 2.1).
 */
const LABEL_MAX_LENGTH = 63;
const POD_ID_MIN_LENGTH = 3;
const STANZA_MIN_LENGTH = 3;
export const DEFAULT_STANZA = 'default';

const POD_ID = /^[a-z][a-z0-9]+$/;
const STANZA = /^[a-z0-9]+$/;

/** Ids that are, or may become, path segments next to `/pods/{pod_id}`. */
export const RESERVED_POD_IDS: ReadonlySet<string> = new Set(
  (
    'admin catalog catalogs certificate certificates connections docs events healthcheck image images jupyter metrics ' +
    'node nodes openapi permissions secret secrets snapshot snapshots stack stacks template templates volume volumes'
  ).split(' '),
);

/** The site and tenant a pod belongs to; both are part of its workload's name. */
export interface Place {
  readonly site: string;
  readonly tenant: string;
}

/** One sentence about what is wrong with a pod id, or null. `stanzas` are the names of its networking. */
export function podIdProblem(podId: string, place: Place, stanzas: readonly string[]): string | null {
  if (!POD_ID.test(podId)) return 'must start with a lowercase letter and contain only lowercase letters and digits';
  if (podId.length < POD_ID_MIN_LENGTH) return `must have at least ${POD_ID_MIN_LENGTH} characters`;
  if (RESERVED_POD_IDS.has(podId)) return 'is reserved';
  const most = podIdMaxLength(place, stanzas);
  if (podId.length > most) {
    return `must have at most ${most} characters here (host label and workload name are limited to ${LABEL_MAX_LENGTH})`;
  }
  return null;
}

/** The longest pod id that leaves room for the workload name and for the longest host label. */
export function podIdMaxLength(place: Place, stanzas: readonly string[]): number {
  const longestSuffix = Math.max(
    0,
    ...stanzas.filter((name) => name !== DEFAULT_STANZA).map((name) => name.length + 1),
  );
  return LABEL_MAX_LENGTH - Math.max(longestSuffix, workloadName({ ...place, podId: '' }).length);
}

/** One sentence about what is wrong with a stanza name, or null. */
export function stanzaProblem(stanza: string): string | null {
  if (!STANZA.test(stanza)) return 'must contain only lowercase letters and digits';
  if (stanza.length < STANZA_MIN_LENGTH) return `must have at least ${STANZA_MIN_LENGTH} characters`;
  if (stanza.length > LABEL_MAX_LENGTH - POD_ID_MIN_LENGTH - 1) {
    return `must have at most ${LABEL_MAX_LENGTH - POD_ID_MIN_LENGTH - 1} characters`;
  }
  return null;
}

/** `<pod>.pods.<base host>` for the default stanza, `<pod>-<stanza>.pods.<base host>` for the others. */
export function podHost(podId: string, stanza: string, baseHost: string): string {
  return `${stanza === DEFAULT_STANZA ? podId : `${podId}-${stanza}`}.pods.${baseHost}`;
}

/** Name of the workload and of its service: `pods-<site>-<tenant>-<pod_id>`. Never parsed back: labels tell. */
export function workloadName(pod: Place & { readonly podId: string }): string {
  return `pods-${pod.site}-${pod.tenant}-${pod.podId}`;
}

/** Key of a pod in store and queue. Tenant ids and pod ids hold no slash. */
export function podKey(tenant: string, podId: string): string {
  return `${tenant}/${podId}`;
}
