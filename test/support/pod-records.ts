import type { OpenEnvironment } from '../../core/environment.ts';
import type { WorkloadObservation } from '../../core/workloads.ts';
import type { PodRecord, PodSpec } from '../../core/pod.ts';

/** A valid spec: one http stanza, everything else at its default. */
export function podSpec(change: Partial<PodSpec> = {}): PodSpec {
  return {
    template: 'podgate/hello',
    writtenTemplate: 'podgate/hello',
    description: '',
    command: null,
    arguments: null,
    environmentVariables: {},
    networking: { default: { protocol: 'http', port: 5000, ipAllowList: [] } },
    persistentVolume: false,
    volumeMounts: [],
    resources: { cpuRequest: 250, cpuLimit: 2000, memRequest: 256, memLimit: 3072, gpus: 0 },
    dataRequests: [],
    rolesRequired: [],
    timeToStopDefault: 43_200,
    ...change,
  };
}

/** A pod in generation 1, run 1, wished ON and RUNNING, unless changed. */
export function podRecord(change: Partial<PodRecord> = {}): PodRecord {
  const spec = change.spec ?? podSpec();
  return {
    uid: 'uid-1',
    tenant: 'default',
    podId: 'mypod',
    createdBy: 'alice',
    generation: 1,
    spec,
    applied: { generation: 1, run: 1, spec },
    run: 1,
    wish: 'ON',
    status: 'RUNNING',
    deleting: null,
    permissions: { alice: 'ADMIN' },
    timeToStopInstance: null,
    statusContainer: null,
    attempts: 0,
    notBeforeMs: 0,
    createdAtMs: 0,
    updatedAtMs: 0,
    startInstanceMs: null,
    ...change,
  };
}

/** An observation of the record's own, ready workload, unless changed. */
export function workloadOf(record: PodRecord, change: Partial<WorkloadObservation> = {}): WorkloadObservation {
  return {
    kind: 'workload',
    uid: record.uid,
    tenant: record.tenant,
    podId: record.podId,
    generation: record.applied?.generation ?? record.generation,
    run: record.applied?.run ?? record.run,
    phase: 'ready',
    message: '',
    ageMs: 20_000,
    startTime: null,
    exitCode: null,
    signal: null,
    restarts: 0,
    addresses: { default: { address: '127.0.0.1', port: 40_000, service: null } },
    storeId: 'store',
    commit: 1,
    ...change,
  };
}

/** Of records whose variables are plain text, as those of earlier releases. */
export const plainEnvironment: OpenEnvironment = (_uid, stored) =>
  Object.fromEntries(
    Object.entries(stored).map(([name, value]) => {
      if (typeof value !== 'string') throw new Error(`${name} is sealed`);
      return [name, value];
    }),
  );
