import type {
  V1Affinity,
  V1Container,
  V1Pod,
  V1SecurityContext,
  V1Volume,
  V1VolumeMount,
} from '@kubernetes/client-node';
import type { FilesRef, MountedFiles } from '../../../../core/volume.ts';
import type { KubernetesSettings } from '../options.ts';
import { placement } from '../placement.ts';
import { filesClaimName, filesLabels } from './claims.ts';

/** Of every pod that uses named volumes, and of what is made in them: they read and write each other's files by it. */
export const FILES_GROUP = 1000;
/** Of Podgate's image. */
const FILES_USER = 10_001;
const PROGRAMS = '/app/spawner/orchestrator/kubernetes/files/program';
const MOUNTS = '/volumes';
export const SERVER_CONTAINER = 'files';
/** Beside it in a claim is what is not complete yet (process/volumes/directory-files.ts). */
const DATA = 'data';
/** A server that is left alone ends by itself: this is for one that hangs. */
const LIFE_MAX_SECONDS = 24 * 3_600;

const RESTRICTED: V1SecurityContext = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
};
const RESOURCES = {
  requests: { cpu: '10m', memory: '64Mi', 'ephemeral-storage': '16Mi' },
  limits: { cpu: '1', memory: '256Mi', 'ephemeral-storage': '64Mi' },
};

/** A file server: of the files of a volume or snapshot (one claim), or for a copy from one to another. */
export interface FileServer {
  readonly role: 'files' | 'copy';
  /** Whose server it is. */
  readonly ref: FilesRef;
  /** Of what it serves. Of a copy: its source first. */
  readonly refs: readonly FilesRef[];
}

export function serverName(site: string, { role, ref }: Pick<FileServer, 'role' | 'ref'>): string {
  return `${role}-${site}-${ref.uid}`;
}

function serverSocket({ role, ref }: FileServer): string {
  return `podgate-${role}-${ref.uid}`;
}

/** What runs in a server for one caller. */
export function bridgeCommand(server: FileServer): readonly string[] {
  return ['node', `${PROGRAMS}/bridge.ts`, serverSocket(server)];
}

/** Pure. */
export function serverManifest(settings: KubernetesSettings, server: FileServer): V1Pod {
  const { site } = settings;
  const { refs } = server;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: serverName(site, server),
      labels: { ...filesLabels(site, server.ref), ...useLabels(refs) },
    },
    spec: {
      containers: [
        {
          name: SERVER_CONTAINER,
          image: settings.filesImage,
          command: [
            'node',
            `${PROGRAMS}/file-server.ts`,
            serverSocket(server),
            ...refs.map((ref) => `${ref.uid}=${directoryOf(ref)}`),
          ],
          resources: RESOURCES,
          securityContext: RESTRICTED,
          volumeMounts: refs.map(directoryMount),
          terminationMessagePolicy: 'FallbackToLogsOnError',
        },
      ],
      volumes: refs.map((ref) => claimVolume(site, ref)),
      restartPolicy: 'Never',
      activeDeadlineSeconds: LIFE_MAX_SECONDS,
      terminationGracePeriodSeconds: 5,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: FILES_USER,
        runAsGroup: FILES_GROUP,
        fsGroup: FILES_GROUP,
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      // What a copy is made into is new: it comes to where its source is.
      ...affinityTo(settings, refs.slice(0, 1)),
      ...placement(settings),
    },
  };
}

/** What a pod with named volumes has beside its own. */
export interface NamedMounts {
  readonly volumes: V1Volume[];
  readonly mounts: V1VolumeMount[];
  readonly initContainers: V1Container[];
  readonly labels: Readonly<Record<string, string>>;
  readonly affinity: { readonly affinity?: V1Affinity };
}

export function namedMounts(settings: KubernetesSettings, mounted: readonly MountedFiles[]): NamedMounts {
  const refs = [...new Map(mounted.map(({ ref }) => [ref.uid, ref])).values()];
  return {
    volumes: refs.map((ref) => claimVolume(settings.site, ref)),
    mounts: mounted.map(({ ref, mountPath, subPath, isReadOnly }) => ({
      name: volumeOf(ref),
      mountPath,
      subPath: subPath === '' ? DATA : `${DATA}/${subPath}`,
      ...(isReadOnly ? { readOnly: true } : {}),
    })),
    initContainers: refs.length === 0 ? [] : [preparation(settings, refs, mounted)],
    labels: useLabels(refs),
    affinity: affinityTo(settings, refs),
  };
}

function preparation(
  settings: KubernetesSettings,
  refs: readonly FilesRef[],
  mounted: readonly MountedFiles[],
): V1Container {
  return {
    name: 'volumes',
    image: settings.filesImage,
    command: [
      'node',
      `${PROGRAMS}/prepare-mounts.ts`,
      ...mounted.flatMap(({ ref, subPath, isReadOnly }) => [directoryOf(ref), isReadOnly ? 'ro' : 'rw', subPath]),
    ],
    resources: RESOURCES,
    securityContext: { ...RESTRICTED, runAsNonRoot: true, runAsUser: FILES_USER, runAsGroup: FILES_GROUP },
    volumeMounts: refs.map(directoryMount),
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

function claimVolume(site: string, ref: FilesRef) {
  return { name: volumeOf(ref), persistentVolumeClaim: { claimName: filesClaimName(site, ref) } };
}

function directoryMount(ref: FilesRef): V1VolumeMount {
  return { name: volumeOf(ref), mountPath: directoryOf(ref) };
}

/** At most 63 characters. */
function volumeOf({ kind, uid }: FilesRef): string {
  return `${kind}-${uid}`;
}

function directoryOf({ uid }: FilesRef): string {
  return `${MOUNTS}/${uid}`;
}

/** Says which claims a pod uses, so that others come to its node. */
function useLabels(refs: readonly FilesRef[]): Record<string, string> {
  return Object.fromEntries(refs.map((ref) => [useLabel(ref), 'yes']));
}

function useLabel({ uid }: FilesRef): string {
  return `files.podgate.io/${uid}`;
}

/**
 * ReadWriteOnce is a node at a time. The scheduler does not see to that: it would place a second pod elsewhere, where it
 * waits for the volume without a word. The first one goes anywhere, as its own label satisfies it. With several volumes it
 * is a wish: required terms count only where a single pod satisfies all of them.
 */
function affinityTo({ namedVolumes }: KubernetesSettings, refs: readonly FilesRef[]): NamedMounts['affinity'] {
  if (namedVolumes.accessMode !== 'ReadWriteOnce' || refs.length === 0) return {};
  const terms = refs.map((ref) => ({
    labelSelector: { matchLabels: { [useLabel(ref)]: 'yes' } },
    topologyKey: 'kubernetes.io/hostname',
  }));
  if (terms.length === 1)
    return { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } } };
  const wishes = terms.map((podAffinityTerm) => ({ weight: 100, podAffinityTerm }));
  return { affinity: { podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: wishes } } };
}
