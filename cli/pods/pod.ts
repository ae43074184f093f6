import { callForObject, type ObjectKind } from '../objects/call-for-object.ts';
import { type ApiCall, callApi, callForResult } from '../target/call-api.ts';
import type { Target } from '../target/target.ts';

/** What the commands use of a pod as the API shows it. */
export interface Pod {
  readonly pod_id: string;
  readonly pod_template: string;
  /** '' for an image. */
  readonly template: string;
  readonly description: string;
  readonly status: string;
  readonly status_requested: string;
  readonly status_container: {
    readonly message?: string;
    readonly exit_code?: number | null;
    readonly restarts?: number;
  };
  readonly networking: Readonly<Record<string, Stanza>>;
  readonly resources: { readonly mem_limit: number; readonly cpu_limit: number };
  readonly creation_ts: string;
  readonly start_instance_ts: string | null;
  readonly time_to_stop_ts: string | null;
  /** Absent in what an earlier release returns, as the next four are. */
  readonly sleep?: { readonly after_seconds: number } | null;
  readonly asleep_since?: string | null;
  readonly last_used_ts?: string | null;
  readonly awake_because?: readonly string[] | null;
  /** The pod whose data this one began with a copy of; '': none. */
  readonly cloned_from?: string;
  readonly action_logs: readonly string[];
}

export interface PodMetrics {
  readonly memory_bytes: number | null;
  /** Thousandths of a CPU. */
  readonly cpu_millis: number | null;
  /** Why nothing is measured there. */
  readonly note?: string;
}

export interface Stanza {
  readonly protocol: string;
  readonly port: number;
  /** Host name; '' = not reached through the gateway. */
  readonly url: string;
  readonly public_port: number;
  readonly ip_allow_list: readonly string[];
  /** Not there: anyone may connect, or those who have USER on the pod. */
  readonly tapis_auth?: boolean;
  readonly tapis_auth_allowed_users?: readonly string[];
}

export function podPath(podId: string, below = ''): string {
  return `/v3/pods/${encodeURIComponent(podId)}${below}`;
}

export async function readPod(target: Target, podId: string): Promise<Pod> {
  return (await callForPod(target, podId, { method: 'GET', path: podPath(podId) })) as Pod;
}

/** Null: an earlier release, which does not measure. */
export async function readPodMetrics(target: Target, podId: string): Promise<PodMetrics | null> {
  const reply = await callApi(target, { method: 'GET', path: podPath(podId, '/metrics') });
  if (reply.status !== 200) return null;
  const { note } = reply.metadata;
  return { ...(reply.result as PodMetrics), ...(typeof note === 'string' ? { note } : {}) };
}

export async function listPods(target: Target): Promise<readonly Pod[]> {
  return (await callForResult(target, { method: 'GET', path: '/v3/pods' })) as readonly Pod[];
}

const PODS: ObjectKind = { noun: 'pod', collection: '/v3/pods', idField: 'pod_id' };

/** `result` of a call about one pod. Throws CliError; where there is no such pod, with the name that was probably meant. */
export async function callForPod(target: Target, podId: string, call: ApiCall): Promise<unknown> {
  return await callForObject(target, PODS, podId, call);
}

/** Why a pod is in ERROR, in brackets; '' when it is not, or nobody knows. */
export function reasonOf({ status, status_container: { message = '' } }: Pod): string {
  return status === 'ERROR' && message !== '' ? ` (${message})` : '';
}
