/** Which gateway process: its number in its replica, and that replica where it is a gateway alone. */
export interface WorkerName {
  readonly worker: number;
  readonly gateway?: string;
}

const GATEWAY_NAME = /^[A-Za-z0-9._-]{1,80}$/;

/** Without whatever else the object has. */
export function workerNameOf({ worker, gateway }: WorkerName): WorkerName {
  return gateway === undefined ? { worker } : { worker, gateway };
}

/** Copied field by field; null when it is anything else. */
export function parseWorkerName(given: { readonly worker?: unknown; readonly gateway?: unknown }): WorkerName | null {
  const { worker, gateway } = given;
  if (typeof worker !== 'number') return null;
  if (gateway === undefined) return { worker };
  return typeof gateway === 'string' && GATEWAY_NAME.test(gateway) ? { worker, gateway } : null;
}

/** `worker 1`, `worker 1 of gateway edge-a`. */
export function workerText({ worker, gateway }: WorkerName): string {
  return `worker ${worker}${gateway === undefined ? '' : ` of gateway ${gateway}`}`;
}
