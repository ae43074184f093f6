import { describe, expect, it } from 'vitest';
import { createFailure } from '../../../spawner/orchestrator/kubernetes/api/refusal.ts';
import { ANNOTATION, LABEL, MANAGED_BY, parsePod } from '../../../spawner/orchestrator/kubernetes/objects.ts';
import { observationOf } from '../../../spawner/orchestrator/kubernetes/observation.ts';
import { createOverdueDeletions } from '../../../spawner/orchestrator/kubernetes/overdue-deletions.ts';
import { podStatus } from '../../../spawner/orchestrator/kubernetes/pod-status.ts';
import { chooseAge, createPodAges } from '../../../spawner/orchestrator/kubernetes/server-clock.ts';

const SCHEDULED = { type: 'PodScheduled', status: 'True' };
const READY = { type: 'Ready', status: 'True' };
const UNREADY = { type: 'Ready', status: 'False', reason: 'ContainersNotReady' };

/** What the node controller leaves of the condition: it changes the status alone. */
const SILENCED = { type: 'Ready', status: 'False', lastTransitionTime: '2026-01-01T00:01:00Z' };
const WITH_DATA = { volumes: [{ name: 'own-data', persistentVolumeClaim: { claimName: 'p' } }] };
const DELETED = { deletionTimestamp: '2026-01-01T00:05:00Z' };
const byTaint = {
  type: 'DisruptionTarget',
  status: 'True',
  reason: 'DeletionByTaintManager',
  message: 'Taint manager: deleting due to NoExecute taint',
};

function podOf(status: object, metadata: object = {}, spec: object = {}) {
  const labels = { [MANAGED_BY]: 'podgate', [LABEL.uid]: 'u', [LABEL.tenant]: 'dev', [LABEL.podId]: 'p' };
  const annotations = { [ANNOTATION.stanzas]: '{"default":5000}' };
  const pod = parsePod({
    metadata: { name: 'p', labels, annotations, ...metadata },
    spec,
    status: { podIP: '10.0.0.7', ...status },
  });
  if (pod === null) throw new Error('it is ours');
  return pod;
}

function statusOf(status: object, metadata: object = {}, spec: object = {}) {
  return podStatus(podOf(status, metadata, spec));
}

const container = (state: object, change: object = {}) => ({
  phase: 'Running',
  conditions: [SCHEDULED, UNREADY],
  containerStatuses: [{ name: 'pod', image: 'nginx:9', restartCount: 0, ready: false, state, ...change }],
});
const waiting = (reason: string, message = '', change: object = {}) => ({
  ...container({ waiting: { reason, message } }, change),
  phase: 'Pending',
});
const ended = (exitCode: number, change: object = {}) => ({
  terminated: {
    exitCode,
    reason: exitCode === 0 ? 'Completed' : 'Error',
    startedAt: '2026-01-01T00:00:00Z',
    finishedAt: '2026-01-01T00:00:05Z',
    ...change,
  },
});
const running = { running: { startedAt: '2026-01-01T00:00:00Z' } };

describe('a Pod with named volumes', () => {
  const unprepared = (state: object, change: object = {}) => ({
    ...waiting('PodInitializing'),
    initContainerStatuses: [{ name: 'volumes', image: 'podgate', restartCount: 1, ready: false, state, ...change }],
  });

  it('reports a mount that fails, also between two attempts', () => {
    const end = ended(1, { message: 'path: there is no "later".' });
    const message = 'A volume of this pod cannot be mounted: path: there is no "later".';
    const again = { waiting: { reason: 'CrashLoopBackOff', message: 'back-off' } };
    expect(statusOf(unprepared(end))).toMatchObject({ phase: 'crashing', message });
    expect(statusOf(unprepared(again, { lastState: end }))).toMatchObject({ phase: 'crashing', message });
    expect(statusOf(unprepared(running))).toMatchObject({ phase: 'pending', message: '' });
    const pull = { waiting: { reason: 'ErrImagePull', message: 'not found' } };
    expect(statusOf(unprepared(pull)).message).toMatch(/^The node cannot pull the image podgate: it does not exist/);
  });

  it('reports that another pod uses the volume, on a node without room', () => {
    const why = "0/2 nodes are available: 1 Insufficient memory, 1 node(s) didn't match pod affinity rules.";
    const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: why };
    const { phase, message } = statusOf({ phase: 'Pending', conditions: [condition] });
    expect([phase, message]).toEqual(['pending', expect.stringMatching(/^Another pod uses a volume of this pod on a/)]);
  });
});

