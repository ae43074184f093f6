import type { WorkloadPhase } from '../../../core/workloads.ts';
import { signalName } from '../exec/shell-exit.ts';
import { withoutStop } from '../without-stop.ts';
import type { ContainerEnd, ContainerView, PodState } from './objects.ts';

/** Fewer failures than this are no crash loop yet: the first restart comes at once, and often all is well then. */
const CRASHING_AFTER_RESTARTS = 2;
/** A run that lasted longer stands for itself: the kubelet forgets earlier failures after it, and so do we. */
const RECOVERED_AFTER_MS = 10 * 60_000;
/** A kubelet that is late to notice that a container ended finds the next one running. */
const END_NOTICED_WITHIN_MS = 10_000;
const SAID_MAX_LENGTH = 500;
const NODE_SILENT =
  'The node of this pod has stopped reporting, so this status may be out of date. Connections work as long as the pod responds.';
/** The kubelet's words (pkg/kubelet/eviction/helpers.go, 1.34) for a pod that is over a limit of its own. */
const EXCESS = /ephemeral storage limit|ephemeral local storage usage exceeds|Usage of EmptyDir volume/;
/** The scheduler's (plugins/interpodaffinity) for a pod that has to be where others use its volume. */
const VOLUME_IN_USE = /didn't match pod affinity rules/;
/** The same (plugins/volumebinding), before 1.34 and since. */
const VOLUME_ELSEWHERE = /volume node affinity conflict|didn't match PersistentVolume's node affinity/;
/** The same (plugins/volumerestrictions), before 1.34 and since: the claim is ReadWriteOncePod. */
const VOLUME_CLAIMED = /ReadWriteOncePod access mode/;

export interface PodStatusView {
  readonly phase: WorkloadPhase;
  /** A sentence for the pod's user, or ''. */
  readonly message: string;
  /** It takes connections, as far as is known: also while the cluster ends it, or while its node is silent. */
  readonly isServing: boolean;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly restarts: number;
  readonly startedAtMs: number | null;
}

/** What a Pod's status means for its user: pure. Source: the Pod API (v1) and what the kubelet, scheduler and evictions write. */
export function podStatus(pod: PodState, isLost = false): PodStatusView {
  const { container } = pod;
  const end = container === null ? null : endOf(container);
  const { phase, message } = isLost ? { phase: 'lost' as const, message: deletionMessage(pod) } : phaseOf(pod, end);
  const shown = phase === 'ready' && container?.restarts === 0 ? null : end;
  const signal = shown === null ? null : signalOf(shown);
  return {
    phase,
    message,
    isServing:
      (phase === 'ready' || phase === 'stopping' || phase === 'lost') &&
      container !== null &&
      takesConnections(pod, container),
    exitCode: signal === null ? (shown?.exitCode ?? null) : null,
    signal,
    restarts: container?.restarts ?? 0,
    startedAtMs: container?.state.kind === 'running' ? container.state.startedAtMs : pod.startedAtMs,
  };
}

interface Judged {
  readonly phase: WorkloadPhase;
  readonly message: string;
}

function phaseOf(pod: PodState, end: ContainerEnd | null): Judged {
  if (pod.isDeleting) return { phase: 'stopping', message: deletionMessage(pod) };
  switch (pod.phase) {
    case 'Succeeded':
      return pod.mayComplete
        ? { phase: 'completed', message: '' }
        : evicted('The cluster has ended this pod without giving a reason.');
    case 'Failed':
      return ofFailure(pod, end);
    case 'Unknown':
      return { phase: 'starting', message: 'The node of this pod does not respond: its state is unknown.' };
    case 'Pending':
    case 'Running':
      return pod.container === null ? unstarted(pod) : ofContainer(pod, pod.container, end);
  }
}

function deletionMessage(pod: PodState): string {
  if (isNodeSilent(pod)) {
    const unknown = 'The node of this pod has stopped reporting, so it is unknown whether the pod has stopped.';
    return pod.hasData
      ? `${unknown} Its volume must not be used twice: Podgate waits until the node reports again, is deleted or is marked out of service.`
      : `${unknown} Podgate will give it up soon.`;
  }
  if (pod.disruption === null) return '';
  return `The cluster ends this pod (${pod.disruption.reason}): ${said(pod.disruption.message)} It starts again by itself.`;
}

