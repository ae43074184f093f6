import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import type { Container, Pod } from './objects.ts';

/** How a container ended, in the words of a container status. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly reason: string;
}

export interface Mount {
  readonly mountPath: string;
  /** On this machine. */
  readonly directory: string;
  readonly readOnly: boolean;
}

export interface ContainerContext {
  readonly pod: Pod;
  readonly container: Container;
  /** The pod's own address: what the container listens on. */
  readonly address: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  /** Where a path of the container is on this machine: in a mount, else in a directory of this run alone. */
  readonly resolve: (path: string) => string;
  /** Null: as ourselves (the stand-in is not root). */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  /** How often it has been started before. */
  readonly restarts: number;
  /** What it prints. */
  readonly print: (chunk: string | Buffer) => void;
}

export interface RunningContainer {
  /** Null: it runs in this process. */
  readonly pid: number | null;
  readonly ended: Promise<ContainerEnd>;
  signal(name: NodeJS.Signals): void;
  /** Starts a command beside its program, as leader of a process group; null when that has ended. */
  startBeside(command: readonly string[]): ChildProcessWithoutNullStreams | null;
}

/** How the stand-in runs what a real node would get from an image of that name. */
export interface Image {
  /** USER of the image; 0 with runAsNonRoot is refused, as the kubelet does. */
  readonly user: number;
  start(context: ContainerContext): Promise<RunningContainer>;
}

export const endOfCode = (exitCode: number): ContainerEnd => ({
  exitCode,
  reason: exitCode === 0 ? 'Completed' : 'Error',
});

/** A container whose entrypoint has given up before its program began. */
export const endAtOnce = (exitCode: number): RunningContainer => ({
  pid: null,
  ended: Promise.resolve(endOfCode(exitCode)),
  signal: () => undefined,
  startBeside: () => null,
});
