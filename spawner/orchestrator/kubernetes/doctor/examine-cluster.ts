import type { Clock } from '../../../../core/clock.ts';
import { errorText, PodgateError } from '../../../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';
import { isRecord, type JsonRecord, listAt, parseJson, recordAt, textAt } from '../api/json.ts';
import { createKubeApi, type KubeApi, openKubeConfig } from '../api/kube-api.ts';
import { refusalOf } from '../api/refusal.ts';
import { collectionPath } from '../objects.ts';
import { createTemplateCatalog } from '../../../templates/catalog.ts';
import { nameServerRules, outsideRule } from '../manifests/network-policy.ts';
import { judgeClock } from './judge-clock.ts';
import { judgeTemplateImages } from './judge-images.ts';
import { judgeCgroup } from './judge-probe.ts';
import { judgeDnsPrograms } from './name-servers.ts';
import { judgeNetworkPrograms } from './network-programs.ts';
import { judgeKubelets, judgeNodeClocks } from './nodes.ts';
import { ownCgroup } from './own-cgroup.ts';
import { NEEDED, type Permission, permissionName, surplusOf } from './permissions.ts';
import { probeNetwork } from './probe-network.ts';
import { judgeStorage } from './storage.ts';

/** Of minor versions of Kubernetes 1: policies and pods as they are made here were not all there before. */
const LEAST_MINOR = 30;
const SHOWN = 6;
const AS_ADMINISTRATOR = 'Also run podgate doctor as a cluster administrator, with your KUBECONFIG.';

export interface ClusterToExamine {
  /** Null = the account of the pod that we run in. */
  readonly kubeconfig: string | null;
  /** Of the pods. */
  readonly namespace: string;
  readonly podSecurity: 'restricted' | 'baseline';
  /** Null = the cluster's default. */
  readonly storageClass: string | null;
  /** Of the volumes that users share; its class null = storageClass. */
  readonly namedVolumes?: { readonly storageClass: string | null };
  /** As of KubernetesSettings. */
  readonly egressExcept: readonly string[];
  readonly nameServers: readonly string[];
  /** Instead of the templates' own. */
  readonly templateImages: Readonly<Record<string, string>>;
  /** An image that has Node, to try with two pods whether network policies hold; null = only look. */
  readonly probeImage: string | null;
  readonly clock: Clock;
}

/** Looks at what the cluster really grants and enforces. Every finding stands for itself; nothing throws. */
export async function* examineCluster(options: ClusterToExamine, signal: AbortSignal): AsyncGenerator<Finding> {
  let api: KubeApi;
  let serverMinor: number;
  try {
    api = createKubeApi({ config: openKubeConfig(options.kubeconfig), clock: options.clock });
    serverMinor = yield* examineServer(api, options.clock, signal);
  } catch (error) {
    yield fail(
      'API server',
      reasonOf(error),
      'Podgate can neither create nor observe pods; check its log and KUBECONFIG.',
    );
    return;
  }
  if (options.kubeconfig === null) yield judgeCgroup(ownCgroup(), 'The node of this replica');
  yield judgeTemplateImages(createTemplateCatalog(options.templateImages).list());
  const parts = [
    examinePermissions(api, options.namespace, signal),
    examinePodSecurity(api, options, signal),
    examineNodes(api, { clock: options.clock, serverMinor }, signal),
    examineStorage(api, options, signal),
    examineNetwork(api, options, signal),
  ];
  for (const part of parts) {
    try {
      yield* part;
    } catch (error) {
      yield fail('API server', reasonOf(error), 'Run the doctor again when it responds.');
    }
  }
}

