import { connect, type Socket } from 'node:net';
import { isAborted, pause } from '../../core/abort.ts';
import { backoffMs } from '../../core/backoff.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import {
  ANSWERED_BY_WORKERS,
  type ControlMessage,
  FEED_FRESH_MS,
  FEED_SILENCE_MS,
  type WorkerMessage,
} from '../../core/feed-protocol.ts';
import { JsonLines } from '../../core/json-lines.ts';
import type { Logger } from '../../core/logger.ts';
import { type WorkerName, workerNameOf } from '../../core/worker-name.ts';
import { FeedFollower, type FeedSink } from './feed-follower.ts';

/** With the feed away for longer, backends are not trusted any more. */
export const STALE_AFTER_MS = 5 * 60_000;
/** A control child that accepts and says nothing for this long is given up. */
const GREETING_MS = 5_000;
const RECONNECT_BACKOFF = { firstMs: 25, maxMs: 1_000 };
/** With more unsent, control does not read: what may be lost is dropped. */
const UNSENT_MAX_BYTES = 256 * 1024;
/** A line holds at most one piece of a snapshot, or what has changed in one step. */
const LINE_MAX_LENGTH = 64 * 1024 * 1024;

export interface FeedClientOptions extends WorkerName {
  readonly socketPath: string;
  readonly sink: FeedSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly staleAfterMs: number;
  /** Default: FEED_SILENCE_MS. */
  readonly silenceMs?: number;
  /** Called each time that control has greeted this worker: from now on, it gets what `send` sends. Default: nothing. */
  readonly greeted?: () => void;
}

/**
 * Keeps the route table as the control child says. While there is none the table stays as it is, and connecting is
 * tried again and again; only a complete new snapshot takes its place.
 */
export class FeedClient {
  readonly #options: FeedClientOptions;
  readonly #first = Promise.withResolvers<undefined>();
  #follower: FeedFollower | null = null;
  #socket: Socket | null = null;
  #hasCertificates = false;
  /** When the present connection was last heard of; monotonic. */
  #lastActivityMs = 0;
  /** When a feed with a snapshot was last heard of, once it is lost; monotonic. Null = never had a snapshot. */
  #lastLiveMs: number | null = null;

  constructor(options: FeedClientOptions) {
    this.#options = options;
  }

  /** Resolves when there was a complete snapshot and a word about certificates (be it that there are none). */
  get synchronized(): Promise<undefined> {
    return this.#first.promise;
  }

  /** No feed for so long (or ever) that what the table says about backends is not to be trusted. */
  isStale(): boolean {
    if (this.#follower?.hasSnapshot === true) return false;
    if (this.#lastLiveMs === null) return true;
    return this.#options.clock.monotonicMs() - this.#lastLiveMs > this.#options.staleAfterMs;
  }

  /** The addresses of pods are as the orchestrator's watch has them now: no other pod can have got one of them yet. */
  isFresh(): boolean {
    const follower = this.#follower;
    if (follower === null || !follower.hasSnapshot || !follower.isWatchFresh) return false;
    return this.#options.clock.monotonicMs() - this.#lastActivityMs <= FEED_FRESH_MS;
  }

  /** Drops it while there is no control child, or while that does not read. Returns whether it was sent. */
  send(
    message: Extract<
      WorkerMessage,
      { kind: 'cancel' | 'cancel-answered' | 'counts' | 'certificate-wanted' | 'wake' | 'login-asked' }
    >,
  ): boolean {
    const socket = this.#socket;
    if (socket === null || this.#follower?.hasGreeting !== true) return false;
    if (socket.writableLength > UNSENT_MAX_BYTES) return false;
    send(socket, message);
    return true;
  }

  /** Follows until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let losses = 0;
    while (!signal.aborted) {
      const { hadSnapshot, reason } = await this.#follow(signal);
      if (isAborted(signal)) return;
      losses = hadSnapshot ? 1 : losses + 1;
      const againInMs = backoffMs(losses, RECONNECT_BACKOFF);
      this.#options.log[hadSnapshot ? 'warn' : 'debug']({ reason, againInMs }, 'route feed lost');
      await pause(againInMs, signal);
    }
  }

  #follow(signal: AbortSignal): Promise<{ hadSnapshot: boolean; reason: string }> {
    return new Promise((resolve) => {
      const { sink, socketPath, clock } = this.#options;
      const follower = new FeedFollower(sink);
      const socket = connect(socketPath);
      let reason = 'closed by the control process';
      const lose = (text: string): void => {
        reason = text;
        socket.destroy();
      };
      const onAbort = (): void => lose('stopped');
      const greeting = setTimeout(() => {
        if (!follower.hasGreeting) lose('no greeting');
      }, GREETING_MS);
      this.#lastActivityMs = clock.monotonicMs();
      const silence = setTimeout(() => lose('silent'), this.#options.silenceMs ?? FEED_SILENCE_MS);
      socket.on('data', () => {
        this.#lastActivityMs = clock.monotonicMs();
        silence.refresh();
      });
      socket.once('connect', () =>
        send(socket, {
          kind: 'hello',
          ...workerNameOf(this.#options),
          pid: process.pid,
          answersTo: ANSWERED_BY_WORKERS,
        }),
      );
      socket.on('error', (error) => (reason = errorText(error)));
      socket.once('close', () => {
        clearTimeout(greeting);
        clearTimeout(silence);
        signal.removeEventListener('abort', onAbort);
        if (follower.hasSnapshot) this.#lastLiveMs = this.#lastActivityMs;
        this.#follower = null;
        this.#socket = null;
        resolve({ hadSnapshot: follower.hasSnapshot, reason });
      });
      socket.on('end', () => socket.destroy());
      signal.addEventListener('abort', onAbort, { once: true });
      this.#follower = follower;
      this.#socket = socket;
      const messages = new JsonLines(LINE_MAX_LENGTH);
      const onMessage = (value: unknown): boolean => {
        const problem = this.#receive(value, follower, socket);
        if (problem !== null) lose(problem);
        return problem === null;
      };
      socket.setEncoding('utf8');
      socket.on('data', (chunk: unknown) => {
        if (messages.read(String(chunk), onMessage) === 'too-long') lose('a line too long');
      });
    });
  }

  #receive(value: unknown, follower: FeedFollower, socket: Socket): string | null {
    const message = messageOf(value);
    if (message === null) return 'a line that is no message';
    const followed = follower.receive(message);
    if (message.kind === 'certificates-end') this.#hasCertificates = true;
    if (followed.kind === 'lost') return followed.reason;
    if (message.kind === 'hello') this.#options.greeted?.();
    if (followed.report !== null) send(socket, followed.report);
    if (this.#hasCertificates && follower.hasSnapshot) this.#first.resolve(undefined);
    return null;
  }
}

function send(socket: Socket, message: WorkerMessage): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

/** The peer is our own control process: its messages have the shape core/feed-protocol.ts says, or are no JSON at all. */
function messageOf(value: unknown): ControlMessage | null {
  return typeof value === 'object' && value !== null && 'kind' in value ? (value as ControlMessage) : null;
}