describe('the status of a Pod', () => {
  it.each([
    ['new', { phase: 'Pending' }, 'pending', 'Waiting for a node.'],
    ['scheduled', { phase: 'Pending', conditions: [SCHEDULED] }, 'pending', ''],
    [
      'unschedulable',
      {
        phase: 'Pending',
        conditions: [
          {
            type: 'PodScheduled',
            status: 'False',
            reason: 'Unschedulable',
            message: '0/3 nodes are available: 3 Insufficient memory.',
          },
        ],
      },
      'pending',
      'No node has room for this pod: 0/3 nodes are available: 3 Insufficient memory.',
    ],
    ['image on its way', waiting('ContainerCreating'), 'pending', ''],
    [
      'no such image',
      waiting('ErrImagePull', 'nginx:9: not found'),
      'crashing',
      'The node cannot pull the image nginx:9: it does not exist. nginx:9: not found.',
    ],
    [
      'image refused',
      waiting('ImagePullBackOff', '401 Unauthorized'),
      'crashing',
      'The node cannot pull the image nginx:9: the registry does not allow it. 401 Unauthorized.',
    ],
    [
      'image that may not be pulled',
      waiting('ErrImageNeverPull'),
      'crashing',
      'The node does not have the image nginx:9 and is not allowed to pull it.',
    ],
    ['name that is none', waiting('InvalidImageName'), 'failed', 'The name of the image nginx:9 is not valid.'],
    [
      'image of root',
      waiting('CreateContainerConfigError', 'container has runAsNonRoot and image will run as root'),
      'crashing',
      'The image runs as root, which this cluster does not allow: use an image with a numeric user (USER 1000).',
    ],
    [
      'missing secret',
      waiting('CreateContainerConfigError', 'secret "x" not found'),
      'crashing',
      'The node cannot set the pod up: secret "x" not found.',
    ],
    [
      'no such program',
      waiting('RunContainerError', 'exec: "nope": not found'),
      'crashing',
      'The node cannot start the program: exec: "nope": not found.',
    ],
    ['running', container(running), 'starting', ''],
    ['ready', { ...container(running, { ready: true }), conditions: [SCHEDULED, READY] }, 'ready', ''],
    ['first failure', container(ended(3)), 'starting', 'The program exited with code 3.'],
    [
      'first back-off',
      waiting('CrashLoopBackOff', '', { restartCount: 1, lastState: ended(3) }),
      'starting',
      'The program exited with code 3.',
    ],
    [
      'crash loop',
      { ...waiting('CrashLoopBackOff', '', { restartCount: 2, lastState: ended(3) }), phase: 'Running' },
      'crashing',
      'The program exited with code 3, 3 times in a row.',
    ],
    [
      'crash loop, started again',
      container(running, { restartCount: 4, lastState: ended(3) }),
      'crashing',
      'The program exited with code 3, 5 times in a row.',
    ],
    [
      'one failure after a long life',
      container(running, { restartCount: 4, lastState: ended(3, { finishedAt: '2026-01-01T01:00:00Z' }) }),
      'starting',
      'The program exited with code 3.',
    ],
    [
      'out of memory',
      container(running, { restartCount: 2, lastState: ended(137, { reason: 'OOMKilled' }) }),
      'crashing',
      'The program used more memory than its limit and was killed, 3 times in a row.',
    ],
    ['killed', container(ended(143)), 'starting', 'The program was killed by SIGTERM.'],
    [
      'last words',
      container(ended(1, { message: 'no\nsuch file' })),
      'starting',
      'The program exited with code 1: no such file.',
    ],
    ['completed', { ...container(ended(0)), phase: 'Succeeded' }, 'completed', ''],
    ['failed', { ...container(ended(2)), phase: 'Failed' }, 'failed', 'The program exited with code 2.'],
    [
      'evicted',
      { phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' },
      'evicted',
      'The node was short of a resource and evicted this pod: The node was low on resource: memory. It starts again by itself.',
    ],
    [
      'preempted',
      {
        phase: 'Failed',
        conditions: [
          { type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler', message: 'room for another' },
        ],
      },
      'evicted',
      'The cluster has ended this pod (PreemptionByScheduler): room for another. It starts again by itself.',
    ],
    [
      'node silent: the node controller gives no reason',
      {
        ...container(running, { ready: true }),
        conditions: [SCHEDULED, { type: 'Ready', status: 'False' }, { type: 'ContainersReady', status: 'True' }],
      },
      'ready',
      'The node of this pod has stopped reporting, so this status may be out of date. Connections work as long as the pod responds.',
    ],
    [
      'readiness probe failing, by a kubelet that reports',
      {
        ...container(running, { ready: false }),
        conditions: [SCHEDULED, UNREADY, { type: 'ContainersReady', status: 'False', reason: 'ContainersNotReady' }],
      },
      'starting',
      '',
    ],
    [
      'its kubelet has started again, and has not probed it again yet',
      {
        ...container(running, { ready: false, started: false }),
        conditions: [SCHEDULED, { ...UNREADY, lastTransitionTime: '2026-01-01T00:02:00Z' }],
      },
      'ready',
      '',
    ],
    [
      'its kubelet has started again, and readiness fails though it has started',
      {
        ...container(running, { ready: false, started: true }),
        conditions: [SCHEDULED, { ...UNREADY, lastTransitionTime: '2026-01-01T00:02:00Z' }],
      },
      'starting',
      '',
    ],
    [
      'started again by its kubelet, which noticed the end 2 s later',
      {
        ...container(running, { ready: false, started: false, restartCount: 1 }),
        conditions: [SCHEDULED, { ...UNREADY, lastTransitionTime: '2026-01-01T00:00:02Z' }],
      },
      'starting',
      '',
    ],
    ['unknown', { phase: 'Unknown' }, 'starting', 'The node of this pod does not respond: its state is unknown.'],
  ])('%s', (_what, status, phase, message) => {
    expect(statusOf(status)).toMatchObject({ phase, message });
  });

  it.each([
    'Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ',
    'Container pod exceeded its local ephemeral storage limit "1Gi". ',
    'Usage of EmptyDir volume "scratch-0" exceeds the limit "1Gi". ',
  ])('is a limit of its own where the kubelet says: %s', (message) => {
    expect(statusOf({ phase: 'Failed', reason: 'Evicted', message })).toMatchObject({
      phase: 'exceeded',
      message: `The pod exceeded its storage limit, and its node evicted it: ${message.trim()}`,
    });
  });

  it('has not completed if it should run on: it was ended from outside', () => {
    const status = { ...container(ended(0)), phase: 'Succeeded' };
    expect(statusOf(status, {}, { restartPolicy: 'OnFailure' }).phase).toBe('completed');
    expect(statusOf(status, {}, { restartPolicy: 'Always' })).toMatchObject({
      phase: 'evicted',
      message: 'The cluster has ended this pod without giving a reason. It starts again by itself.',
    });
  });

  const silenced = { ...container(running, { ready: true }), conditions: [SCHEDULED, SILENCED] };
  const addressOf = (pod: ReturnType<typeof podOf>) => observationOf(pod, null, 0).addresses['default']?.address;

  it('has no address once it is evicted, whatever the last state of its container', () => {
    const ready = { ...container(running, { ready: true }), conditions: [SCHEDULED, READY] };
    expect(addressOf(podOf(ready))).toBe('10.0.0.7');
    expect(addressOf(podOf({ ...ready, phase: 'Failed', reason: 'Evicted' }))).toBeUndefined();
  });

  it('of a pod on a silent node that the cluster gives up says what it waits for', () => {
    const status = { ...silenced, conditions: [SCHEDULED, SILENCED, byTaint] };
    expect(statusOf(status, DELETED).phase).toBe('stopping');
    expect(statusOf(status, DELETED).message).toMatch(/will give it up soon\.$/);
    expect(statusOf(status, DELETED, WITH_DATA).message).toMatch(
      /must not be used twice: Podgate waits until the node reports again, is deleted or is marked out of service\.$/,
    );
    const drained = { ...byTaint, reason: 'EvictionByEvictionAPI', message: 'Eviction API: evicting' };
    expect(statusOf({ ...silenced, conditions: [SCHEDULED, READY, drained] }, DELETED).message).toBe(
      'The cluster ends this pod (EvictionByEvictionAPI): Eviction API: evicting. It starts again by itself.',
    );
  });

  it('waits for the node that has its volume, and says so', () => {
    for (const words of [
      "0/2 nodes are available: 1 node(s) were unschedulable, 1 node(s) didn't match PersistentVolume's node affinity.",
      '0/2 nodes are available: 1 node(s) had volume node affinity conflict.',
    ]) {
      const conditions = [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: words }];
      expect(statusOf({ phase: 'Pending', conditions }, {}, WITH_DATA)).toMatchObject({
        phase: 'pending',
        message: `The volume of this pod can be used on one node only, which accepts no pods now; the pod waits for it: ${words}`,
      });
    }
  });

  it('waits for the Pod that uses its volume, and says so', () => {
    for (const words of [
      '0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.',
      '0/1 nodes are available: 1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod.',
    ]) {
      const conditions = [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: words }];
      expect(statusOf({ phase: 'Pending', conditions }, {}, WITH_DATA)).toMatchObject({
        phase: 'pending',
        message: `Another Pod of the cluster uses the volume of this pod, which only one may; this pod starts when that has ended: ${words}`,
      });
    }
  });

  it('is lost when its deletion is overdue and no data is at stake, on a clock that does not jump', () => {
    let serverMs: number | null = null;
    let nowMs = 0;
    const clock = { monotonicMs: () => nowMs };
    const deletions = createOverdueDeletions({ clock, serverNowMs: () => serverMs, lostAfterMs: 30_000 });
    const pod = podOf(silenced, { ...DELETED, uid: 'o' });
    expect(deletions.isLost(pod)).toBe(false);
    serverMs = Date.parse(DELETED.deletionTimestamp) - 1;
    expect(deletions.isLost(pod)).toBe(false);
    // The server's clock jumps a day ahead: the waiting only begins.
    serverMs += 86_400_000;
    expect(deletions.isLost(pod)).toBe(false);
    nowMs += 29_999;
    expect(deletions.isLost(pod)).toBe(false);
    nowMs += 1;
    expect(deletions.isLost(pod)).toBe(true);
    expect(deletions.isLost(podOf(silenced, { ...DELETED, uid: 'o' }, WITH_DATA))).toBe(false);
    expect(deletions.isLost(podOf(silenced, { uid: 'o' }))).toBe(false);
    const seen = observationOf(pod, null, 0, deletions.isLost(pod));
    expect(seen).toMatchObject({ phase: 'lost', addresses: { default: { address: '10.0.0.7' } } });
  });

  it('is stopping once it is deleted, whatever its container does', () => {
    const metadata = { deletionTimestamp: '2026-01-01T00:00:00Z' };
    for (const status of [container(running, { ready: true }), { phase: 'Succeeded' }, waiting('ErrImagePull')]) {
      expect(statusOf(status, metadata).phase).toBe('stopping');
    }
  });

  it('serves while the cluster ends it, as long as its container is ready', () => {
    const metadata = { deletionTimestamp: '2026-01-01T00:00:00Z' };
    expect(statusOf(silenced, metadata)).toMatchObject({ phase: 'stopping', isServing: true });
    expect(statusOf(container(running, { ready: false }), metadata)).toMatchObject({ isServing: false });
    expect(statusOf(container(ended(0), { ready: false }), metadata)).toMatchObject({ isServing: false });
    expect(statusOf(waiting('ContainerCreating'))).toMatchObject({ isServing: false });
  });

  it('reports exit code or signal, restarts and start', () => {
    expect(statusOf(container(running, { restartCount: 1, lastState: ended(3) }))).toMatchObject({
      exitCode: 3,
      signal: null,
      restarts: 1,
      startedAtMs: Date.parse('2026-01-01T00:00:00Z'),
    });
    expect(statusOf(container(ended(137)))).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });
});

