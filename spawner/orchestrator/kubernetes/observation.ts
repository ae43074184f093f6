import type { StanzaAddress } from '../../../core/pod-network.ts';
import type { WorkloadObservation } from '../../../core/workloads.ts';
import type { OwnedObject, PodView, ServiceView } from './objects.ts';
import { podStatus } from './pod-status.ts';

/** What a Pod tells about its workload: pure. `service`: that of the same run, as far as it is known. */
export function observationOf(
  pod: PodView,
  service: ServiceView | null,
  ageMs: number,
  isLost = false,
): WorkloadObservation {
  const { phase, message, isServing, exitCode, signal, restarts, startedAtMs } = podStatus(pod, isLost);
  return {
    kind: 'workload',
    ...identityOf(pod),
    phase,
    message,
    ageMs,
    startTime: startedAtMs === null ? null : new Date(startedAtMs).toISOString(),
    exitCode,
    signal,
    restarts,
    node: pod.node,
    addresses: isServing ? addressesOf(pod, service) : {},
  };
}

/** Of a workload whose Pod is not there (any more) though its Service is. */
export function remainsOf(service: ServiceView, ageMs: number): WorkloadObservation {
  return {
    kind: 'workload',
    ...identityOf(service),
    phase: 'stopping',
    message: '',
    ageMs,
    startTime: null,
    exitCode: null,
    signal: null,
    restarts: 0,
    addresses: {},
  };
}

function identityOf({ tenant, podId, uid, generation, run, storeId, commit }: OwnedObject) {
  return { tenant, podId, uid, generation, run, storeId, commit };
}

function addressesOf(pod: PodView, service: ServiceView | null): Record<string, StanzaAddress> {
  if (pod.address === '') return {};
  const clusterAddress = service?.uid === pod.uid && service.run === pod.run ? service.clusterAddress : '';
  return Object.fromEntries(
    Object.entries(pod.stanzas).map(([stanza, port]) => [
      stanza,
      {
        address: pod.address,
        port,
        service: clusterAddress === '' ? null : { address: clusterAddress, port },
      },
    ]),
  );
}
