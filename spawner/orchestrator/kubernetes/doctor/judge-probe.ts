import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';
import { isRecord, parseJson } from '../api/json.ts';
import type { SeenCgroup } from './own-cgroup.ts';
import { FENCE_DEADLINE_MS } from './probe-script.ts';

const POLICIES = 'network policies';
const NAME_SERVERS = 'name servers';
const TRY_IT = 'Use the image of Podgate, and check the log of the pod podgate-doctor-*.';
/** A pod that can talk for longer than this after its start is worth a warning. */
const SLOW_FENCE_MS = 2_000;

/** They enforce limits on memory, CPU and processes. */
const LIMITING_CONTROLLERS = ['memory', 'cpu', 'pids'];

/** What a pod of a probe has found out, as REACH prints it. */
export interface ProbeReport {
  readonly fence: {
    /** Since the start of its program, the last moment at which it reached something; null = it still does. */
    readonly afterMs: number | null;
    /** Until then, or still. */
    readonly reached: readonly string[];
  };
  readonly nameServers: readonly {
    readonly address: string;
    /** Null = it did not answer. */
    readonly afterMs: number | null;
  }[];
  /** Control groups of its node; null = it sees none. */
  readonly cgroup: SeenCgroup | null;
  /** By the clock of its node. */
  readonly nowMs: number;
}

/** Null where the pod printed something else. */
export function parseProbeReport(log: string): ProbeReport | null {
  const line = /^probe (\{.*\})$/m.exec(log)?.[1];
  const report = line === undefined ? null : parseJson(line);
  // Printed by our own script, whose test compares it with this interface.
  return isRecord(report) && isRecord(report['fence']) ? (report as unknown as ProbeReport) : null;
}

const NAMES: Readonly<Record<string, string>> = {
  pod: 'another pod',
  'pod-ipv4': 'another pod over IPv4',
  'pod-ipv6': 'another pod over IPv6',
  api: 'the API server',
  metadata: 'the metadata address of the cloud',
  'metadata-ipv6': 'the metadata address of the cloud over IPv6',
};

const listed = (reached: readonly string[]): string => reached.map((name) => NAMES[name] ?? name).join(', ');

/** Of a pod without a policy of its own, which the policy for all must cut off. Pure. */
export function judgeFence(report: ProbeReport | null): Finding {
  if (report === null)
    return warn(POLICIES, 'They could not be tested: the output of the pod was not understood.', TRY_IT);
  const { afterMs, reached } = report.fence;
  if (afterMs === null && reached.length > 0 && reached.every((name) => name.endsWith('-ipv6'))) {
    return fail(
      POLICIES,
      `They are enforced over IPv4 alone: ${FENCE_DEADLINE_MS / 1_000} s after its start, a pod still reaches ${listed(reached)}.`,
      'The network of this cluster does not enforce policies over IPv6 (kube-router 2.1, for example): replace it, give pods addresses of IPv4 alone, or run only pods that you trust.',
    );
  }
  if (afterMs === null) {
    return fail(
      POLICIES,
      `They are not enforced: ${FENCE_DEADLINE_MS / 1_000} s after its start, a pod still reaches ${listed(reached)}.`,
      'Apply deploy/base/network-policies.yaml. If it is applied, the network of this cluster does not enforce policies: replace it, or run only pods that you trust.',
    );
  }
  if (reached.length === 0)
    return ok(POLICIES, 'They are enforced from the start: a pod without its own policy reaches nothing.');
  const message = `They are enforced ${seconds(afterMs)} s after the start of a pod; until then, it reaches ${listed(reached)}.`;
  return afterMs <= SLOW_FENCE_MS
    ? ok(POLICIES, message)
    : warn(
        POLICIES,
        message,
        'That is long: every new pod can connect to them until then. Ask the vendor of your network; see docs/operations.md, "The first moments of a pod".',
      );
}

/** Of a pod with the policy that users' pods get; null = as it should be. Pure. */
export function judgeFenceOfUsersPods(report: ProbeReport | null): Finding | null {
  if (report === null || report.fence.afterMs !== null) return null;
  const { reached } = report.fence;
  return fail(
    POLICIES,
    `The policy of users' pods allows them to reach ${listed(reached)}.`,
    reached.includes('api')
      ? 'Its address is public: add it to kubernetes.egressExcept (kubectl get endpointslices -l kubernetes.io/service-name=kubernetes).'
      : 'Find the policy in that namespace that allows it: policies add up.',
  );
}

/** Whether a pod with the policy that users' pods get reaches the name servers it was given. Pure. */
export function judgeNameServers(report: ProbeReport | null, isEnforced: boolean): Finding {
  const servers = report?.nameServers ?? [];
  if (report === null || servers.length === 0)
    return warn(NAME_SERVERS, 'It could not be tested whether pods reach them.', TRY_IT);
  const silent = servers.filter(({ afterMs }) => afterMs === null).map(({ address }) => address);
  if (silent.length === 0) {
    const slowestMs = Math.max(...servers.map(({ afterMs }) => afterMs ?? 0));
    const shown = servers.map(({ address }) => address).join(', ');
    return ok(NAME_SERVERS, `Pods use ${shown}, and get a response ${seconds(slowestMs)} s after their start.`);
  }
  const blocks = silent.map((address) => `${address}/${address.includes(':') ? 128 : 32}`).join(', ');
  return fail(
    NAME_SERVERS,
    `Pods use ${silent.join(', ')}, and get no response.`,
    isEnforced
      ? `Add kubernetes.nameServers: [${blocks}] to podgate.yaml, then restart the pods; see docs/operations.md, "Cluster DNS".`
      : 'No policy blocks it: check the cluster DNS and the network.',
  );
}

/** Pure. */
export function judgeCgroup(cgroup: SeenCgroup | null, whose: string): Finding {
  const subject = 'cgroups';
  if (cgroup === null) return warn(subject, `${whose} has no visible cgroups.`, 'Check how its node enforces limits.');
  const { version, controllers } = cgroup;
  if (version !== 2) {
    return warn(
      subject,
      `${whose} uses version ${version}.`,
      'Kubelets 1.35 and later do not start with it unless failCgroupV1 is false; switch the node to version 2.',
    );
  }
  const missing = LIMITING_CONTROLLERS.filter((name) => !controllers.includes(name));
  if (missing.length === 0)
    return ok(subject, `${whose} uses version 2 with the controllers ${controllers.join(', ')}.`);
  return warn(
    subject,
    `${whose} uses version 2 without the controllers ${missing.join(', ')}: limits on these have no effect.`,
    'Enable them on the node (cgroup.subtree_control, and no controller bound to version 1), then restart its kubelet.',
  );
}

const seconds = (ms: number): string => (ms / 1_000).toFixed(ms < 100 ? 3 : 1);