describe('a refusal to make an object', () => {
  const failure = (code: number, reason: string, message: string) => createFailure({ code, reason, message }, 'pod');

  it.each([
    [
      403,
      'Forbidden',
      'pods "p" is forbidden: exceeded quota: q, requested: cpu=2',
      true,
      'exceeds a quota of the cluster: exceeded quota: q, requested: cpu=2.',
    ],
    [
      403,
      'Forbidden',
      'pods "p" is forbidden: violates PodSecurity "restricted:latest": x',
      false,
      'security rules do not allow this pod',
    ],
    [403, 'Forbidden', 'pods is forbidden: User "u" cannot create resource "pods"', true, 'an operator must fix this'],
    [404, 'NotFound', 'namespaces "x" not found', true, 'namespace for pods does not exist'],
    [422, 'Invalid', 'Pod "p" is invalid: spec.x: Required value', false, '(Invalid): spec.x: Required value.'],
    [413, 'RequestEntityTooLarge', 'limit is 3145728', false, 'too large'],
  ] as const)('%i %s: %s', (code, reason, message, retryable, said) => {
    const { reason: sentence, retryable: may } = failure(code, reason, message);
    expect(may).toBe(retryable);
    expect(sentence).toContain(said);
    expect(sentence).toMatch(/^[A-Z].*\.$/);
    expect(sentence).not.toContain('"p" is');
  });
});

