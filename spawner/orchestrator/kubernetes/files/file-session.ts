import { Readable } from 'node:stream';
import { errorText, ERRORS, type ErrorCode, PodgateError } from '../../../../core/errors.ts';
import { type JsonRecord, textAt } from '../api/json.ts';
import type { KubeApi } from '../api/kube-api.ts';
import { CHANNEL, type OpenedChannels } from '../api/kube-channels.ts';
import { FORBIDDEN } from '../exec-in-pod.ts';
import { bytesFrame, type Frame, messageFrame, PROTOCOL, readFrames } from './frames.ts';

/** A file server says something at least every ten seconds. */
const SILENCE_MS = 45_000;
/** A command has to be started, and the server in a pod that has just begun. */
const HELLO_MS = 20_000;
const BUFFER_BYTES = 256 * 1024;
const DETAIL_MAX_LENGTH = 500;

/** An operation in progress in a file server. Its holder closes it. */
export interface Session {
  say(message: object): Promise<void>;
  sendBytes(bytes: Uint8Array): Promise<void>;
  /** The next thing that the server says. Throws what it throws, and 'orchestrator.unavailable' when it is lost. */
  next(): Promise<Frame>;
  message(): Promise<JsonRecord>;
  close(): void;
}

export type SessionOpened =
  | { readonly kind: 'open'; readonly session: FileSession }
  /** The pod or its container is not there (any more). */
  | { readonly kind: 'none' }
  /** What runs there speaks another protocol, or takes no connections. */
  | { readonly kind: 'unfit' };

export class FileSession implements Session {
  readonly #channels: Extract<OpenedChannels, { kind: 'open' }>;
  readonly #frames: AsyncGenerator<Frame>;
  readonly #what: string;

  private constructor(channels: Extract<OpenedChannels, { kind: 'open' }>, output: Readable, what: string) {
    this.#channels = channels;
    this.#frames = readFrames(output as AsyncIterable<Buffer>);
    this.#what = what;
  }

  /** Throws 'orchestrator.unavailable' when it is not known whether there is a server. */
  static async open(
    api: Pick<KubeApi, 'openChannels'>,
    { path, query, what }: { path: string; query: readonly (readonly [string, string])[]; what: string },
    signal: AbortSignal,
  ): Promise<SessionOpened> {
    let channels: OpenedChannels | null = null;
    const output = new Readable({
      highWaterMark: BUFFER_BYTES,
      read: () => {
        if (channels?.kind === 'open') channels.resume();
      },
    });
    const received = (channel: number, bytes: Buffer): void => {
      if (channel === CHANNEL.stdout && bytes.length > 0 && !output.push(bytes) && channels?.kind === 'open') {
        channels.pause();
      }
      // The command has ended: nothing more comes.
      if (channel === CHANNEL.status) output.push(null);
    };
    channels = await api.openChannels(path, query, received, signal);
    if (channels.kind === 'refused') {
      if (channels.status === 403)
        throw new PodgateError('orchestrator.unavailable', { publicMessages: [FORBIDDEN], detail: channels.text });
      return { kind: 'none' };
    }
    void channels.closed.then(() => output.push(null));
    const session = new FileSession(channels, output, what);
    try {
      const hello = await session.#within(HELLO_MS);
      if (hello?.kind === 'message' && hello.message['protocol'] === PROTOCOL) return { kind: 'open', session };
    } catch (error) {
      session.close();
      throw error;
    }
    session.close();
    return { kind: 'unfit' };
  }

  async say(message: object): Promise<void> {
    await this.#send(messageFrame(message));
  }

  async sendBytes(bytes: Uint8Array): Promise<void> {
    await this.#send(bytesFrame(bytes));
  }

  async #send(frame: Buffer): Promise<void> {
    try {
      await this.#channels.send(CHANNEL.stdin, frame);
    } catch (error) {
      throw this.#lost(errorText(error), error);
    }
  }

  async next(): Promise<Frame> {
    for (;;) {
      const frame = await this.#within(SILENCE_MS);
      if (frame === null) throw this.#lost('it has ended');
      if (frame.kind === 'message' && frame.message['kind'] === 'beat') continue;
      if (frame.kind === 'message' && frame.message['kind'] === 'error') throw thrownBy(frame.message);
      return frame;
    }
  }

  async message(): Promise<JsonRecord> {
    const frame = await this.next();
    if (frame.kind === 'message') return frame.message;
    throw this.#lost('it sends bytes where a message should be');
  }

  close(): void {
    this.#channels.close();
  }

  /** Null: it has ended. */
  async #within(ms: number): Promise<Frame | null> {
    const silence = Promise.withResolvers<never>();
    const timer = setTimeout(() => silence.reject(this.#lost(`it says nothing for ${ms} ms`)), ms);
    try {
      const next = await Promise.race([this.#frames.next(), silence.promise]);
      return next.done === true ? null : next.value;
    } catch (error) {
      throw error instanceof PodgateError ? error : this.#lost(errorText(error), error);
    } finally {
      clearTimeout(timer);
    }
  }

  #lost(why: string, cause?: unknown): PodgateError {
    return new PodgateError('orchestrator.unavailable', { detail: `the file server of ${this.#what}: ${why}`, cause });
  }
}

/** What it says is the message of a program in a pod: only codes and sentences of known form are passed on. */
function thrownBy(message: JsonRecord): PodgateError {
  const code = textAt(message, 'code');
  const said = message['publicMessages'];
  const publicMessages = Array.isArray(said) ? said.filter((each) => typeof each === 'string') : [];
  const detail = textAt(message, 'detail').slice(0, DETAIL_MAX_LENGTH);
  const isKnown = code.startsWith('api.') && isErrorCode(code) && publicMessages.length > 0;
  return isKnown
    ? new PodgateError(code, { publicMessages })
    : new PodgateError('orchestrator.unavailable', { detail });
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}
