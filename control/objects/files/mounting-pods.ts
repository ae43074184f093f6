import { listAll } from '../../../core/list-all.ts';
import type { PodRecord, PodSpec } from '../../../core/pod.ts';
import { mountIndex } from '../../../core/pod-put.ts';
import type { Store } from '../../../core/store.ts';
import type { FilesRef } from '../../../core/volume.ts';

/** Of those that are named in a sentence. */
const NAMED_MAX = 5;

interface NamedFiles {
  readonly tenant: string;
  readonly kind: FilesRef['kind'];
  readonly id: string;
}

/** The pods that mount these files, or will at their next start, as the end of a sentence; null: none does. */
export async function mountingPods(store: Pick<Store, 'list'>, files: NamedFiles): Promise<string | null> {
  return await podsThat(isMounting, store, files);
}

/** Those of them that run, start or stop. */
export async function usingPods(store: Pick<Store, 'list'>, files: NamedFiles): Promise<string | null> {
  return await podsThat((pod, ...mount) => pod.status !== 'STOPPED' && isMounting(pod, ...mount), store, files);
}

async function podsThat(
  isMeant: typeof isMounting,
  store: Pick<Store, 'list'>,
  { tenant, kind, id }: NamedFiles,
): Promise<string | null> {
  const names: string[] = [];
  const type = kind === 'volume' ? 'tapisvolume' : 'tapissnapshot';
  for await (const { value } of listAll(store, 'pod', { tenant, index: mountIndex({ type, name: id }) })) {
    if (!isMeant(value, type, id)) continue;
    names.push(value.podId);
    if (names.length > NAMED_MAX) break;
  }
  if (names.length === 0) return null;
  const shown = names.slice(0, NAMED_MAX).join(', ');
  return `${names.length === 1 ? 'pod' : 'pods'} ${shown}${names.length > NAMED_MAX ? ' and others' : ''}`;
}

function isMounting({ spec, applied, status }: PodRecord, type: string, id: string): boolean {
  const names = ({ volumeMounts }: PodSpec): boolean =>
    volumeMounts.some((mount) => mount.type === type && mount.name === id);
  return names(spec) || (applied !== null && status !== 'STOPPED' && names(applied.spec));
}
