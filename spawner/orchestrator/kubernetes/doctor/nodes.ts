import { type Finding, ok, warn } from '../../../../core/finding.ts';
import { type JsonRecord, recordAt, textAt } from '../api/json.ts';
import { judgeClock } from './judge-clock.ts';

const SUBJECT = 'nodes';
/** By which a kubelet may be older than its API server; newer it must not be (version skew policy of Kubernetes). */
const SKEW_MINORS = 3;
/** A kubelet renews its lease this often. */
const RENEWAL_MS = 10_000;
/** A lease that is older is of a node that is away, and says nothing about its clock. */
const AWAY_MS = 40_000;

/** Their kubelets, as the nodes report them. `serverMinor` NaN = unknown. Pure. */
export function judgeKubelets(nodes: readonly JsonRecord[], serverMinor: number): readonly Finding[] {
  const info = nodes.map((node) => recordAt(recordAt(node, 'status'), 'nodeInfo'));
  const versions = distinct(info.map((each) => textAt(each, 'kubeletVersion')));
  const runtimes = distinct(info.map((each) => textAt(each, 'containerRuntimeVersion')));
  const shown = `${nodes.length} with kubelet ${versions.join(', ')} and ${runtimes.join(', ')}.`;
  const unfit = versions.filter((version) => {
    const minor = Number(/^v1\.(\d+)/.exec(version)?.[1] ?? NaN);
    return minor > serverMinor || serverMinor - minor > SKEW_MINORS;
  });
  return [
    unfit.length === 0
      ? ok(SUBJECT, shown)
      : warn(
          SUBJECT,
          shown,
          `Kubelet ${unfit.join(', ')} is not compatible with this API server (kubelets must not be newer, nor more than ${SKEW_MINORS} minor versions older): upgrade the nodes.`,
        ),
  ];
}

/** The clocks of the nodes, by the leases that their kubelets renew: the one that is furthest from ours. Pure. */
export function judgeNodeClocks(leases: readonly JsonRecord[], nowMs: number): readonly Finding[] {
  const apart = leases.flatMap((lease) => {
    const renewedMs = Date.parse(textAt(recordAt(lease, 'spec'), 'renewTime'));
    const ageMs = nowMs - renewedMs;
    if (Number.isNaN(ageMs) || ageMs > AWAY_MS) return [];
    const name = textAt(recordAt(lease, 'metadata'), 'name');
    return [{ name, apartMs: Math.max(0, -ageMs, ageMs - RENEWAL_MS) }];
  });
  const [worst] = apart.toSorted((one, other) => other.apartMs - one.apartMs);
  return worst === undefined ? [] : [judgeClock(`that of the node ${worst.name}`, worst.apartMs)];
}

function distinct(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)].toSorted();
}