describe('the age of a Pod', () => {
  const HOUR_MS = 3_600_000;
  let nowMs = 0;
  const pod = { objectUid: 'o', createdAtMs: 1_000_000 };
  const ages = createPodAges({ monotonicMs: () => nowMs });

  it('is the API server’s at first, then grows by the monotonic clock, whatever the server’s clock does', () => {
    ages.note(1_060_000);
    expect(ages.ageMs(pod)).toBe(60_000);
    nowMs += 5_000;
    expect(ages.ageMs(pod)).toBe(65_000);
    ages.note(1_065_000 + 12 * HOUR_MS);
    expect(ages.ageMs(pod)).toBe(65_000);
    nowMs += 1_000;
    ages.note(1_066_000 - 12 * HOUR_MS);
    expect(ages.ageMs(pod)).toBe(66_000);
  });

  it('follows a clock that drifts', () => {
    ages.note(1_076_000);
    expect(ages.ageMs(pod)).toBe(76_000);
  });

  it('is never negative, and 0 as long as no server has spoken', () => {
    expect(createPodAges({ monotonicMs: () => 0 }).ageMs(pod)).toBe(0);
    const early = createPodAges({ monotonicMs: () => 0 });
    early.note(0);
    expect(early.ageMs(pod)).toBe(0);
  });

  it('of one that is gone is forgotten', () => {
    ages.keepOnly(() => false);
    ages.note(1_000_000 + HOUR_MS);
    expect(ages.ageMs(pod)).toBe(HOUR_MS);
  });

  it('trusts the server’s clock within a minute, its own beyond', () => {
    expect(chooseAge(10_000, 11_000)).toBe(10_000);
    expect(chooseAge(10_000, 40_000)).toBe(40_000);
    expect(chooseAge(10_000, 100_000)).toBe(10_000);
    expect(chooseAge(null, 100_000)).toBe(100_000);
    expect(chooseAge(10_000, null)).toBe(10_000);
  });
});
