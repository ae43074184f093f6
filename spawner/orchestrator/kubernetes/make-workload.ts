import { type OpenEnvironment, UNREADABLE_ENVIRONMENT } from '../../../core/environment.ts';
import type { EnsureResult, WorkloadSpec } from '../../../core/workloads.ts';
import type { TemplateCatalog } from '../../../core/template.ts';
import { createFailure } from './api/refusal.ts';
import type { ClusterObjects } from './cluster-objects.ts';
import type { FilesClaims } from './files/claims.ts';
import type { ManifestContext } from './manifests/metadata.ts';
import { networkPolicyManifest } from './manifests/network-policy.ts';
import { podManifest } from './manifests/pod.ts';
import { secretManifest } from './manifests/secret.ts';
import { serviceManifest } from './manifests/service.ts';
import { claimedVolumes, claimManifest } from './manifests/volumes.ts';
import { claimName, type Collection, objectName, type OwnedObject, secretName } from './objects.ts';
import type { KubernetesSettings } from './options.ts';
import { environmentKey, type Recipe } from './recipes/recipe.ts';
import { recipeOf } from './recipes/recipes.ts';

/** One object to be made. */
interface Wanted {
  readonly collection: Collection;
  readonly name: string;
  /** For sentences. */
  readonly what: string;
  readonly manifest: object;
}

/** What an object that is there already means for one that is to be made. */
export type Standing =
  /** It is the one. */
  | { readonly kind: 'same' }
  /** On its way out, or newer than what is asked for. */
  | { readonly kind: 'wait'; readonly reason: string }
  /** Of an older workload, which is to be removed first. */
  | { readonly kind: 'older' };

const NO_SHARING =
  'In a cluster, a pod of this template that has a volume of its own cannot mount named volumes: remove persistent_volume, or volume_mounts.';

export interface MakeParts {
  readonly objects: ClusterObjects;
  readonly claims: Pick<FilesClaims, 'ensure'>;
  readonly templates: TemplateCatalog;
  readonly settings: KubernetesSettings;
  readonly openEnvironment: OpenEnvironment;
  /** Starts the removal of a whole older workload. */
  readonly removeOlder: (older: OwnedObject, signal: AbortSignal) => Promise<void>;
}

/**
 * Makes what is not there: Service, policy, volumes and Secret, then the Pod, which needs them all and is fenced by
 * them. Creates first and looks only where something is in the way: mostly nothing is.
 */
export async function makeWorkload(
  parts: MakeParts,
  workload: WorkloadSpec,
  signal: AbortSignal,
): Promise<EnsureResult> {
  const found = recipeOf(workload, parts.templates, parts.settings);
  if (found.kind === 'refused') return { kind: 'failed', reason: found.reason, retryable: false };
  const mounts = workload.mounts ?? [];
  if (mounts.length > 0 && found.recipe.user !== null && claimedVolumes(workload, found.recipe).length > 0) {
    // The kubelet gives all volumes of a pod to one group: to that of the database, or to that of those who share a volume.
    return { kind: 'failed', reason: NO_SHARING, retryable: false };
  }
  const environment = openedEnvironment(parts, workload);
  if (typeof environment === 'string') return { kind: 'failed', reason: environment, retryable: false };
  for (const { ref, sizeLimitMiB } of mounts) {
    const claim = await parts.claims.ensure(ref, sizeLimitMiB, signal);
    if (claim.kind === 'refused') return { kind: 'failed', ...createFailure(claim.refusal, 'volume') };
    if (claim.kind === 'deleting') return { kind: 'wait', reason: `the ${ref.kind} ${ref.id} is being deleted` };
  }
  for (const wanted of wantedObjects({ workload, settings: parts.settings }, found.recipe, environment)) {
    const result = await makeObject(parts, wanted, workload, signal);
    if (result !== null) return result;
  }
  return { kind: 'ensured' };
}

/** A sentence when no key opens it. */
function openedEnvironment(
  { openEnvironment }: MakeParts,
  { uid, spec }: WorkloadSpec,
): Readonly<Record<string, string>> | string {
  try {
    return openEnvironment(uid, spec.environmentVariables);
  } catch {
    return UNREADABLE_ENVIRONMENT;
  }
}

/** Pure; in the order of making. */
export function wantedObjects(
  context: ManifestContext,
  recipe: Recipe,
  environment: Readonly<Record<string, string>>,
): readonly Wanted[] {
  const { workload, settings } = context;
  const name = objectName(settings.site, workload);
  const secret = { ...recipe.secret, ...secretEnvironment(environment) };
  return [
    { collection: 'services', name, what: 'service', manifest: serviceManifest(context) },
    { collection: 'networkpolicies', name, what: 'network policy', manifest: networkPolicyManifest(context) },
    ...claimedVolumes(workload, recipe).map((volume) => ({
      collection: 'persistentvolumeclaims' as const,
      name: claimName(settings.site, workload, volume),
      what: 'volume',
      manifest: claimManifest(context, volume),
    })),
    ...(Object.keys(secret).length === 0
      ? []
      : [
          {
            collection: 'secrets' as const,
            name: secretName(settings.site, workload),
            what: 'secret',
            manifest: secretManifest(context, secret),
          },
        ]),
    { collection: 'pods', name, what: 'pod', manifest: podManifest(context, recipe) },
  ];
}

/** The values of variables are in the Secret alone: who may read Pods of the namespace need not see them. */
function secretEnvironment(environment: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(environment).map(([name, value]) => [environmentKey(name), value]));
}

/** Null: it is there. */
async function makeObject(
  { objects, removeOlder }: MakeParts,
  { collection, name, what, manifest }: Wanted,
  workload: WorkloadSpec,
  signal: AbortSignal,
): Promise<EnsureResult | null> {
  const created = await objects.create(collection, manifest, signal);
  if (created.kind === 'created') return null;
  if (created.kind === 'refused') return { kind: 'failed', ...createFailure(created.refusal, what) };
  const found = await objects.read(collection, name, signal);
  if (found.kind === 'none') return { kind: 'wait', reason: `its former ${what} was only just removed` };
  if (found.kind === 'strange') {
    const reason = `An object in the cluster that is not managed by Podgate has the name ${name}: an operator must remove it.`;
    return { kind: 'failed', reason, retryable: true };
  }
  const standing = standingOf(found.object, workload, collection === 'persistentvolumeclaims');
  switch (standing.kind) {
    case 'same':
      return null;
    case 'wait':
      return standing;
    case 'older':
      await removeOlder(found.object, signal);
      return { kind: 'wait', reason: 'an older workload of this pod is being stopped' };
  }
}

/** Pure. `isData`: volumes belong to the uid, whatever the run. */
export function standingOf(present: OwnedObject, wanted: WorkloadSpec, isData: boolean): Standing {
  const { uid, generation, run, annotations } = wanted;
  const isSame = present.uid === uid && (isData || (present.generation === generation && present.run === run));
  if (present.isDeleting) {
    return {
      kind: 'wait',
      reason: isData ? 'its data is being deleted' : 'an older workload of this pod is being stopped',
    };
  }
  if (isSame) return { kind: 'same' };
  const isLaterRun = present.uid === uid && present.run > run;
  const isLaterCommit = present.storeId === annotations.storeId && present.commit > annotations.commit;
  if (isLaterRun || isLaterCommit) return { kind: 'wait', reason: 'a newer workload of this pod exists' };
  return { kind: 'older' };
}
