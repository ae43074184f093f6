import { isAborted, untilAborted } from '../../../core/abort.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Orchestrator } from '../../../core/orchestrator.ts';
import type { LogsOptions, PrintedOptions, PrintedPart } from '../../../core/workload-logs.ts';
import type { VolumeFiles } from '../../../core/volume.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import type {
  AnnotatedWorkload,
  EnsureResult,
  Observation,
  RemoveOptions,
  WorkloadEvent,
  WorkloadObservation,
  WorkloadSpec,
} from '../../../core/workloads.ts';
import { limitShell } from '../exec/limited-shell.ts';
import { Watchers } from '../watchers.ts';
import { recordAt, textAt } from './api/json.ts';
import { createClusterObjects } from './cluster-objects.ts';
import { createEvictionEvents } from './eviction-events.ts';
import { execInPod } from './exec-in-pod.ts';
import { ClaimFiles } from './files/claim-files.ts';
import { FilesClaims } from './files/claims.ts';
import { FileServers } from './files/file-servers.ts';
import { useInsidePod } from './use-inside.ts';
import { useCommandOf } from './recipes/recipes.ts';
import { terminalInPod } from './terminal-in-pod.ts';
import { makeWorkload } from './make-workload.ts';
import { watchObjects } from './object-watch.ts';
import {
  ANNOTATION,
  collectionPath,
  objectName,
  type OwnedObject,
  parsePod,
  parseService,
  type PodView,
  type ServiceView,
  siteSelector,
} from './objects.ts';
import { observationOf, remainsOf } from './observation.ts';
import { DEFAULT_LIMITS, type KubernetesOrchestratorOptions } from './options.ts';
import { createOverdueDeletions } from './overdue-deletions.ts';
import { readPodMetrics } from './pod-metrics.ts';
import { followPrinted, readPodLog, readPrintedSince } from './pod-logs.ts';
import { removeWorkload } from './remove-workload.ts';
import { createPodAges } from './server-clock.ts';

export interface KubernetesOrchestrator extends Orchestrator {
  readonly files: VolumeFiles & Required<Pick<VolumeFiles, 'grow'>>;
}

/**
 * Runs pods as Pods of a cluster, each with a Service, a NetworkPolicy and, where it needs them, volume claims and a
 * Secret. Stateless but for what its watch remembers: any number of replicas work on the same namespace.
 */
