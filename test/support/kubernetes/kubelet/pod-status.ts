import { containerStatus, type ContainerView, nowText } from './container-state.ts';
import type { Pod, PodPhase } from './objects.ts';

export interface PodView {
  readonly pod: Pod;
  readonly address: string | null;
  readonly hostAddress: string;
  readonly startTime: string;
  readonly inits: readonly ContainerView[];
  readonly containers: readonly ContainerView[];
  /** The pod as a whole was given up: evicted, for instance. */
  readonly verdict: { readonly reason: string; readonly message: string } | null;
  /** All containers are to be ended, or are. */
  readonly isEnding: boolean;
}

export function phaseOf({ pod, containers, inits, verdict, isEnding }: PodView): PodPhase {
  if (verdict !== null && !containers.some(({ state }) => state.kind === 'running')) {
    // As the kubelet does: what ends well when it is told to has succeeded, and the reason is in the event alone.
    return containers.every(({ state }) => state.kind === 'terminated' && state.exitCode === 0)
      ? 'Succeeded'
      : 'Failed';
  }
  if (inits.some(({ state }) => state.kind === 'terminated' && state.exitCode !== 0)) return 'Failed';
  const ended = containers.filter(({ state }) => state.kind === 'terminated');
  if (ended.length === containers.length) {
    const isFailed = ended.some(({ state }) => state.kind === 'terminated' && state.exitCode !== 0);
    const isOver =
      isEnding || pod.spec.restartPolicy === 'Never' || (pod.spec.restartPolicy === 'OnFailure' && !isFailed);
    if (isOver) return isFailed ? 'Failed' : 'Succeeded';
    return 'Running';
  }
  const hasBegun = containers.some(({ state, last }) => state.kind !== 'waiting' || last !== null);
  return hasBegun ? 'Running' : 'Pending';
}

/**
 * The status as a kubelet writes it, for a strategic merge patch: conditions are merged by their type, so that
 * PodScheduled, which is the scheduler's, stays. `sinceOf` answers since when a condition has its value.
 */
export function podStatus(view: PodView, sinceOf: (type: string, status: string) => string): object {
  const phase = phaseOf(view);
  const isReady = phase === 'Running' && view.containers.every(({ ready }) => ready);
  const isInitialized = view.inits.every(({ state }) => state.kind === 'terminated' && state.exitCode === 0);
  const unready = view.containers.filter(({ ready }) => !ready).map(({ container }) => container.name);
  const isOver = phase === 'Succeeded' || phase === 'Failed';
  const reason = phase === 'Succeeded' ? 'PodCompleted' : phase === 'Failed' ? 'PodFailed' : 'ContainersNotReady';
  const message = isOver ? '' : `containers with unready status: [${unready.join(' ')}]`;
  const condition = (type: string, holds: boolean, why: object = {}) => {
    const status = holds ? 'True' : 'False';
    // null removes what an earlier patch has said.
    return {
      type,
      status,
      lastTransitionTime: sinceOf(type, status),
      reason: null,
      message: null,
      ...(holds ? {} : why),
    };
  };
  const notReady = { reason, message };
  return {
    phase,
    observedGeneration: undefined,
    hostIP: view.hostAddress,
    hostIPs: [{ ip: view.hostAddress }],
    startTime: view.startTime,
    ...(view.address === null ? {} : { podIP: view.address, podIPs: [{ ip: view.address }] }),
    ...(view.verdict === null || phase !== 'Failed'
      ? {}
      : { reason: view.verdict.reason, message: view.verdict.message }),
    conditions: [
      condition('PodReadyToStartContainers', view.address !== null && !isOver),
      condition('Initialized', isInitialized, { reason: 'ContainersNotInitialized' }),
      condition('Ready', isReady, notReady),
      condition('ContainersReady', isReady, notReady),
    ],
    ...(view.inits.length === 0 ? {} : { initContainerStatuses: view.inits.map(containerStatus) }),
    containerStatuses: view.containers.map(containerStatus),
  };
}

/** Remembers since when each condition has its value. */
export function createTransitionTimes(): (type: string, status: string) => string {
  const since = new Map<string, { readonly status: string; readonly at: string }>();
  return (type, status) => {
    const known = since.get(type);
    if (known?.status === status) return known.at;
    const at = nowText();
    since.set(type, { status, at });
    return at;
  };
}
