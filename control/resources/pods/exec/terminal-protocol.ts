import { z } from 'zod';

import { PodgateError } from '../../../../core/errors.ts';
import {
  TERMINAL_COMMAND_MAX_BYTES,
  TERMINAL_SIZE_MAX,
  type TerminalInput,
  type TerminalResult,
} from '../../../../core/shell.ts';
import { boundedList, boundedText } from '../../../http/bounded.ts';
import { checkFields } from '../../../http/field-checks.ts';
import type { Closing, Message } from '../../../http/operation.ts';
import { parseStrictJson } from '../../../http/strict-json.ts';
import { shellCodeOf } from './run-commands.ts';

/**
 * Binary messages are what is typed and what appears. Text messages are JSON: `start` first, then `resize`, `pause` and
 * `resume`; at the end the server sends `exit`, and closes with the reason in words (docs/commands-and-files.md).
 */
export const TERMINAL_PROTOCOL = 'podgate.terminal.v1';

const WORDS_MAX = 64;
const DEFAULT_TERM = 'xterm-256color';
const DEFAULT_COMMAND = ['sh', '-c', 'if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi'];
/** Of our own, 4000 to 4999 (RFC 6455 7.4.2): the status that HTTP has for it, behind a 4. */
const CLOSING = {
  ended: 1000,
  podStopped: 1001,
  limit: 1008,
  invalid: 4400,
  forbidden: 4403,
  refused: 4409,
  busy: 4429,
};

const columnsOrRows = z.int().min(1).max(TERMINAL_SIZE_MAX);
const Start = z.strictObject({
  type: z.literal('start'),
  command: boundedList(
    boundedText(TERMINAL_COMMAND_MAX_BYTES).refine((text) => !text.includes('\0'), 'must not contain NUL bytes'),
    WORDS_MAX,
  )
    .refine((words) => words.length > 0 && words[0] !== '', 'must name a program')
    .optional(),
  columns: columnsOrRows.optional(),
  rows: columnsOrRows.optional(),
  term: z
    .string()
    .max(64, { abort: true })
    .regex(/^[\w.+-]+$/)
    .optional(),
});
const Resize = z.strictObject({ type: z.literal('resize'), columns: columnsOrRows, rows: columnsOrRows });
const Flow = z.strictObject({ type: z.enum(['pause', 'resume']) });

/** What a client asks for of the output. */
export type FlowRequest = { readonly kind: 'pause' } | { readonly kind: 'resume' };

export interface TerminalStart {
  readonly command: readonly string[];
  readonly columns: number;
  readonly rows: number;
  readonly term: string;
}

/** Throws 'api.invalid'. */
export function parseStart(message: Message): TerminalStart {
  if (message.kind === 'binary') throw invalid(['the first message must be {"type":"start"}']);
  const { values, problems } = checkFields(Start, parsed(message.text));
  if (problems.length > 0) throw invalid(problems);
  const { command = DEFAULT_COMMAND, columns = 80, rows = 24, term = DEFAULT_TERM } = values;
  return { command, columns, rows, term };
}

/** Throws 'api.invalid'. */
export function parseInput(message: Message): TerminalInput | FlowRequest {
  if (message.kind === 'binary') return message.bytes.length === 0 ? NOTHING : { kind: 'bytes', bytes: message.bytes };
  const body = parsed(message.text);
  const flow = Flow.safeParse(body);
  if (flow.success) return { kind: flow.data.type };
  const { values, problems } = checkFields(Resize, body);
  const { columns, rows } = values;
  if (problems.length > 0 || columns === undefined || rows === undefined) throw invalid(problems);
  return { kind: 'size', columns, rows };
}

const NOTHING: TerminalInput = { kind: 'bytes', bytes: new Uint8Array() };

/** The last message, if there is one, and how the connection is closed. */
export function endOf(result: TerminalResult): { readonly message: string | null; readonly closing: Closing } {
  switch (result.kind) {
    case 'ended': {
      const code = shellCodeOf(result.exit);
      const reason = `The command ended with exit code ${code}.`;
      return { message: JSON.stringify({ type: 'exit', code }), closing: { code: CLOSING.ended, reason } };
    }
    case 'stopped': {
      const isPod = result.reason === 'pod';
      const reason = isPod
        ? 'The pod has stopped, and the terminal with it.'
        : 'This terminal has been open for the longest time.';
      return { message: null, closing: { code: isPod ? CLOSING.podStopped : CLOSING.limit, reason } };
    }
    case 'refused':
      return { message: null, closing: { code: CLOSING.refused, reason: result.reason } };
    case 'busy':
      return { message: null, closing: { code: CLOSING.busy, reason: result.reason } };
  }
}

/** For what a client has done wrong; null: something else went wrong. */
export function closingOf(error: unknown): Closing | null {
  if (!(error instanceof PodgateError)) return null;
  const reason = error.publicMessages.join(' ');
  if (error.code === 'api.invalid') return { code: CLOSING.invalid, reason };
  if (error.code === 'api.forbidden' || error.code === 'api.not-found') return { code: CLOSING.forbidden, reason };
  return null;
}

function parsed(text: string): unknown {
  const json = parseStrictJson(text);
  if (json.kind === 'value') return json.value;
  throw invalid(json.kind === 'refused' ? json.problems : ['A text message must be JSON.']);
}

function invalid(problems: readonly string[]): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: problems });
}
