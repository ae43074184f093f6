import { pause } from '../../../../core/abort.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import { eventText, heartbeatText, openingText } from '../../../http/event-text.ts';
import { type PlaceLimits, Places } from '../../../http/limits/places.ts';
import { readPod } from '../pod-objects.ts';
import type { PodParts } from '../pod-parts.ts';

const LIMITS: PlaceLimits = { all: 128, perTenant: 64, perUser: 8 };
/** Of one read, and so of one event. */
const PIECE_BYTES = 64 * 1024;
/** Of what was printed before: one event. */
const TAIL_MAX_BYTES = 256 * 1024;
/** Between two reads, from the first to the second while nothing is printed. */
const PAUSE_MS = { least: 250, most: 2_000 } as const;
const READ_DEADLINE_MS = 10_000;
const HEARTBEAT_MS = 15_000;
/** A stream ends then, and its client presents its token anew. */
const LIFETIME_MS = 15 * 60_000;
const RETRY_MS = 2_000;

export interface FollowRequest {
  readonly podId: string;
  /** Of what has been printed before, where no event says where to go on; at most TAIL_MAX_BYTES. */
  readonly tailBytes: number;
  readonly lastEventId: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Streams of what pods print, as server-sent events `output` with a `text`. Their ids are marks of the orchestrator
 * (WorkloadOutput), so that a stream goes on behind any of them, at any replica. One piece is held for each, and the
 * next is read when the client has taken it.
 */
export class FollowedLogs {
  readonly #parts: PodParts;
  readonly #places = new Places({
    limits: LIMITS,
    what: 'logs that you follow',
    remedy: 'Close one of them.',
    full: 'Too many logs are being followed.',
  });

  constructor(parts: PodParts) {
    this.#parts = parts;
  }

  /** READ. Throws before the first text what keeps it from opening; ends when the pod is deleted, and after a while. */
  async *open(caller: Caller, { podId, tailBytes, lastEventId, signal }: FollowRequest): AsyncGenerator<string> {
    const { clock } = this.#parts;
    const record = await this.#read(caller, podId);
    const leave = this.#places.enter(caller);
    try {
      const endMs = clock.monotonicMs() + LIFETIME_MS;
      let mark = markOf(lastEventId);
      if (mark === null) {
        const tail = await this.#tail(record, Math.min(tailBytes, TAIL_MAX_BYTES), signal);
        ({ mark } = tail);
        yield openingText(idOf(mark), RETRY_MS);
        if (tail.text !== '') yield outputText(tail.text, mark);
      } else yield openingText(idOf(mark), RETRY_MS);
      let pauseMs: number = PAUSE_MS.least;
      let quietSinceMs = clock.monotonicMs();
      while (!signal.aborted && clock.monotonicMs() < endMs) {
        const part = await this.#after(record, mark, signal);
        ({ mark } = part);
        if (part.text !== '') {
          yield outputText(part.text, mark);
          pauseMs = PAUSE_MS.least;
          quietSinceMs = clock.monotonicMs();
          if (!part.isAll) continue;
        } else if (clock.monotonicMs() - quietSinceMs >= HEARTBEAT_MS) {
          // Also a good time to see whether the pod is still there, and still the caller's to read.
          const now = await this.#read(caller, podId).catch(() => null);
          if (now?.uid !== record.uid) return;
          yield heartbeatText(idOf(mark));
          quietSinceMs = clock.monotonicMs();
        }
        await pause(pauseMs, signal);
        pauseMs = Math.min(PAUSE_MS.most, 2 * pauseMs);
      }
    } finally {
      leave();
    }
  }

  async #read(caller: Caller, podId: string): Promise<PodRecord> {
    return (await readPod(this.#parts, caller, podId, 'READ', 'Reading logs')).value;
  }

  async #after(record: PodRecord, mark: string, signal: AbortSignal) {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(READ_DEADLINE_MS)]);
    return await this.#parts.orchestrator.output.after(record, { mark, mostBytes: PIECE_BYTES }, deadline);
  }

  /** The end of what is there, from the beginning of a line on. */
  async #tail(record: PodRecord, tailBytes: number, signal: AbortSignal): Promise<{ text: string; mark: string }> {
    let text = '';
    let isCut = false;
    for (let mark = ''; ;) {
      const part = await this.#after(record, mark, signal);
      text += part.text;
      mark = part.mark;
      if (text.length > tailBytes) {
        text = text.slice(-tailBytes);
        isCut = true;
      }
      if (part.isAll) return { text: isCut ? text.slice(text.indexOf('\n') + 1) : text, mark };
    }
  }
}

function outputText(text: string, mark: string): string {
  return eventText({ id: idOf(mark), event: 'output', data: { text } });
}

/** Marks may have spaces, and be empty; an empty id would mean none. */
function idOf(mark: string): string {
  return `m${Buffer.from(mark).toString('base64url')}`;
}

/** Null for what is no id of an event. */
function markOf(id: string | undefined): string | null {
  if (id === undefined || !/^m[\w-]{0,128}$/.test(id)) return null;
  return Buffer.from(id.slice(1), 'base64url').toString();
}
