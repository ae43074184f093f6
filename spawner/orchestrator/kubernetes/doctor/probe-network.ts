import type { V1NetworkPolicyEgressRule } from '@kubernetes/client-node';
import { pause } from '../../../../core/abort.ts';
import type { Clock } from '../../../../core/clock.ts';
import { PodgateError } from '../../../../core/errors.ts';
import { type Finding, warn } from '../../../../core/finding.ts';
import { isRecord, type JsonRecord, listAt, parseJson, recordAt, textAt } from '../api/json.ts';
import type { KubeApi } from '../api/kube-api.ts';
import { refusalOf } from '../api/refusal.ts';
import { type Collection, collectionPath } from '../objects.ts';
import { judgeClock } from './judge-clock.ts';
import {
  judgeCgroup,
  judgeFence,
  judgeFenceOfUsersPods,
  judgeNameServers,
  parseProbeReport,
  type ProbeReport,
} from './judge-probe.ts';
import { PROBE_PORT, probeTargets, REACH, SERVE } from './probe-script.ts';

const READY_MS = 90_000;
const LOOK_MS = 500;
const CLEAN_UP_MS = 10_000;
/** Of pods of one trial, for its policy. */
const ROLE = 'podgate.io/doctor';

/** Reasons of a waiting container that no waiting mends. */
const HOPELESS = /\b(ImagePullBackOff|InvalidImageName|CreateContainerConfigError)\b/;

export interface Probe {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly namespace: string;
  /** Has Node. */
  readonly image: string;
  /** What the policies of users' pods let them reach. */
  readonly egress: readonly V1NetworkPolicyEgressRule[];
}

/**
 * Three pods for some seconds: one to be reached; one without a policy of its own, and one with that of users' pods, that
 * try to reach it, the API server, and the cloud's metadata. All is gone afterwards. Nothing throws.
 */
export async function* probeNetwork(probe: Probe, signal: AbortSignal): AsyncGenerator<Finding> {
  const { api, namespace } = probe;
  const id = crypto.randomUUID().slice(0, 8);
  const [server, bare, usual] = ['server', 'bare', 'usual'].map((role) => `podgate-doctor-${id}-${role}`) as [
    string,
    string,
    string,
  ];
  try {
    await create(probe, 'networkpolicies', policy(usual, probe.egress), signal);
    await create(probe, 'pods', pod(probe, { name: server, script: SERVE, isServer: true }), signal);
    const { found: addresses } = await becomes(probe, server, addressesWhenReady, signal);
    const targets = JSON.stringify(probeTargets(addresses));
    for (const [name, names] of [
      [bare, 'no'],
      [usual, 'yes'],
    ] as const) {
      await create(
        probe,
        'pods',
        pod(probe, { name, script: REACH, environment: { TARGETS: targets, NAMES: names } }),
        signal,
      );
    }
    const [ofBare, ofUsual] = [await reportOf(probe, bare, signal), await reportOf(probe, usual, signal)];
    const fence = judgeFence(ofBare.report);
    yield fence;
    const usersFence = fence.level === 'fail' ? null : judgeFenceOfUsersPods(ofUsual.report);
    if (usersFence !== null) yield usersFence;
    yield judgeNameServers(ofUsual.report, fence.level !== 'fail');
    yield judgeCgroup(ofBare.report?.cgroup ?? null, 'The node of that pod');
    if (ofBare.report !== null) yield judgeClock('that of the node of that pod', apartMs(ofBare.report, ofBare.seenMs));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    yield warn(
      'network policies',
      `They could not be tested: ${why}.`,
      'Use an image that contains Node and can be pulled, such as that of Podgate.',
    );
  } finally {
    const cleaning = AbortSignal.timeout(CLEAN_UP_MS);
    const paths = [
      ...[server, bare, usual].map((name) => pathOf(namespace, name)),
      `${collectionPath(namespace, 'networkpolicies')}/${usual}`,
    ];
    for (const path of paths) await api.request({ method: 'DELETE', path }, cleaning).catch(() => undefined);
  }
}

interface SeenReport {
  readonly report: ProbeReport | null;
  /** The pod has ended between these moments, by our clock. */
  readonly seenMs: readonly [number, number];
}

