import type { Resources } from '../../../core/pod.ts';

/** Smallest and greatest value, both allowed. */
export interface Bounds {
  readonly minimum: number;
  readonly maximum: number;
}

/** What users may ask for. */
export interface PodLimits {
  /** Millicpu. */
  readonly cpu: Bounds;
  /** MiB. */
  readonly memory: Bounds;
  /** Most GPUs. */
  readonly gpusMaximum: number;
  readonly defaultResources: Resources;
  /** Shortest time to stop, in seconds. */
  readonly minTimeToStopSeconds: number;
}
