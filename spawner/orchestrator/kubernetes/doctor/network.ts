import { pause } from '../../../../core/abort.ts';
import { PodgateError } from '../../../../core/errors.ts';
import { fail, type Finding, ok, warn } from '../../../../core/finding.ts';
import { isRecord, type JsonRecord, listAt, parseJson, recordAt, textAt } from '../api/json.ts';
import type { KubeApi } from '../api/kube-api.ts';
import { refusalOf } from '../api/refusal.ts';
import { collectionPath } from '../objects.ts';

const SUBJECT = 'network policies';
const TRY_IT = 'Let it try: podgate doctor --probe IMAGE, with the image of Podgate.';

/** DaemonSets of networks that enforce policies, in any case. */
const ENFORCING =
  /^(calico-node|canal|cilium|anetd|antrea-agent|kube-router|weave-net|ovnkube-node|azure-npm|romana-agent)$/;
const NOT_ENFORCING = /^kube-flannel/;

/** By the names of the cluster's DaemonSets; null = they cannot be seen. Pure. */
export function judgeNetworkPrograms(names: readonly string[] | null): Finding {
  if (names === null) return warn(SUBJECT, 'Whether they hold cannot be seen by this account.', TRY_IT);
  const enforcing = names.find((name) => ENFORCING.test(name));
  if (enforcing !== undefined) return ok(SUBJECT, `${enforcing} enforces them.`);
  if (names.some((name) => NOT_ENFORCING.test(name))) {
    return fail(
      SUBJECT,
      'flannel ignores them: pods reach each other, Redis and the API server.',
      'Add a network that enforces them (Calico’s policy-only mode goes with flannel), or run only pods that you trust.',
    );
  }
  return warn(SUBJECT, 'The network of this cluster is not one that is known to enforce them.', TRY_IT);
}

const PORT = 8080;
const READY_MS = 90_000;
const LOOK_MS = 500;
const CLEAN_UP_MS = 10_000;

/** Reasons of a waiting container that no waiting mends. */
const HOPELESS = /\b(ImagePullBackOff|InvalidImageName|CreateContainerConfigError)\b/;

const SERVE = `require('net').createServer((c) => c.on('error', () => {}).end('podgate\\n')).listen(${PORT}, process.env.POD_IP)`;
/** Prints which of the addresses take a connection. */
const REACH = `
const targets = { ...JSON.parse(process.env.TARGETS) };
const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
if (host) targets.api = [host, Number(port)];
Promise.all(Object.entries(targets).map(([name, [host, port]]) => new Promise((resolve) => {
  const socket = require('net').connect({ host, port, timeout: 3000 }, () => resolve(name));
  const no = () => { socket.destroy(); resolve(null); };
  socket.on('error', no).on('timeout', no);
}))).then((names) => { console.log('reached ' + names.filter(Boolean).join(',')); process.exit(0); });
`;

interface Probe {
  readonly api: KubeApi;
  readonly namespace: string;
  readonly image: string;
}

/** Two pods without a policy of their own, one of which tries to reach the other: both are gone afterwards. */
export async function* probeNetwork(probe: Probe, signal: AbortSignal): AsyncGenerator<Finding> {
  const { api, namespace } = probe;
  const id = crypto.randomUUID().slice(0, 8);
  const [server, client] = [`podgate-doctor-${id}-server`, `podgate-doctor-${id}-client`];
  try {
    await make(probe, server, SERVE, {}, signal);
    const address = await becomes(probe, server, addressWhenReady, signal);
    await make(probe, client, REACH, { pod: [address, PORT], metadata: ['169.254.169.254', 80] }, signal);
    await becomes(
      probe,
      client,
      (pod) => (textAt(recordAt(pod, 'status'), 'phase') === 'Succeeded' ? 'ended' : null),
      signal,
    );
    const log = await api.request({ method: 'GET', path: `${pathOf(namespace, client)}/log` }, signal);
    yield judgeProbe(log.text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    yield warn(
      SUBJECT,
      `They could not be tried: ${why}.`,
      'Name an image that has Node and can be pulled: that of Podgate.',
    );
  } finally {
    const cleaning = AbortSignal.timeout(CLEAN_UP_MS);
    for (const name of [server, client]) {
      await api.request({ method: 'DELETE', path: pathOf(namespace, name) }, cleaning).catch(() => undefined);
    }
  }
}

const NAMES: Readonly<Record<string, string>> = {
  pod: 'another pod',
  api: 'the API server',
  metadata: 'the metadata address of the cloud',
};

/** What the client pod has printed. Pure. */
export function judgeProbe(log: string): Finding {
  const line = /^reached (.*)$/m.exec(log);
  if (line === null) return warn(SUBJECT, 'They could not be tried: the pod printed nothing of use.', TRY_IT);
  const reached = (line[1] ?? '').split(',').filter((name) => name !== '');
  if (reached.length === 0) return ok(SUBJECT, 'They hold: a pod without one of its own reaches nothing.');
  return fail(
    SUBJECT,
    `They do not hold: a pod reaches ${reached.map((name) => NAMES[name] ?? name).join(', ')}.`,
    'Apply deploy/base/network-policies.yaml; if it is, the network of this cluster does not enforce policies: replace it, or run only pods that you trust.',
  );
}

async function make(probe: Probe, name: string, script: string, targets: object, signal: AbortSignal): Promise<void> {
  const body = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { 'app.kubernetes.io/name': 'podgate-doctor' } },
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
          image: probe.image,
          command: ['node', '-e', script],
          env: [
            { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
            { name: 'TARGETS', value: JSON.stringify(targets) },
          ],
          ports: [{ containerPort: PORT }],
          ...(script === SERVE ? { readinessProbe: { tcpSocket: { port: PORT }, periodSeconds: 1 } } : {}),
          resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { cpu: '500m', memory: '256Mi' } },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  };
  const path = collectionPath(probe.namespace, 'pods');
  const response = await probe.api.request({ method: 'POST', path, body }, signal);
  if (response.status >= 300) throw new Error(refusalOf(response).message);
}

async function becomes(
  { api, namespace }: Probe,
  name: string,
  answer: (pod: JsonRecord) => string | null,
  signal: AbortSignal,
): Promise<string> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(READY_MS)]);
  let last = '';
  while (!deadline.aborted) {
    const response = await api.request({ method: 'GET', path: pathOf(namespace, name) }, signal);
    const pod = parseJson(response.text);
    if (isRecord(pod)) {
      const found = answer(pod);
      if (found !== null) return found;
      last = stateOf(pod);
      if (textAt(recordAt(pod, 'status'), 'phase') === 'Failed' || HOPELESS.test(last)) break;
    }
    await pause(LOOK_MS, deadline);
  }
  throw new PodgateError('orchestrator.unavailable', { detail: `the pod ${name} does not come up (${last})` });
}

function addressWhenReady(pod: JsonRecord): string | null {
  const status = recordAt(pod, 'status');
  const isReady = listAt(status, 'conditions').some(
    (condition) => textAt(condition, 'type') === 'Ready' && textAt(condition, 'status') === 'True',
  );
  return isReady && textAt(status, 'podIP') !== '' ? textAt(status, 'podIP') : null;
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
