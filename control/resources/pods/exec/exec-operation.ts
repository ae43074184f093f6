import { z } from 'zod';

import { PodgateError } from '../../../../core/errors.ts';
import { EXEC_COMMAND_MAX_BYTES, EXEC_DEADLINE_MAX_MS, EXEC_INPUT_MAX_BYTES } from '../../../../core/shell.ts';
import { boundedList, boundedText } from '../../../http/bounded.ts';
import { checkFields } from '../../../http/field-checks.ts';
import { jsonText } from '../../../http/json-pieces.ts';
import { numeric } from '../../../http/numeric.ts';
import type { AuthenticatedCall, Operation } from '../../../http/operation.ts';
import type { PodService } from '../pod-service.ts';
import { OUTPUTS_MAX_BYTES, type RunCommand, type RunCommands } from './run-commands.ts';

const COMMANDS_MAX = 64;
const WORDS_MAX = 256;
const TOTAL_TIMEOUT_SECONDS = 300;
const COMMAND_TIMEOUT_SECONDS = 60;
const TIMEOUT_MAX_SECONDS = EXEC_DEADLINE_MAX_MS / 1000;
/** Room for the largest input, most of whose characters need no escape. */
const BODY_MAX_BYTES = 2 * EXEC_INPUT_MAX_BYTES;

const seconds = (what: string) => numeric(z.int().min(1).max(TIMEOUT_MAX_SECONDS).nullish()).describe(what);

const word = boundedText(EXEC_COMMAND_MAX_BYTES).refine((text) => !text.includes('\0'), 'must not contain NUL bytes');
const command = boundedList(word, WORDS_MAX).refine(
  (words) => words.length > 0 && words[0] !== '',
  'must name a program',
);

export const ExecutePodCommands = z
  .strictObject({
    commands: z
      .preprocess(
        (value) => (Array.isArray(value) && typeof value[0] === 'string' ? [value] : value),
        boundedList(command, COMMANDS_MAX).refine((all) => all.length > 0, 'must have at least one command'),
      )
      .describe('Commands, each a program and its arguments; or the words of a single one. No shell reads them.'),
    total_timeout: seconds(`For all commands, in seconds. Default: ${TOTAL_TIMEOUT_SECONDS}.`),
    command_timeout: seconds(`For each command, in seconds. Default: ${COMMAND_TIMEOUT_SECONDS}.`),
    fail_on_non_success: z.boolean().nullish().describe('Run no further commands after one that fails. Default: true.'),
    stdin: z
      .string()
      .max(EXEC_INPUT_MAX_BYTES, { abort: true })
      .refine(
        (text) => Buffer.byteLength(text) <= EXEC_INPUT_MAX_BYTES,
        `must have at most ${EXEC_INPUT_MAX_BYTES} bytes`,
      )
      .optional()
      .describe('Standard input of each command: the place for secrets. Default: empty.'),
  })
  .meta({ examples: [{ commands: [['echo', 'hello']] }] });

const ExecutionResults = z.object({
  execution_results: z.array(
    z.object({
      command: z.array(z.string()),
      stdout: z.string(),
      stderr: z.string(),
      success: z.boolean().describe('Its exit code is 0.'),
      exit_code: z.int().nullable().describe('128 + n after signal n. null: it was ended, or did not run.'),
      reason: z.string().describe('Why there is no exit code; else empty.'),
      duration_sec: z.number(),
      timestamp: z.iso.datetime().describe('When it began.'),
    }),
  ),
  total_commands: z.int(),
  successful_commands: z.int(),
});

export function execOperation(pods: Pick<PodService, 'runCommands'>): Operation {
  return {
    operationId: 'exec_pod_commands',
    methods: ['post'],
    path: '/pods/{pod_id}/exec',
    tag: 'Pods',
    summary:
      'Runs commands in a running pod, one after the other, and returns when they have ended; ends them when you leave. ADMIN.',
    body: ExecutePodCommands,
    result: ExecutionResults,
    access: 'token',
    // The last command may print as much again.
    limits: { bodyBytes: BODY_MAX_BYTES, responseBytes: 2 * OUTPUTS_MAX_BYTES },
    handle: (call) => {
      const asked = requestOf(call);
      const reply = pods.runCommands(call.caller, asked).then((run) => ({
        kind: 'json-pieces' as const,
        message: messageOf(run),
        pieces: resultPieces(run, asked.commands.length),
      }));
      // Its client may leave before it is waited for again.
      reply.catch(() => undefined);
      return Promise.resolve({ kind: 'late', reply });
    },
  };
}

function requestOf({ params, body, signal }: AuthenticatedCall) {
  const { values, problems } = checkFields(ExecutePodCommands, body);
  const { commands } = values;
  if (problems.length > 0 || commands === undefined)
    throw new PodgateError('api.invalid', { publicMessages: problems });
  return {
    podId: params['pod_id'] ?? '',
    commands,
    input: Buffer.from(values.stdin ?? ''),
    totalTimeoutMs: (values.total_timeout ?? TOTAL_TIMEOUT_SECONDS) * 1000,
    commandTimeoutMs: (values.command_timeout ?? COMMAND_TIMEOUT_SECONDS) * 1000,
    stopsAtFailure: values.fail_on_non_success ?? true,
    signal,
  };
}

/** The first two are those of Tapis. */
function messageOf({ end }: RunCommands): string {
  switch (end) {
    case null:
      return 'All commands completed.';
    case 'failure':
      return (
        'Execution stopped due to command failure on latest command. Consider setting fail_on_non_success=False to ' +
        'continue through errors.'
      );
    case 'timeout':
      return 'Execution stopped at total_timeout: the commands without a result did not run.';
    case 'output':
      return 'Execution stopped since the commands printed too much: those without a result did not run.';
  }
}

async function* resultPieces({ results }: RunCommands, total: number): AsyncGenerator<string> {
  yield '{"execution_results":[';
  for (const [index, result] of results.entries()) {
    yield `${index === 0 ? '' : ','}{"command":${JSON.stringify(result.command)},"stdout":`;
    yield* jsonText(result.stdout);
    yield ',"stderr":';
    yield* jsonText(result.stderr);
    yield `,${JSON.stringify(factsOf(result)).slice(1)}`;
  }
  const successful = results.filter(({ exitCode }) => exitCode === 0).length;
  yield `],"total_commands":${total},"successful_commands":${successful}}`;
}

function factsOf({ exitCode, reason, durationMs, startedAtMs }: RunCommand) {
  return {
    success: exitCode === 0,
    exit_code: exitCode,
    reason,
    duration_sec: Math.round(durationMs) / 1000,
    timestamp: new Date(startedAtMs).toISOString(),
  };
}