export function createKubernetesOrchestrator(options: KubernetesOrchestratorOptions): KubernetesOrchestrator {
  const { api, clock, log, templates, settings, openEnvironment } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const { namespace, site } = settings;
  const ages = createPodAges(clock);
  const deletions = createOverdueDeletions({
    clock,
    serverNowMs: () => ages.serverNowMs(),
    lostAfterMs: limits.lostAfterMs,
  });
  const objects = createClusterObjects({ api, namespace, site, serverTime: (ms) => ages.note(ms) });
  const claims = new FilesClaims(objects, settings);
  const servers = new FileServers({ api, objects, settings, log });
  const evictions = createEvictionEvents(objects, clock);
  const watchers = new Watchers();
  /** Removals begun here whose Pod has not gone yet, by uid: the rest follows when it has. */
  const ending = new Map<string, { readonly ref: WorkloadRef; readonly how: RemoveOptions }>();
  /** Those whose Pod has gone and whose rest is being removed. */
  const finishing = new Map<string, RemoveOptions>();
  let life: AbortSignal | null = null;

  const pods = watchObjects<PodView>({
    api,
    clock,
    log,
    limits,
    path: collectionPath(namespace, 'pods'),
    selector: siteSelector(site),
    parse: parsePod,
    serverTime: (ms) => ages.note(ms),
    changed: (before, now) => {
      const replaced = before !== null && before.objectUid !== now?.objectUid;
      if (replaced || now === null) podGone(before ?? now);
      if (now !== null) watchers.changed(now);
    },
    relisted: (vanished) => {
      const present = new Set([...pods.items.values()].map(({ objectUid }) => objectUid));
      ages.keepOnly((objectUid) => present.has(objectUid));
      deletions.keepOnly((objectUid) => present.has(objectUid));
      evictions.keepOnly((objectUid) => present.has(objectUid));
      for (const pod of vanished) podGone(pod);
      // A Pod that came and went between two lists has not vanished from any.
      for (const { ref } of [...ending.values()]) if (!isListed(ref)) podGone(ref);
      for (const pod of pods.items.values()) watchers.changed(pod);
    },
  });
  const services = watchObjects<ServiceView>({
    api,
    clock,
    log,
    limits,
    path: collectionPath(namespace, 'services'),
    selector: siteSelector(site),
    parse: parseService,
    serverTime: (ms) => ages.note(ms),
    changed: (before, now) => {
      // A new one has no Pod yet: nobody needs to look.
      if (before !== null) watchers.changed(now ?? before);
    },
    relisted: (vanished) => {
      for (const service of [...vanished, ...services.items.values()]) watchers.changed(service);
    },
  });

  function podGone(pod: WorkloadRef | null): void {
    if (pod === null) return;
    const unfinished = ending.get(pod.uid);
    if (unfinished === undefined || life === null || life.aborted) {
      watchers.changed(pod);
      return;
    }
    ending.delete(pod.uid);
    finishing.set(pod.uid, unfinished.how);
    finish(unfinished, life)
      .catch((error: unknown) => {
        log.warn(
          { ...unfinished.ref, error: errorText(error) },
          'failed to remove what a pod left behind; the health loop will retry',
        );
      })
      .finally(() => {
        if (finishing.get(pod.uid) === unfinished.how) finishing.delete(pod.uid);
        watchers.changed(pod);
      });
  }

  async function finish(unfinished: { ref: WorkloadRef; how: RemoveOptions }, signal: AbortSignal): Promise<void> {
    await remove(unfinished.ref, unfinished.how, signal);
  }

  function ensure(workload: WorkloadSpec, signal: AbortSignal): Promise<EnsureResult> {
    const removal = ending.get(workload.uid)?.how ?? finishing.get(workload.uid);
    if (removal !== undefined && removal.run >= workload.run) {
      // Its Secret would count as made, and be removed a moment later.
      return Promise.resolve({ kind: 'wait', reason: 'this workload is being removed' });
    }
    const removeOlder = (older: OwnedObject, until: AbortSignal): Promise<void> =>
      remove(older, { data: 'keep', run: older.run }, until);
    return makeWorkload({ objects, claims, templates, settings, openEnvironment, removeOlder }, workload, signal);
  }

  async function remove({ tenant, podId, uid }: WorkloadRef, how: RemoveOptions, signal: AbortSignal): Promise<void> {
    const ref = { tenant, podId, uid };
    const begun = ending.get(uid);
    const known = pods.isFresh() ? pods.items.get(objectName(site, ref)) : undefined;
    const isEnding = known?.uid === uid && known.isDeleting && known.run <= how.run;
    if (
      begun !== undefined &&
      isEnding &&
      begun.how.run >= how.run &&
      !deletions.isLost(known) &&
      (how.data === 'keep' || begun.how.data === 'delete')
    ) {
      return;
    }
    const removal = await removeWorkload(objects, ref, how, (pod) => deletions.isLost(pod), signal);
    if (removal.kind !== 'ending') return;
    const data = begun?.how.data === 'delete' ? 'delete' : how.data;
    ending.set(uid, { ref, how: { data, run: Math.max(how.run, begun?.how.run ?? 0) } });
    // The watch may have told of its end while the deletion was answered, or know nothing of the Pod yet.
    if (isListed(ref)) return;
    if (known?.uid === uid || (await objects.readPod(ref, signal)) === null) podGone(ref);
  }

  function isListed(ref: WorkloadRef): boolean {
    return pods.items.get(objectName(site, ref))?.uid === ref.uid;
  }

  async function observe(ref: WorkloadRef, signal: AbortSignal): Promise<Observation> {
    const pod = await objects.readPod(ref, signal);
    if (pod !== null) {
      const isOver = pod.phase === 'Succeeded' && !pod.isDeleting;
      const eviction = isOver ? await evictions.reasonOf(pod, signal) : null;
      return seenAs(eviction === null ? pod : { ...pod, phase: 'Failed', reason: 'Evicted', message: eviction });
    }
    const [left, policies, claims, secret] = await Promise.all([
      objects.list('services', ref.uid, signal),
      objects.list('networkpolicies', ref.uid, signal),
      objects.list('persistentvolumeclaims', ref.uid, signal),
      objects.readSecret(ref, signal),
    ]);
    if (left.length > 0 || policies.length > 0 || secret !== null) return { kind: 'remains' };
    return { kind: 'absent', data: claims.length > 0 };
  }

  function serviceOf(pod: OwnedObject): ServiceView | null {
    return services.items.get(pod.name) ?? null;
  }

  function seenAs(pod: PodView): WorkloadObservation {
    return observationOf(pod, serviceOf(pod), ages.ageMs(pod), deletions.isLost(pod));
  }

  function glimpse(ref: WorkloadRef): Observation {
    if (!pods.isFresh()) return { kind: 'unknown', reason: 'the pod watch is stale' };
    const pod = pods.items.get(objectName(site, ref));
    if (pod?.uid === ref.uid) return seenAs(pod);
    return services.items.get(objectName(site, ref))?.uid === ref.uid
      ? { kind: 'remains' }
      : { kind: 'absent', data: false };
  }

  async function list(signal: AbortSignal): Promise<readonly WorkloadObservation[]> {
    await untilComplete(signal);
    if (!pods.isFresh() || !services.isFresh()) throw unavailable('the cluster watch is stale');
    const seen = [...pods.items.values()].map(seenAs);
    const remains = [...services.items.values()].filter(({ name }) => !pods.items.has(name));
    return [...seen, ...remains.map((service) => remainsOf(service, 0))];
  }

  async function untilComplete(signal: AbortSignal): Promise<void> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(limits.firstListMs)]);
    await Promise.race([
      Promise.all([pods.complete, services.complete]),
      new Promise<never>((_, reject) => {
        const onAbort = (): void => reject(unavailable('the initial list of the cluster is not complete yet'));
        if (deadline.aborted) onAbort();
        else deadline.addEventListener('abort', onAbort, { once: true });
      }),
    ]);
  }

  async function records(signal: AbortSignal): Promise<readonly AnnotatedWorkload[]> {
    const all = await objects.all('pods', siteSelector(site), limits.page, signal);
    return all.flatMap((object) => {
      const pod = parsePod(object);
      if (pod === null) return [];
      const annotations = recordAt(recordAt(object, 'metadata'), 'annotations');
      const { tenant, podId, uid, storeId, commit } = pod;
      const credential = textAt(annotations, ANNOTATION.credential);
      return [
        {
          tenant,
          podId,
          uid,
          storeId,
          commit,
          record: textAt(annotations, ANNOTATION.record),
          credential: credential === '' ? null : credential,
        },
      ];
    });
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<WorkloadEvent> {
    await Promise.race([Promise.all([pods.complete, services.complete]), untilAborted(signal)]);
    if (isAborted(signal)) return;
    yield* watchers.watch([...pods.items.values(), ...services.items.values()], signal);
  }

  async function logs(ref: WorkloadRef, how: LogsOptions, signal: AbortSignal) {
    const pod = await objects.readPod(ref, signal);
    if (pod === null) return '';
    const text = await readPodLog(api, { namespace, site }, ref, how, signal);
    return isStillOf(pod.name, ref) ? text : '';
  }

  async function printedSince(ref: WorkloadRef, how: PrintedOptions, signal: AbortSignal): Promise<PrintedPart> {
    const nothing = { text: '', mark: how.mark, isAll: true };
    const pod = await objects.readPod(ref, signal);
    if (pod === null) return nothing;
    const part = await readPrintedSince(api, { namespace, site }, pod, how, signal);
    return isStillOf(pod.name, ref) ? part : nothing;
  }

  async function* follow(ref: WorkloadRef, mark: string, signal: AbortSignal): AsyncGenerator<PrintedPart> {
    const pod = await objects.readPod(ref, signal);
    if (pod === null) return;
    for await (const part of followPrinted(api, { namespace, site }, pod, mark, signal)) {
      if (!isStillOf(pod.name, ref)) return;
      yield part;
    }
  }

  /** The name may have become another pod's meanwhile; what that printed is not for this one's users. */
  function isStillOf(name: string, ref: WorkloadRef): boolean {
    const now = pods.items.get(name);
    return now === undefined || now.uid === ref.uid;
  }

  async function run(signal: AbortSignal): Promise<void> {
    life = signal;
    await Promise.all([pods.run(signal), services.run(signal), servers.run(signal)]);
  }

  const execParts = { api, objects, namespace };
  const shell = limitShell({
    exec: (ref, how, signal) => execInPod(execParts, ref, how, signal),
    terminal: (ref, how, signal) => terminalInPod(execParts, ref, how, signal),
  });
  return {
    ensure,
    remove,
    observe,
    glimpse,
    list,
    records,
    watch,
    logs,
    printedSince,
    followPrinted: follow,
    shell,
    useInside: async ({ template, ...ref }, signal) => {
      const command = useCommandOf(template, templates);
      return command === null ? { kind: 'idle' } : useInsidePod(execParts, ref, command, signal);
    },
    output: { after: printedSince },
    files: new ClaimFiles(claims, servers),
    metrics: { read: (refs, signal) => readPodMetrics({ api, namespace, site }, refs, signal) },
    run,
  };
}

function unavailable(detail: string): PodgateError {
  return new PodgateError('orchestrator.unavailable', { detail });
}
