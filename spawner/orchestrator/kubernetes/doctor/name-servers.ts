import { type Finding, ok, warn } from '../../../../core/finding.ts';

const SUBJECT = 'name servers';

/** What an administrator sees of the cluster's DNS; whether pods reach it is what a probe finds out. Pure. */
export function judgeDnsPrograms(seen: {
  /** Names of the cluster's DaemonSets. */
  readonly daemonSets: readonly string[];
  /** How many pods have the label that the policies name. */
  readonly labeledPods: number;
  readonly nameServers: readonly string[];
}): Finding {
  const tryIt = 'Test it with podgate doctor --probe IMAGE; for settings, see docs/operations.md, "Cluster DNS".';
  const nodeLocal = seen.daemonSets.find((name) => /^(node-local-dns|nodelocaldns)$/.test(name));
  if (nodeLocal !== undefined && seen.nameServers.length === 0) {
    return warn(
      SUBJECT,
      `${nodeLocal} (NodeLocal DNSCache) is running: policies allow its usual address 169.254.20.10; with a different address, pods cannot resolve names.`,
      tryIt,
    );
  }
  if (nodeLocal !== undefined)
    return ok(SUBJECT, `${nodeLocal} is running, and kubernetes.nameServers contains ${seen.nameServers.join(', ')}.`);
  if (seen.daemonSets.includes('dns-default')) return ok(SUBJECT, 'OpenShift’s dns-default, which the policies allow.');
  if (seen.labeledPods > 0) return ok(SUBJECT, 'Pods with the label k8s-app: kube-dns, which the policies allow.');
  return warn(SUBJECT, 'No pod has the label k8s-app: kube-dns that the policies allow.', tryIt);
}
