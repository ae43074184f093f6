import type { Clock } from '../../../../core/clock.ts';
import { errorText, PodgateError } from '../../../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';
import { isRecord, type JsonRecord, listAt, parseJson, recordAt, textAt } from '../api/json.ts';
import { createKubeApi, type KubeApi, openKubeConfig } from '../api/kube-api.ts';
import { refusalOf } from '../api/refusal.ts';
import { collectionPath } from '../objects.ts';
import { judgeNetworkPrograms, probeNetwork } from './network.ts';
import { NEEDED, type Permission, permissionName, surplusOf } from './permissions.ts';

/** Of minor versions of Kubernetes 1: policies and pods as they are made here were not all there before. */
const LEAST_MINOR = 30;
/** Stamps of the server are whole seconds. */
const CLOCK_WARN_MS = 5_000;
const CLOCK_FAIL_MS = 60_000;
const SHOWN = 6;

export interface ClusterToExamine {
  /** Null = the account of the pod that we run in. */
  readonly kubeconfig: string | null;
  /** Of the pods. */
  readonly namespace: string;
  readonly podSecurity: 'restricted' | 'baseline';
  /** Null = the cluster's default. */
  readonly storageClass: string | null;
  /** An image that has Node, to try with two pods whether network policies hold; null = only look. */
  readonly probeImage: string | null;
  readonly clock: Clock;
}

/** Looks at what the cluster really grants and enforces. Every finding stands for itself; nothing throws. */
export async function* examineCluster(options: ClusterToExamine, signal: AbortSignal): AsyncGenerator<Finding> {
  let api: KubeApi;
  try {
    api = createKubeApi({ config: openKubeConfig(options.kubeconfig), clock: options.clock });
    yield* examineServer(api, options.clock, signal);
  } catch (error) {
    yield fail(
      'API server',
      reasonOf(error),
      'Podgate can neither make pods nor see them; see its log and KUBECONFIG.',
    );
    return;
  }
  const parts = [
    examinePermissions(api, options.namespace, signal),
    examinePodSecurity(api, options, signal),
    examineStorage(api, options.storageClass, signal),
    examineNetwork(api, options, signal),
  ];
  for (const part of parts) {
    try {
      yield* part;
    } catch (error) {
      yield fail('API server', reasonOf(error), 'Look again when it answers.');
    }
  }
}

async function* examineServer(api: KubeApi, clock: Clock, signal: AbortSignal): AsyncGenerator<Finding> {
  const askedMs = clock.now();
  const response = await api.request({ method: 'GET', path: '/version' }, signal);
  const version = parseJson(response.text);
  if (!isRecord(version) || textAt(version, 'gitVersion') === '') {
    throw new PodgateError('orchestrator.unavailable', { detail: `it answers ${response.status} to /version` });
  }
  const shown = `Kubernetes ${textAt(version, 'gitVersion')} answers.`;
  const minor = Number.parseInt(textAt(version, 'minor'), 10);
  yield textAt(version, 'major') === '1' && minor < LEAST_MINOR
    ? warn('API server', shown, `Podgate is made for 1.${LEAST_MINOR} and later; upgrade the cluster.`)
    : ok('API server', shown);
  if (response.serverTimeMs === null) return;
  // Between asking and the answer, and then the second that the stamp does not tell.
  const ahead = response.serverTimeMs - clock.now();
  const behind = askedMs - (response.serverTimeMs + 1_000);
  const apartMs = Math.max(0, ahead, behind);
  const apart = `This clock and that of the API server are ${(apartMs / 1000).toFixed(0)} s apart.`;
  const remedy = 'Synchronise the clocks of the nodes (NTP): stop times and tokens go by them.';
  if (apartMs > CLOCK_FAIL_MS) yield fail('clock', apart, remedy);
  else if (apartMs > CLOCK_WARN_MS) yield warn('clock', apart, remedy);
  else yield ok('clock', apart);
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
    ? ok('permissions', `This account may do all that Podgate needs in ${namespace}.`)
    : fail(
        'permissions',
        `This account may not do in ${namespace}: ${missing.join(', ')}.`,
        'Apply the Role and RoleBinding of deploy/base/account.yaml.',
      );

  const status = await reviewed(api, 'SelfSubjectRulesReview', { namespace }, signal);
  const surplus = surplusOf(status).map(permissionName);
  if (surplus.some((name) => name.startsWith('* *'))) {
    yield warn(
      'permissions',
      'This account may do everything: it is an administrator’s.',
      'That is well for looking; Podgate itself should run as the ServiceAccount of deploy/base/account.yaml.',
    );
  } else if (surplus.length > 0) {
    const shown = surplus.slice(0, SHOWN).join(', ');
    const more = surplus.length > SHOWN ? ` and ${surplus.length - SHOWN} more` : '';
    yield warn('permissions', `This account may also: ${shown}${more}.`, 'Take away what you did not mean to give.');
  } else {
    yield ok('permissions', 'It may do nothing else there.');
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
      yield warn(subject, `It could not be tried: ${message}`, `Mend that, then look again.`);
      return;
    }
    yield level === podSecurity || level === 'restricted'
      ? ok(subject, `Pods of ${namespace} must keep to the level ${level}.`)
      : warn(subject, `Pods of ${namespace} must keep to the level ${level} only.`, remedy);
    return;
  }
  yield warn(subject, `Nothing keeps a pod of ${namespace} from the node it runs on.`, remedy);
}

