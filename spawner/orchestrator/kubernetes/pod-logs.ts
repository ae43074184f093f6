import { PodgateError } from '../../../core/errors.ts';
import type { WorkloadRef } from '../../../core/orchestrator.ts';
import type { KubeApi } from './api/kube-api.ts';
import { refusalOf } from './api/refusal.ts';
import { CONTAINER } from './manifests/pod.ts';
import { collectionPath, objectName } from './objects.ts';

const LINE_GUESS_BYTES = 100;
const LINES_MAX = 100_000;
/** What is fetched for a tail is bounded by this many times its size. */
const MORE_THAN_ASKED = 2;
const SLACK_BYTES = 64 * 1024;
const TRIES = 4;

/**
 * The last bytes of what the pod's container printed. The API gives the first bytes of the last lines: with fewer lines
 * each time, until all of them come within the bound; then the end is in it.
 */
export async function readPodLog(
  api: KubeApi,
  place: { readonly namespace: string; readonly site: string },
  ref: WorkloadRef,
  tailBytes: number,
  signal: AbortSignal,
): Promise<string> {
  const path = `${collectionPath(place.namespace, 'pods')}/${objectName(place.site, ref)}/log`;
  const limitBytes = tailBytes * MORE_THAN_ASKED + SLACK_BYTES;
  let tailLines = Math.min(LINES_MAX, Math.max(10, Math.ceil(tailBytes / LINE_GUESS_BYTES) * MORE_THAN_ASKED));
  for (let tries = 1; ; tries += 1) {
    const query = { container: CONTAINER, limitBytes: String(limitBytes), tailLines: String(tailLines) };
    const response = await api.request({ method: 'GET', path, query }, signal);
    // 404: it is gone; 400: its container has not started yet.
    if (response.status === 404 || response.status === 400) return '';
    if (response.status !== 200) {
      throw new PodgateError('orchestrator.unavailable', { detail: `reading ${path}: ${refusalOf(response).message}` });
    }
    const bytes = Buffer.from(response.text, 'utf8');
    if (bytes.length < limitBytes || tailLines === 1 || tries === TRIES) return endOf(bytes, tailBytes);
    tailLines = tries === TRIES - 1 ? 1 : Math.max(1, Math.floor(tailLines / 8));
  }
}

/** Never half a character at the beginning. */
function endOf(bytes: Buffer, tailBytes: number): string {
  if (bytes.length <= tailBytes) return bytes.toString('utf8');
  let start = bytes.length - tailBytes;
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return bytes.subarray(start).toString('utf8');
}
