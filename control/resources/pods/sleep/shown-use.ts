import type { PodConnectionsReader } from '../../../../core/pod-connections-reader.ts';
import { useTexts } from '../../../../core/pod-use.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import { minimumUptimeMs } from './idle-time.ts';
import { judgeUse } from './judge-use.ts';
import { untilNextSleepMs } from './sleep-budget.ts';

/** After its time, until the next check has come to an end. */
const CHECK_LATE_MS = 30_000;

/** What is shown of the use of a pod, as on the wire. */
export interface ShownUse {
  readonly last_used_ts: string | null;
  readonly awake_because: string[] | null;
}

/** Asks all gateway workers. Null for a pod that never sleeps: nobody counts its use. */
export async function shownUse(
  { connections, nowMs }: { readonly connections: PodConnectionsReader; readonly nowMs: number },
  record: PodRecord,
): Promise<ShownUse | null> {
  if (record.spec.sleep === undefined || record.wish !== 'ON') return null;
  const use = judgeUse(await connections.read(record.uid));
  const lastUsedMs = use.kind === 'unknown' ? null : use.lastUsedMs;
  const last_used_ts = lastUsedMs === null ? null : new Date(lastUsedMs).toISOString();
  if (record.sleep?.stage === 'decided') return { last_used_ts, awake_because: null };
  if (record.status !== 'RUNNING') return { last_used_ts, awake_because: ['it starts'] };
  const upMs = nowMs - (record.startInstanceMs ?? nowMs);
  const { usedInside } = record;
  const { afterSeconds } = record.spec.sleep;
  // It is checked again once no gateway has seen use for so long.
  const isRecent = Math.abs(nowMs - (usedInside?.atMs ?? -Infinity)) <= afterSeconds * 1000 + CHECK_LATE_MS;
  return {
    last_used_ts,
    awake_because: [
      ...(use.kind === 'unknown' ? [use.why] : useTexts(use)),
      ...(isRecent ? (usedInside?.because ?? []) : []),
      ...(untilNextSleepMs(record, nowMs) > 0 ? ['it has slept and been woken too often in the last hour'] : []),
      ...(upMs < minimumUptimeMs(record) ? ['minimum uptime'] : []),
    ],
  };
}
