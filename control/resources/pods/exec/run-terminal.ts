import { errorText, PodgateError } from '../../../../core/errors.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import { TERMINAL_DEADLINE_MAX_MS, type TerminalInput } from '../../../../core/shell.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import type { Places } from '../../../http/limits/places.ts';
import type { Closing, Message, MessageSocket } from '../../../http/operation.ts';
import { readPod } from '../pod-objects.ts';
import { noteAction, type PodParts } from '../pod-parts.ts';
import { OutputPause } from './output-pause.ts';
import { programsOf } from './run-commands.ts';
import { closingOf, endOf, parseInput, parseStart, type TerminalStart } from './terminal-protocol.ts';

/** For the first message. */
const START_MS = 10_000;
/** How often it is checked that the caller may still use the pod. */
const CHECK_MS = 60_000;

export interface OpenedTerminal {
  readonly serve: (socket: MessageSocket) => Promise<Closing>;
  /** Gives the place back; `serve` does so itself. */
  readonly release: () => void;
}

/** ADMIN, also while it is open. Throws 'api.too-many-requests'. The log of actions names the program only. */
export async function openTerminal(
  parts: PodParts,
  places: Places,
  caller: Caller,
  podId: string,
): Promise<OpenedTerminal> {
  const mayUse = () => readPod(parts, caller, podId, 'ADMIN', 'Opening a terminal');
  const { value: record } = await mayUse();
  const release = places.enter(caller);
  return {
    release,
    serve: async (socket) => {
      const standing = watchStanding(parts, record, mayUse);
      try {
        return await runTerminal(parts, { record, caller }, socket, standing.signal);
      } catch (error) {
        // The client has left, or a limit has ended the connection: nothing is to be said.
        if (socket.signal.aborted) return { code: 1000, reason: '' };
        const closing = closingOf(error);
        if (closing === null) throw error;
        return closing;
      } finally {
        standing.stop();
        release();
      }
    },
  };
}

async function runTerminal(
  parts: PodParts,
  { record, caller }: { readonly record: PodRecord; readonly caller: Caller },
  socket: MessageSocket,
  standing: AbortSignal,
): Promise<Closing> {
  const { orchestrator, clock, log } = parts;
  const messages = socket.messages()[Symbol.asyncIterator]();
  const start = await firstMessage(messages);
  if (start === null) return { code: 1000, reason: '' };
  await noteAction(parts, record, `'${caller.username}' opened a terminal with ${programsOf([start.command])}`);
  const beganMs = clock.monotonicMs();
  const signal = AbortSignal.any([socket.signal, standing]);
  const pause = new OutputPause();
  let outcome = 'ended by its client';
  try {
    const result = await orchestrator.shell.terminal(
      record,
      {
        ...start,
        input: inputOf(messages, pause),
        output: async (bytes) => {
          await pause.over();
          await socket.send(bytes);
        },
        deadlineMs: TERMINAL_DEADLINE_MAX_MS,
      },
      signal,
    );
    const { message, closing } = endOf(result);
    outcome = closing.reason;
    if (message !== null) await socket.send(message);
    return closing;
  } catch (error) {
    if (!socket.signal.aborted) outcome = errorText(error);
    throw error;
  } finally {
    pause.resume();
    const { tenant, podId } = record;
    const durationMs = Math.round(clock.monotonicMs() - beganMs);
    log.info({ tenant, podId, username: caller.username, durationMs, outcome }, 'a terminal was closed');
  }
}

/** Null: the client has left before. Throws 'api.invalid'. */
async function firstMessage(messages: AsyncIterator<Message>): Promise<TerminalStart | null> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new PodgateError('api.invalid', { publicMessages: ['No start message has come within 10 s.'] }));
  }, START_MS);
  try {
    const first = await Promise.race([messages.next(), late.promise]);
    return first.done === true ? null : parseStart(first.value);
  } finally {
    clearTimeout(timer);
  }
}

async function* inputOf(messages: AsyncIterator<Message>, pause: OutputPause): AsyncGenerator<TerminalInput> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) return;
    const input = parseInput(next.value);
    if (input.kind === 'pause') pause.begin();
    else if (input.kind === 'resume') pause.resume();
    else yield input;
  }
}

/** Aborts when the caller may no longer use the pod, or it has become another. A store that is away changes nothing. */
function watchStanding(parts: PodParts, { uid }: PodRecord, mayUse: () => ReturnType<typeof readPod>) {
  const standing = new AbortController();
  const check = async (): Promise<void> => {
    try {
      const { value } = await mayUse();
      if (value.uid !== uid) standing.abort(new PodgateError('api.not-found'));
    } catch (error) {
      if (closingOf(error) !== null) standing.abort(error);
      else parts.log.warn({ error: errorText(error) }, 'failed to check whether a terminal may stay open');
    }
  };
  const timer = setInterval(() => void check(), CHECK_MS);
  timer.unref();
  return { signal: standing.signal, stop: () => clearInterval(timer) };
}
