import type { PodSpec, SleepPolicy } from '../../../../core/pod.ts';
import type { Template } from '../../../../core/template.ts';

const HOLD_DEFAULT_SECONDS = 60;

/** As its user wrote it, with defaults. */
export interface WrittenSleep {
  readonly afterSeconds: number;
  readonly holdSeconds?: number | undefined;
  readonly probePaths?: readonly string[] | undefined;
}

/** The field of the spec; not there: it never sleeps. `written`: undefined leaves it as it is, null takes it away. */
export function sleepOf(
  written: WrittenSleep | null | undefined,
  present: Pick<PodSpec, 'sleep'> | null,
): Pick<PodSpec, 'sleep'> {
  if (written === undefined) return present?.sleep === undefined ? {} : { sleep: present.sleep };
  if (written === null) return {};
  const { afterSeconds, holdSeconds = HOLD_DEFAULT_SECONDS, probePaths = [] } = written;
  return { sleep: { afterSeconds, holdSeconds, probePaths } };
}

/** What is wrong with a pod that may sleep; null: nothing. In a cluster, what is not in a volume ends with each stop. */
export function sleepProblem(
  { sleep, persistentVolume, volumeMounts, networking }: PodSpec,
  { template, runsContainers }: { readonly template: Template | null; readonly runsContainers: boolean },
): string | null {
  if (sleep === undefined) return null;
  if (Object.values(networking).every(({ protocol }) => protocol === 'local_only')) {
    return 'sleep: nothing could wake this pod, since all of its networking is local_only';
  }
  const keepsData = !runsContainers || persistentVolume || volumeMounts.some(({ type }) => type !== 'tapissnapshot');
  if (keepsData || (template !== null && template.dataPath === null)) return null;
  const remedy = template === null ? 'mount a volume (volume_mounts)' : 'set persistent_volume to true';
  return `sleep: the data of this pod would not outlive its sleep; ${remedy}`;
}

/** As on the wire. */
export function sleepAnswer({ sleep }: Pick<PodSpec, 'sleep'>): {
  after_seconds: number;
  hold_seconds: number;
  probe_paths: string[];
} | null {
  if (sleep === undefined) return null;
  const { afterSeconds, holdSeconds, probePaths }: SleepPolicy = sleep;
  return { after_seconds: afterSeconds, hold_seconds: holdSeconds, probe_paths: [...probePaths] };
}
