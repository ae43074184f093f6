/** How much of everything a run of the trial has. */
export interface Scale {
  readonly replicas: number;
  readonly clients: number;
  /** Pods that nobody changes: whatever happens, they serve. Half of them TCP, half HTTP. */
  readonly stablePods: number;
  /** Who create, change and delete pods all the while. */
  readonly users: number;
  /** How long Redis or the API server is away. */
  readonly outageMs: number;
  /** How long something is paused; longer than a lease. */
  readonly pauseMs: number;
  readonly kills: number;
  readonly killEveryMs: number;
  /** Pods that are created at once. */
  readonly burst: number;
  /** Every pod is where its user wants it within this time after a fault. */
  readonly settleMs: number;
}

export const SCALES: Readonly<Record<'small' | 'full', Scale>> = {
  small: {
    replicas: 2,
    clients: 40,
    stablePods: 6,
    users: 2,
    outageMs: 5_000,
    pauseMs: 12_000,
    kills: 6,
    killEveryMs: 5_000,
    burst: 50,
    settleMs: 60_000,
  },
  full: {
    replicas: 3,
    clients: 200,
    stablePods: 20,
    users: 4,
    outageMs: 60_000,
    pauseMs: 30_000,
    kills: 120,
    killEveryMs: 5_000,
    burst: 1_000,
    settleMs: 120_000,
  },
};