/** Without a reason of the cluster's it is the program that failed. */
function ofFailure(pod: PodState, end: ContainerEnd | null): Judged {
  const { reason, disruption } = pod;
  if (reason === 'Evicted' && EXCESS.test(pod.message)) {
    return {
      phase: 'exceeded',
      message: `The pod exceeded its storage limit, and its node evicted it: ${said(pod.message)}`,
    };
  }
  if (reason === 'Evicted')
    return evicted(`The node was short of a resource and evicted this pod: ${said(pod.message)}`);
  if (disruption !== null)
    return evicted(`The cluster has ended this pod (${disruption.reason}): ${said(disruption.message)}`);
  if (reason !== '') return evicted(`The cluster has given up this pod (${reason}): ${said(pod.message)}`);
  return { phase: 'failed', message: end === null ? 'The pod has failed.' : endMessage(end) };
}

function evicted(why: string): Judged {
  return { phase: 'evicted', message: `${why} It starts again by itself.` };
}

/** No word from a node about its container yet. */
function unstarted(pod: PodState): Judged {
  if (pod.hasData && VOLUME_ELSEWHERE.test(pod.unscheduled)) {
    const message = `The volume of this pod can be used on one node only, which accepts no pods now; the pod waits for it: ${said(pod.unscheduled)}`;
    return { phase: 'pending', message };
  }
  if (VOLUME_IN_USE.test(pod.unscheduled)) {
    const message = `Another pod uses a volume of this pod on a node that has no room for this one, and a node at a time can use the volume. Stop the other pod, or have the operator set kubernetes.namedVolumes.accessMode: ${said(pod.unscheduled)}`;
    return { phase: 'pending', message };
  }
  if (VOLUME_CLAIMED.test(pod.unscheduled)) {
    const message = `Another Pod of the cluster uses the volume of this pod, which only one may; this pod starts when that has ended: ${said(pod.unscheduled)}`;
    return { phase: 'pending', message };
  }
  if (pod.unscheduled !== '')
    return { phase: 'pending', message: `No node has room for this pod: ${said(pod.unscheduled)}` };
  return { phase: 'pending', message: pod.isScheduled ? '' : 'Waiting for a node.' };
}

function ofContainer(pod: PodState, container: ContainerView, end: ContainerEnd | null): Judged {
  const { state } = container;
  if (state.kind === 'waiting') return unprepared(pod) ?? waiting(pod, container, state, end);
  if (takesConnections(pod, container)) return { phase: 'ready', message: isNodeSilent(pod) ? NODE_SILENT : '' };
  return afterEnd(container, end);
}

/** Of a pod whose named volumes are not ready to be mounted, why; null: that is not what it waits for. */
function unprepared(pod: PodState): Judged | null {
  const { preparation } = pod;
  if (preparation === null) return null;
  const { state } = preparation;
  const end = endOf(preparation);
  if (end !== null && end.exitCode !== 0) {
    return { phase: 'crashing', message: `A volume of this pod cannot be mounted: ${said(end.message)}` };
  }
  return state.kind === 'waiting' ? waiting(pod, preparation, state, end) : null;
}

function takesConnections(pod: PodState, container: ContainerView): boolean {
  return isAnswering(container) || isProbedAgain(pod, container);
}

/**
 * By the container, not by the Pod's condition Ready: the kubelet writes both at once, so where they differ it was the node
 * controller, which sets Ready to False, without a reason, when it has not heard from the node for 40 s (Kubernetes
 * pkg/controller/util/node, MarkPodsNotReady). That says nothing about the pod, which goes on answering on a node whose
 * kubelet is down.
 */
function isAnswering({ state, isReady }: ContainerView): boolean {
  return state.kind === 'running' && isReady;
}

function isNodeSilent({ container, isReady }: PodState): boolean {
  return container !== null && isAnswering(container) && !isReady;
}

/**
 * A kubelet that starts asks the startup probes of all containers again. Until they succeed, it reports containers that
 * have been running all the time as neither started nor ready (Kubernetes pkg/kubelet/prober), for seconds on a busy node.
 * Such a container lost its readiness long after its start. A new one never had it, or one before it lost it.
 */
function isProbedAgain({ isReady, readyChangedMs }: PodState, { state, isStarted }: ContainerView): boolean {
  if (state.kind !== 'running' || state.startedAtMs === null || isStarted || isReady) return false;
  return readyChangedMs !== null && readyChangedMs - state.startedAtMs > END_NOTICED_WITHIN_MS;
}