async function* examineStorage(api: KubeApi, wanted: string | null, signal: AbortSignal): AsyncGenerator<Finding> {
  const subject = 'storage';
  const response = await api.request({ method: 'GET', path: '/apis/storage.k8s.io/v1/storageclasses' }, signal);
  if (response.status === 403) {
    yield warn(
      subject,
      'Storage classes cannot be seen by this account.',
      'Run it as an administrator of the cluster, too: npx podgate doctor with your KUBECONFIG.',
    );
    return;
  }
  const body = parseJson(response.text);
  const classes = isRecord(body) ? listAt(body, 'items') : [];
  const found = classes.find((item) => (wanted === null ? isDefault(item) : nameOf(item) === wanted));
  if (found !== undefined) yield ok(subject, `Volumes are made by the storage class ${nameOf(found)}.`);
  else if (wanted === null) {
    yield fail(
      subject,
      'The cluster has no default storage class: pods with volumes, and Redis, never start.',
      'Mark one as the default, or name one under kubernetes.storageClass.',
    );
  } else yield fail(subject, `There is no storage class ${wanted}.`, 'Correct kubernetes.storageClass.');
}

async function* examineNetwork(
  api: KubeApi,
  { namespace, probeImage }: ClusterToExamine,
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const subject = 'network policies';
  const policies = await api.request({ method: 'GET', path: collectionPath(namespace, 'networkpolicies') }, signal);
  const body = parseJson(policies.text);
  const all = isRecord(body) ? listAt(body, 'items') : [];
  yield all.some(deniesAll)
    ? ok(subject, `Pods of ${namespace} are cut off unless a policy of their own says otherwise.`)
    : warn(
        subject,
        `Nothing cuts off pods of ${namespace} that have no policy of their own.`,
        'Apply deploy/base/network-policies.yaml.',
      );
  if (probeImage !== null) {
    yield* probeNetwork({ api, namespace, image: probeImage }, signal);
    return;
  }
  const programs = await api.request({ method: 'GET', path: '/apis/apps/v1/daemonsets' }, signal);
  const listed = parseJson(programs.text);
  const names = programs.status < 300 && isRecord(listed) ? listAt(listed, 'items').map(nameOf) : null;
  yield judgeNetworkPrograms(names);
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

function isDefault(storageClass: JsonRecord): boolean {
  const annotations = recordAt(recordAt(storageClass, 'metadata'), 'annotations');
  return textAt(annotations, 'storageclass.kubernetes.io/is-default-class') === 'true';
}

function nameOf(object: JsonRecord): string {
  return textAt(recordAt(object, 'metadata'), 'name');
}

/** An operator reads this: what the log would say. */
function reasonOf(error: unknown): string {
  if (!(error instanceof PodgateError)) return `${errorText(error)}.`;
  return error.code === 'config.invalid' ? error.publicMessages.join(' ') : `${error.message}.`;
}
