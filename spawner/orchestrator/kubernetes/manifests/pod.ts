import type {
  V1Container,
  V1EnvVar,
  V1Pod,
  V1PodSecurityContext,
  V1ResourceRequirements,
  V1SecurityContext,
} from '@kubernetes/client-node';
import { DEFAULT_STANZA } from '../../../../core/ids.ts';
import { FILES_GROUP, namedMounts } from '../files/server-manifest.ts';
import { LABEL, objectName, secretName } from '../objects.ts';
import { placement } from '../placement.ts';
import { environmentKey, fromSecret, POD_ADDRESS, type Recipe } from '../recipes/recipe.ts';
import { type ManifestContext, podAnnotations, portsOf, runLabels } from './metadata.ts';
import { podVolumes } from './volumes.ts';

const STARTUP_PERIOD_SECONDS = 1;
const READINESS_PERIOD_SECONDS = 5;
export const CONTAINER = 'pod';

/** The Pod of a workload: pure. It is made last, when all that it needs and all that fences it is there. */
export function podManifest(context: ManifestContext, recipe: Recipe): V1Pod {
  const { workload, settings } = context;
  const named = namedMounts(settings, workload.mounts ?? []);
  const { volumes, mounts, needsGroup, scratchMiB } = podVolumes(context, recipe, named);
  const container: V1Container = {
    name: CONTAINER,
    image: recipe.image,
    ...(recipe.command.length === 0 ? {} : { command: recipe.command.map(literal) }),
    ...(recipe.args.length === 0 ? {} : { args: recipe.args.map(literal) }),
    env: environmentOf(context, recipe),
    ports: portsOf(context).map((containerPort) => ({ containerPort, protocol: 'TCP' })),
    resources: resourcesOf(context, scratchMiB),
    securityContext: containerSecurity(recipe),
    ...(mounts.length === 0 ? {} : { volumeMounts: mounts }),
    ...probesOf(recipe),
    // A program that says why it ends, says it in its last lines: they become part of the status.
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: objectName(settings.site, workload),
      labels: {
        ...runLabels(context),
        ...named.labels,
        ...(isLocalService(context) ? { [LABEL.local]: 'yes' } : {}),
      },
      annotations: podAnnotations(context),
    },
    spec: {
      ...(named.initContainers.length === 0 ? {} : { initContainers: named.initContainers }),
      containers: [container],
      ...(volumes.length === 0 ? {} : { volumes }),
      restartPolicy: recipe.mayComplete ? 'OnFailure' : 'Always',
      terminationGracePeriodSeconds: recipe.graceSeconds,
      automountServiceAccountToken: false,
      // One variable for each port of each service of the namespace: who else is there, and names that images misread.
      enableServiceLinks: false,
      securityContext: podSecurity(recipe, { needsGroup, isSharing: named.volumes.length > 0 }),
      ...named.affinity,
      ...placement(settings),
    },
  };
}

function isLocalService({ workload }: ManifestContext): boolean {
  return Object.values(workload.spec.networking).some(({ protocol }) => protocol === 'local_only');
}

/** The user's variables over ours about ports, and what the image itself needs over the user's. */
function environmentOf({ workload, settings }: ManifestContext, recipe: Recipe): V1EnvVar[] {
  const { spec, podId } = workload;
  const byName = new Map<string, V1EnvVar>();
  const add = (variable: V1EnvVar): void => {
    // A later one goes where it stands, not where the former stood: it may use those before it.
    byName.delete(variable.name);
    byName.set(variable.name, variable);
  };
  add({ name: 'POD_ID', value: podId });
  for (const [stanza, { port }] of Object.entries(spec.networking)) {
    if (stanza === DEFAULT_STANZA) add({ name: 'PORT', value: String(port) });
    add({ name: `PORT_${stanza.toUpperCase()}`, value: String(port) });
  }
  for (const name of Object.keys(spec.environmentVariables)) {
    add(fromSecret(name, secretName(settings.site, workload), environmentKey(name)));
  }
  add({ name: POD_ADDRESS, valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } });
  for (const variable of recipe.environment) {
    add(variable.value === undefined ? variable : { ...variable, value: literal(variable.value) });
  }
  return [...byName.values()];
}

/** Kubernetes puts variables in place of `$(NAME)`, unless the dollar is doubled: what users write is what they get. */
function literal(text: string): string {
  return text.replace(/\$(?=[$(])/g, '$$$$');
}

/**
 * `scratchMiB`: what the pod's directories on the node's disk may hold. The kubelet counts them with the container's own
 * layer and its log, and evicts a pod whose sum exceeds the limit.
 */
function resourcesOf({ workload, settings }: ManifestContext, scratchMiB: number): V1ResourceRequirements {
  const { cpuRequest, cpuLimit, memRequest, memLimit, gpus } = workload.spec.resources;
  const { requestMiB, limitMiB } = settings.ephemeralStorage;
  return {
    // Without a request of its own, the limit would be what the scheduler looks for.
    requests: { cpu: `${cpuRequest}m`, memory: `${memRequest}Mi`, 'ephemeral-storage': `${requestMiB}Mi` },
    limits: {
      cpu: `${cpuLimit}m`,
      memory: `${memLimit}Mi`,
      'ephemeral-storage': `${limitMiB + scratchMiB}Mi`,
      ...(gpus === 0 ? {} : { 'nvidia.com/gpu': String(gpus) }),
    },
  };
}

function podSecurity(
  { user, isRestricted }: Recipe,
  { needsGroup, isSharing }: { readonly needsGroup: boolean; readonly isSharing: boolean },
): V1PodSecurityContext {
  // New volumes belong to root. The user that the image runs as joins the group that owns them.
  const fsGroup = isSharing ? FILES_GROUP : (user ?? FILES_GROUP);
  return {
    ...(isRestricted ? { runAsNonRoot: true } : {}),
    ...(user === null ? {} : { runAsUser: user, runAsGroup: user }),
    ...(needsGroup ? { fsGroup, fsGroupChangePolicy: 'OnRootMismatch' } : {}),
    seccompProfile: { type: 'RuntimeDefault' },
  };
}

function containerSecurity({ hasReadOnlyRoot, isRestricted }: Recipe): V1SecurityContext {
  if (!isRestricted) return {};
  return {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    ...(hasReadOnlyRoot ? { readOnlyRootFilesystem: true } : {}),
  };
}

/** Asked every second until it answers once, then now and then: nobody waits for a start longer than need be. */
function probesOf({ probe, startProbe, startSeconds }: Recipe): Pick<V1Container, 'startupProbe' | 'readinessProbe'> {
  if (probe === null) return {};
  return {
    startupProbe: {
      ...(startProbe ?? probe),
      periodSeconds: STARTUP_PERIOD_SECONDS,
      failureThreshold: Math.ceil(startSeconds / STARTUP_PERIOD_SECONDS),
    },
    readinessProbe: { ...probe, periodSeconds: READINESS_PERIOD_SECONDS, failureThreshold: 3 },
  };
}