/** Returns the minor version of the server; NaN = unknown. */
async function* examineServer(api: KubeApi, clock: Clock, signal: AbortSignal): AsyncGenerator<Finding, number> {
  const askedMs = clock.now();
  const response = await api.request({ method: 'GET', path: '/version' }, signal);
  const version = parseJson(response.text);
  if (!isRecord(version) || textAt(version, 'gitVersion') === '') {
    throw new PodgateError('orchestrator.unavailable', { detail: `it responds with ${response.status} to /version` });
  }
  const shown = `Kubernetes ${textAt(version, 'gitVersion')} answers.`;
  const minor = Number.parseInt(textAt(version, 'minor'), 10);
  yield textAt(version, 'major') === '1' && minor < LEAST_MINOR
    ? warn('API server', shown, `Podgate requires 1.${LEAST_MINOR} or later; upgrade the cluster.`)
    : ok('API server', shown);
  if (response.serverTimeMs === null) return minor;
  // Between asking and the answer, and then the second that the stamp does not tell.
  const ahead = response.serverTimeMs - clock.now();
  const behind = askedMs - (response.serverTimeMs + 1_000);
  const apartMs = Math.max(0, ahead, behind);
  yield judgeClock('that of the API server', apartMs);
  return minor;
}

async function* examinePermissions(api: KubeApi, namespace: string, signal: AbortSignal): AsyncGenerator<Finding> {
  const review = async ({ group, resource, verb }: Permission): Promise<boolean> => {
    const [name = '', subresource] = resource.split('/');
    const resourceAttributes = { namespace, group, resource: name, subresource, verb };
    return (await reviewed(api, 'SelfSubjectAccessReview', { resourceAttributes }, signal))['allowed'] === true;
  };
  const missing: string[] = [];
  for (const permission of NEEDED) if (!(await review(permission))) missing.push(permissionName(permission));
  yield missing.length === 0
    ? ok('permissions', `This account has all permissions that Podgate needs in ${namespace}.`)
    : fail(
        'permissions',
        `This account lacks permissions in ${namespace}: ${missing.join(', ')}.`,
        'Apply the Role and RoleBinding of deploy/base/account.yaml.',
      );

  const status = await reviewed(api, 'SelfSubjectRulesReview', { namespace }, signal);
  const surplus = surplusOf(status).map(permissionName);
  if (surplus.some((name) => name.startsWith('* *'))) {
    yield warn(
      'permissions',
      'This account is an administrator and can do everything.',
      'That is fine for running the doctor; Podgate itself should run as the ServiceAccount in deploy/base/account.yaml.',
    );
  } else if (surplus.length > 0) {
    const shown = surplus.slice(0, SHOWN).join(', ');
    const more = surplus.length > SHOWN ? ` and ${surplus.length - SHOWN} more` : '';
    yield warn(
      'permissions',
      `This account has more permissions than needed: ${shown}${more}.`,
      'Revoke those that you did not mean to grant.',
    );
  } else {
    yield ok('permissions', 'It has no other permissions there.');
  }
}

/** By trying, without making anything: labels of the namespace, and what the cluster enforces besides, act alike. */
async function* examinePodSecurity(
  api: KubeApi,
  { namespace, podSecurity }: ClusterToExamine,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const subject = 'pod security';
  const remedy = `kubectl label namespace ${namespace} pod-security.kubernetes.io/enforce=${podSecurity}`;
  const tries = { restricted: {}, baseline: { hostNetwork: true, hostPID: true } };
  for (const level of ['restricted', 'baseline'] as const) {
    const name = `podgate-doctor-${crypto.randomUUID().slice(0, 8)}`;
    const body = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: { automountServiceAccountToken: false, containers: [{ name: 'main', image: 'none' }], ...tries[level] },
    };
    const request = {
      method: 'POST',
      path: collectionPath(namespace, 'pods'),
      query: { dryRun: 'All' },
      body,
    } as const;
    const response = await api.request(request, signal);
    if (response.status < 300) continue;
    const { message } = refusalOf(response);
    if (!message.includes('PodSecurity')) {
      yield warn(subject, `It could not be tested: ${message}`, `Fix this, then run the doctor again.`);
      return;
    }
    yield level === podSecurity || level === 'restricted'
      ? ok(subject, `Pods in ${namespace} must comply with the level ${level}.`)
      : warn(subject, `Pods in ${namespace} only have to comply with the level ${level}.`, remedy);
    return;
  }
  yield warn(subject, `Nothing protects the nodes from pods in ${namespace}.`, remedy);
}

