import type { Container } from './objects.ts';

/** As in a container status. Times are ISO 8601 without fractions, which the API server drops. */
export type ContainerState =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message: string }
  | { readonly kind: 'running'; readonly startedAt: string; readonly containerId: string }
  | Terminated;

export interface Terminated {
  readonly kind: 'terminated';
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly containerId: string;
}

export interface ContainerView {
  readonly container: Container;
  readonly state: ContainerState;
  readonly last: Terminated | null;
  readonly restarts: number;
  /** Passed its startup probe. */
  readonly started: boolean;
  /** Passes its readiness probe. */
  readonly ready: boolean;
}

export const nowText = (): string => `${new Date().toISOString().slice(0, 19)}Z`;

function stateOf(state: ContainerState): object {
  switch (state.kind) {
    case 'waiting':
      return { waiting: { reason: state.reason, ...(state.message === '' ? {} : { message: state.message }) } };
    case 'running':
      return { running: { startedAt: state.startedAt } };
    case 'terminated': {
      const { exitCode, reason, message, startedAt, finishedAt, containerId } = state;
      const said = message === '' ? {} : { message };
      return { terminated: { exitCode, reason, ...said, startedAt, finishedAt, containerID: containerId } };
    }
  }
}

export function containerStatus({ container, state, last, restarts, started, ready }: ContainerView): object {
  const containerID = state.kind === 'waiting' ? last?.containerId : state.containerId;
  const isKnown = state.kind !== 'waiting' || last !== null;
  return {
    name: container.name,
    image: container.image,
    imageID: isKnown ? `${container.image}@sha256:${'0'.repeat(64)}` : '',
    ...(containerID === undefined ? {} : { containerID }),
    state: stateOf(state),
    lastState: last === null || last === state ? {} : stateOf(last),
    restartCount: restarts,
    ready,
    started,
  };
}
