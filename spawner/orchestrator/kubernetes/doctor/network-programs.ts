import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';

const SUBJECT = 'network policies';
const TRY_IT = 'Test it with podgate doctor --probe IMAGE, using the image of Podgate.';

/** DaemonSets of networks that enforce policies, in any case. */
const ENFORCING =
  /^(calico-node|canal|cilium|anetd|antrea-agent|kube-router|weave-net|ovnkube-node|azure-npm|romana-agent)$/;
const NOT_ENFORCING = /^kube-flannel/;

/** By the names of the cluster's DaemonSets; null = they cannot be seen. Pure. */
export function judgeNetworkPrograms(names: readonly string[] | null): Finding {
  if (names === null) return warn(SUBJECT, 'This account cannot see whether they are enforced.', TRY_IT);
  const enforcing = names.find((name) => ENFORCING.test(name));
  if (enforcing !== undefined) return ok(SUBJECT, `${enforcing} enforces them.`);
  if (names.some((name) => NOT_ENFORCING.test(name))) {
    return fail(
      SUBJECT,
      'flannel ignores them: pods can reach each other, Redis and the API server.',
      'Add a network that enforces them (Calico’s policy-only mode works with flannel), or run only pods that you trust.',
    );
  }
  return warn(SUBJECT, 'The network of this cluster is not known to enforce them.', TRY_IT);
}