function afterEnd(container: ContainerView, end: ContainerEnd | null): Judged {
  if (end === null) return { phase: 'starting', message: '' };
  const message = endMessage(end);
  const ranForMs = end.startedAtMs === null || end.finishedAtMs === null ? 0 : end.finishedAtMs - end.startedAtMs;
  const isLoop = container.restarts >= CRASHING_AFTER_RESTARTS && ranForMs < RECOVERED_AFTER_MS;
  return isLoop
    ? { phase: 'crashing', message: `${withoutStop(message)}, ${container.restarts + 1} times in a row.` }
    : { phase: 'starting', message };
}

function waiting(
  pod: PodState,
  container: ContainerView,
  state: { readonly reason: string; readonly message: string },
  end: ContainerEnd | null,
): Judged {
  const image = container.image === '' ? 'its image' : `the image ${container.image}`;
  switch (state.reason) {
    case 'CrashLoopBackOff':
      return afterEnd(container, end);
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'RegistryUnavailable':
      return { phase: 'crashing', message: `The node cannot pull ${image}: ${pullError(state.message)}` };
    case 'ErrImageNeverPull':
      return { phase: 'crashing', message: `The node does not have ${image} and is not allowed to pull it.` };
    case 'InvalidImageName':
      return { phase: 'failed', message: `The name of ${image} is not valid.` };
    case 'SignatureValidationFailed':
    case 'ImageInspectError':
      return { phase: 'crashing', message: `The node does not accept ${image}: ${said(state.message)}` };
    case 'CreateContainerConfigError':
      return { phase: 'crashing', message: configError(state.message) };
    case 'CreateContainerError':
    case 'RunContainerError':
    case 'StartError':
    case 'PreCreateHookError':
    case 'PostStartHookError':
      return { phase: 'crashing', message: `The node cannot start the program: ${said(state.message)}` };
    default:
      // ContainerCreating, PodInitializing: pulling the image and attaching volumes are part of it.
      if (end !== null) return afterEnd(container, end);
      return {
        phase: pod.phase === 'Running' ? 'starting' : 'pending',
        message: state.message === '' ? '' : said(state.message),
      };
  }
}

function configError(message: string): string {
  if (/runAsNonRoot|run as root|non-numeric user/.test(message)) {
    return 'The image runs as root, which this cluster does not allow: use an image with a numeric user (USER 1000).';
  }
  return `The node cannot set the pod up: ${said(message)}`;
}

function pullError(message: string): string {
  if (/not found|manifest unknown|does not exist/i.test(message)) return `it does not exist. ${said(message)}`;
  if (/unauthorized|denied|forbidden/i.test(message)) return `the registry does not allow it. ${said(message)}`;
  return message === '' ? 'the registry gave no reason.' : said(message);
}

/** How its program last ended: now, or before the present start. */
function endOf(container: ContainerView): ContainerEnd | null {
  return container.state.kind === 'terminated' ? container.state : container.lastEnd;
}

function endMessage(end: ContainerEnd): string {
  if (end.reason === 'OOMKilled') return 'The program used more memory than its limit and was killed.';
  if (end.reason === 'ContainerStatusUnknown') return 'It is unknown how the program ended: its node was lost.';
  const detail = end.message === '' ? '.' : `: ${said(end.message)}`;
  if (end.reason === 'ContainerCannotRun' || end.reason === 'StartError')
    return `The program could not be started${detail}`;
  const signal = signalOf(end);
  if (signal !== null) return `The program was killed by ${signal}${detail}`;
  if (end.exitCode === 0) return `The program exited${detail}`;
  return `The program exited with code ${end.exitCode ?? 'unknown'}${detail}`;
}

/** Runtimes say 128 + n as exit code, most of them without the signal. */
function signalOf({ signal, exitCode }: ContainerEnd): string | null {
  const number = signal ?? (exitCode !== null && (exitCode === 137 || exitCode === 143) ? exitCode - 128 : null);
  if (number === null || number === 0) return null;
  return signalName(number) ?? `signal ${number}`;
}

function said(message: string): string {
  const text = message.replace(/\s+/g, ' ').trim().slice(0, SAID_MAX_LENGTH);
  return text === '' || /[.!?]$/.test(text) ? text : `${text}.`;
}