async function* examineNodes(
  api: KubeApi,
  { clock, serverMinor }: { readonly clock: Clock; readonly serverMinor: number },
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const nodes = await listed(api, '/api/v1/nodes', signal);
  if (nodes === null) {
    yield warn('nodes', 'This account cannot list nodes.', AS_ADMINISTRATOR);
    return;
  }
  yield* judgeKubelets(nodes, serverMinor);
  const leases = await listed(api, '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', signal);
  yield* judgeNodeClocks(leases ?? [], clock.now());
}

async function* examineStorage(
  api: KubeApi,
  { storageClass, namedVolumes }: ClusterToExamine,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const classes = await listed(api, '/apis/storage.k8s.io/v1/storageclasses', signal);
  if (classes === null) {
    yield warn('storage', 'This account cannot list storage classes.', AS_ADMINISTRATOR);
    return;
  }
  const drivers = await listed(api, '/apis/storage.k8s.io/v1/csidrivers', signal);
  const names = drivers === null ? null : drivers.map(nameOf);
  yield* judgeStorage(classes, storageClass, names);
  const shared = namedVolumes?.storageClass ?? null;
  if (shared !== null && shared !== storageClass) {
    yield* judgeStorage(classes, shared, names, 'kubernetes.namedVolumes.storageClass');
  }
}

async function* examineNetwork(
  api: KubeApi,
  { namespace, probeImage, clock, egressExcept, nameServers }: ClusterToExamine,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const subject = 'network policies';
  const policies = (await listed(api, collectionPath(namespace, 'networkpolicies'), signal)) ?? [];
  yield policies.some(deniesAll)
    ? ok(subject, `Pods in ${namespace} are isolated unless a policy of their own allows traffic.`)
    : warn(
        subject,
        `Nothing isolates pods in ${namespace} that have no policy of their own.`,
        'Apply deploy/base/network-policies.yaml.',
      );
  if (probeImage !== null) {
    const egress = [...nameServerRules(nameServers), outsideRule(egressExcept)];
    yield* probeNetwork({ api, clock, namespace, image: probeImage, egress }, signal);
    return;
  }
  const daemonSets = (await listed(api, '/apis/apps/v1/daemonsets', signal))?.map(nameOf) ?? null;
  yield judgeNetworkPrograms(daemonSets);
  const query = { labelSelector: 'k8s-app=kube-dns', limit: '10' };
  const dns = await listed(api, '/api/v1/pods', signal, query);
  if (daemonSets !== null && dns !== null) yield judgeDnsPrograms({ daemonSets, labeledPods: dns.length, nameServers });
}

/** A policy for every pod, both ways, without exceptions. */
function deniesAll(policy: JsonRecord): boolean {
  const spec = recordAt(policy, 'spec');
  const types = spec['policyTypes'];
  const isForAll = Object.keys(recordAt(spec, 'podSelector')).length === 0;
  const both = Array.isArray(types) && types.includes('Ingress') && types.includes('Egress');
  return isForAll && both && listAt(spec, 'ingress').length === 0 && listAt(spec, 'egress').length === 0;
}

async function reviewed(api: KubeApi, kind: string, spec: object, signal: AbortSignal): Promise<JsonRecord> {
  const path = `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`;
  const body = { apiVersion: 'authorization.k8s.io/v1', kind, spec };
  const response = await api.request({ method: 'POST', path, body }, signal);
  const answer = parseJson(response.text);
  return isRecord(answer) ? recordAt(answer, 'status') : {};
}

/** Null where this account may not list them, or the server has no such kind. */
async function listed(
  api: KubeApi,
  path: string,
  signal: AbortSignal,
  query: Readonly<Record<string, string>> = {},
): Promise<readonly JsonRecord[] | null> {
  const response = await api.request({ method: 'GET', path, query }, signal);
  const body = response.status < 300 ? parseJson(response.text) : null;
  return isRecord(body) ? listAt(body, 'items') : null;
}

function nameOf(object: JsonRecord): string {
  return textAt(recordAt(object, 'metadata'), 'name');
}

/** An operator reads this: what the log would say. */
function reasonOf(error: unknown): string {
  if (!(error instanceof PodgateError)) return `${errorText(error)}.`;
  return error.code === 'config.invalid' ? error.publicMessages.join(' ') : `${error.message}.`;
}
