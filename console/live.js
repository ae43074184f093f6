import { ApiError, call, eventStream, isPassing, podPath } from '/console/api.js';

const PAGE_SIZE = 200;
const RETRY_MS = 2_000;
/** A heartbeat comes every 15 s. */
const SILENCE_MS = 40_000;
const pause = () => new Promise((resolve) => setTimeout(resolve, RETRY_MS));

/** What the list shows of a pod. */
function rowOf(pod) {
  const { pod_id: id, status, resources } = pod;
  return {
    id,
    status,
    template: pod.pod_template,
    updated: pod.update_ts,
    memory: resources.mem_limit,
    cpu: resources.cpu_limit,
    reason: status === 'ERROR' ? (pod.status_container.message ?? '') : '',
  };
}

/**
 * Calls `onEvent(name, data)` for the events of a stream, by default the changes of the caller's pods, and `onOpen` whenever
 * some may have been missed, until `signal` aborts. `onTrouble` gets what keeps the stream away, and null once it is there.
 */
export async function followEvents({ path = '/v3/pods/events', onOpen, onEvent, onTrouble, signal }) {
  let lastId = null;
  while (!signal.aborted) {
    try {
      const isResumed = lastId !== null;
      for await (const { id, event, data } of eventStream(path, {
        lastId,
        silenceMs: SILENCE_MS,
        signal,
      })) {
        if (lastId === null && !isResumed) onOpen();
        onTrouble(null);
        lastId = id ?? lastId;
        if (event === 'reset') onOpen();
        else if (data !== '') onEvent(event, JSON.parse(data));
      }
    } catch (error) {
      if (signal.aborted) return;
      onTrouble(error instanceof ApiError ? error.message : 'Podgate does not respond. The page tries again.');
    }
    await pause();
  }
}

/**
 * A function that calls `read`, once for several calls of it while that is under way, and again while Podgate does not
 * respond: a stream that goes on asks for nothing anew. `fail` gets the problem, and null once it has been read.
 */
export function refresher(read, { fail, signal }) {
  let isWanted = false;
  let isReading = false;
  return async () => {
    isWanted = true;
    if (isReading) return;
    isReading = true;
    while (isWanted && !signal.aborted) {
      isWanted = false;
      try {
        await read();
        if (!signal.aborted) fail(null);
      } catch (error) {
        if (!signal.aborted) fail(error.message);
        isWanted ||= isPassing(error);
        if (isWanted) await pause();
      }
    }
    isReading = false;
  };
}

/** The caller's pods in the order of their names: read in pages, then kept by events. `take` gets a new list each time. */
export async function watchPods({ take, fail, signal }) {
  const rows = new Map();
  let isPublishing = false;
  const publish = () => {
    if (isPublishing) return;
    isPublishing = true;
    // Many events in a moment are one change of the page.
    requestAnimationFrame(() => {
      isPublishing = false;
      if (!signal.aborted) take([...rows.values()].sort((a, b) => (a.id < b.id ? -1 : 1)));
    });
  };
  const readAll = async () => {
    const seen = new Set();
    for (let cursor = ''; cursor !== null && !signal.aborted;) {
      const page = await call(
        'GET',
        `/v3/pods?limit=${PAGE_SIZE}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
      );
      for (const pod of page.result) {
        seen.add(pod.pod_id);
        rows.set(pod.pod_id, rowOf(pod));
      }
      cursor = page.metadata.next_cursor ?? null;
      publish();
    }
    for (const id of rows.keys()) if (!seen.has(id)) rows.delete(id);
    publish();
  };
  const reread = async (id) => {
    try {
      const { result } = await call('GET', podPath(id));
      rows.set(id, rowOf(result));
      publish();
    } catch (error) {
      if (error.status !== 404 && error.status !== 403) fail(error.message);
    }
  };
  const refresh = refresher(readAll, { fail, signal });
  await followEvents({
    signal,
    onTrouble: fail,
    onOpen: () => void refresh(),
    onEvent: (name, { pod_id: id, change, status, update_ts: updated }) => {
      if (name !== 'pod') return;
      const row = rows.get(id);
      if (change === 'gone') rows.delete(id);
      else if (row === undefined || status === 'ERROR') void reread(id);
      else rows.set(id, { ...row, status, updated, reason: '' });
      publish();
    },
  });
}