async function reportOf(probe: Probe, name: string, signal: AbortSignal): Promise<SeenReport> {
  const { betweenMs } = await becomes(
    probe,
    name,
    (pod) => (textAt(recordAt(pod, 'status'), 'phase') === 'Succeeded' ? 'ended' : null),
    signal,
  );
  const log = await probe.api.request({ method: 'GET', path: `${pathOf(probe.namespace, name)}/log` }, signal);
  return { report: parseProbeReport(log.text), seenMs: betweenMs };
}

function apartMs({ nowMs }: ProbeReport, [fromMs, toMs]: SeenReport['seenMs']): number {
  return Math.max(0, nowMs - toMs, fromMs - nowMs);
}

async function create({ api, namespace }: Probe, kind: Collection, body: object, signal: AbortSignal): Promise<void> {
  const response = await api.request({ method: 'POST', path: collectionPath(namespace, kind), body }, signal);
  if (response.status >= 300) throw new Error(refusalOf(response).message);
}

function policy(name: string, egress: readonly V1NetworkPolicyEgressRule[]): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, labels: { 'app.kubernetes.io/name': 'podgate-doctor' } },
    spec: { podSelector: { matchLabels: { [ROLE]: name } }, policyTypes: ['Ingress', 'Egress'], egress },
  };
}

function pod(
  { image }: Probe,
  {
    name,
    script,
    environment = {},
    isServer = false,
  }: {
    readonly name: string;
    readonly script: string;
    readonly environment?: Readonly<Record<string, string>>;
    readonly isServer?: boolean;
  },
): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { 'app.kubernetes.io/name': 'podgate-doctor', [ROLE]: name } },
    spec: {
      restartPolicy: 'Never',
      // Whatever becomes of us, they do not stay.
      activeDeadlineSeconds: 180,
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'main',
          image,
          command: ['node', '-e', script],
          env: [
            { name: 'POD_IPS', valueFrom: { fieldRef: { fieldPath: 'status.podIPs' } } },
            ...Object.entries(environment).map(([name, value]) => ({ name, value })),
          ],
          ports: [{ containerPort: PROBE_PORT }],
          ...(isServer ? { readinessProbe: { tcpSocket: { port: PROBE_PORT }, periodSeconds: 1 } } : {}),
          resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { cpu: '500m', memory: '256Mi' } },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  };
}

interface Seen<T> {
  readonly found: T;
  /** When we last did not see it, and when we did, by our clock. */
  readonly betweenMs: readonly [number, number];
}

async function becomes<T>(
  { api, clock, namespace }: Probe,
  name: string,
  answer: (pod: JsonRecord) => T | null,
  signal: AbortSignal,
): Promise<Seen<T>> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(READY_MS)]);
  let last = '';
  let lookedMs = clock.now();
  while (!deadline.aborted) {
    const askedMs = clock.now();
    const response = await api.request({ method: 'GET', path: pathOf(namespace, name) }, signal);
    const pod = parseJson(response.text);
    if (isRecord(pod)) {
      const found = answer(pod);
      if (found !== null) return { found, betweenMs: [lookedMs, clock.now()] };
      last = stateOf(pod);
      if (textAt(recordAt(pod, 'status'), 'phase') === 'Failed' || HOPELESS.test(last)) break;
    }
    lookedMs = askedMs;
    await pause(LOOK_MS, deadline);
  }
  throw new PodgateError('orchestrator.unavailable', { detail: `the pod ${name} does not start (${last})` });
}

function addressesWhenReady(pod: JsonRecord): readonly string[] | null {
  const status = recordAt(pod, 'status');
  const isReady = listAt(status, 'conditions').some(
    (condition) => textAt(condition, 'type') === 'Ready' && textAt(condition, 'status') === 'True',
  );
  const addresses = listAt(status, 'podIPs').map((each) => textAt(each, 'ip'));
  return isReady && addresses.length > 0 ? addresses : null;
}

function stateOf(pod: JsonRecord): string {
  const status = recordAt(pod, 'status');
  const waiting = listAt(status, 'containerStatuses').map((container) =>
    textAt(recordAt(recordAt(container, 'state'), 'waiting'), 'reason'),
  );
  const conditions = listAt(status, 'conditions').map((condition) => textAt(condition, 'message'));
  return [textAt(status, 'phase'), ...waiting, ...conditions].filter((text) => text !== '').join(': ');
}

function pathOf(namespace: string, name: string): string {
  return `${collectionPath(namespace, 'pods')}/${name}`;
}
