import { PodgateError } from '../../../core/errors.ts';
import type { LogsOptions, PrintedOptions, PrintedPart } from '../../../core/workload-logs.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import type { KubeApi } from './api/kube-api.ts';
import { refusalOf } from './api/refusal.ts';
import { CONTAINER } from './manifests/pod.ts';
import { collectionPath, objectName, type PodView } from './objects.ts';
import { linesAfter, wholeSecond } from './printed-lines.ts';

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
  place: Place,
  ref: WorkloadRef,
  { tailBytes, isPrevious = false }: LogsOptions,
  signal: AbortSignal,
): Promise<string> {
  const previous = isPrevious ? { previous: 'true' } : {};
  const limitBytes = tailBytes * MORE_THAN_ASKED + SLACK_BYTES;
  let tailLines = Math.min(LINES_MAX, Math.max(10, Math.ceil(tailBytes / LINE_GUESS_BYTES) * MORE_THAN_ASKED));
  for (let tries = 1; ; tries += 1) {
    const query = { limitBytes: String(limitBytes), tailLines: String(tailLines), ...previous };
    const bytes = Buffer.from((await readLog(api, place, ref, query, signal)) ?? '', 'utf8');
    if (bytes.length < limitBytes || tailLines === 1 || tries === TRIES) return endOf(bytes, tailBytes);
    tailLines = tries === TRIES - 1 ? 1 : Math.max(1, Math.floor(tailLines / 8));
  }
}

/**
 * What was printed after a mark: the time of the last line, and how often the container had been started again by then. The
 * kubelet serves the newest file of the newest container, and the container before it with `previous`.
 */
export async function readPrintedSince(
  api: KubeApi,
  place: Place,
  pod: PodView,
  { mark, mostBytes }: PrintedOptions,
  signal: AbortSignal,
): Promise<PrintedPart> {
  const [after = '', restartsThen] = mark.split(' ');
  const restarts = pod.container?.restarts ?? 0;
  const read = async (from: string, query: Readonly<Record<string, string>>): Promise<PrintedPart> => {
    const since = from === '' ? {} : { sinceTime: wholeSecond(from) };
    const all = { timestamps: 'true', limitBytes: String(mostBytes), ...since, ...query };
    const log = (await readLog(api, place, pod, all, signal)) ?? '';
    const isAll = Buffer.byteLength(log) < mostBytes;
    // What the limit cuts is read whole the next time.
    const { text, until } = linesAfter(isAll ? log : log.slice(0, log.lastIndexOf('\n') + 1), from);
    return { text, mark: until, isAll };
  };
  let before: PrintedPart = { text: '', mark: after, isAll: true };
  const isRestarted = restartsThen !== undefined && Number(restartsThen) < restarts;
  if (isRestarted) {
    before = await read(after, { previous: 'true' });
    if (!before.isAll) return { ...before, mark: `${before.mark} ${restartsThen}` };
  }
  const now = await read(before.mark, {});
  const part = { text: before.text + now.text, mark: `${now.mark} ${restarts}`, isAll: now.isAll };
  return isRestarted ? { ...part, previousLength: before.text.length } : part;
}

/** Of a line that does not end: passed on in parts. */
const LINE_MAX_LENGTH = 128 * 1024;

/** The kubelet reads a file to its end before it goes on with the next: nothing is lost when it rotates. */
export async function* followPrinted(
  api: KubeApi,
  place: Place,
  pod: PodView,
  mark: string,
  signal: AbortSignal,
): AsyncGenerator<PrintedPart> {
  const restarts = pod.container?.restarts ?? 0;
  let [until = ''] = mark.split(' ');
  const since = until === '' ? {} : { sinceTime: wholeSecond(until) };
  const query = { container: CONTAINER, follow: 'true', timestamps: 'true', ...since };
  const { status, chunks } = await api.stream(logPath(place, pod), query, signal);
  if (status !== 200) return;
  let rest = '';
  for await (const chunk of chunks) {
    rest += chunk;
    const end = rest.length > LINE_MAX_LENGTH ? rest.length : rest.lastIndexOf('\n') + 1;
    const lines = linesAfter(rest.slice(0, end), until);
    rest = rest.slice(end);
    until = lines.until;
    if (lines.text !== '') yield { text: lines.text, mark: `${until} ${restarts}`, isAll: true };
  }
}

function logPath({ namespace, site }: Place, ref: WorkloadRef): string {
  return `${collectionPath(namespace, 'pods')}/${objectName(site, ref)}/log`;
}

interface Place {
  readonly namespace: string;
  readonly site: string;
}

/** Null when there is none: the pod is gone (404), or its container has not started yet (400). */
async function readLog(
  api: KubeApi,
  place: Place,
  ref: WorkloadRef,
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string | null> {
  const path = logPath(place, ref);
  const response = await api.request({ method: 'GET', path, query: { container: CONTAINER, ...query } }, signal);
  if (response.status === 404 || response.status === 400) return null;
  if (response.status !== 200) {
    throw new PodgateError('orchestrator.unavailable', { detail: `reading ${path}: ${refusalOf(response).message}` });
  }
  return response.text;
}

/** Never half a character at the beginning. */
function endOf(bytes: Buffer, tailBytes: number): string {
  if (bytes.length <= tailBytes) return bytes.toString('utf8');
  let start = bytes.length - tailBytes;
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return bytes.subarray(start).toString('utf8');
}
