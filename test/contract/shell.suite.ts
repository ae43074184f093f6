import { randomInt, randomUUID } from 'node:crypto';
import { afterAll, afterEach, expect, it } from 'vitest';
import type { Orchestrator } from '../../core/orchestrator.ts';
import type { WorkloadSpec } from '../../core/workloads.ts';
import {
  EXEC_OUTPUT_MAX_BYTES,
  EXEC_PER_POD_MAX,
  type ExecOptions,
  type ExecResult,
  type TerminalInput,
  type TerminalOptions,
  type TerminalResult,
  TERMINALS_PER_POD_MAX,
  type TerminalSize,
} from '../../core/shell.ts';
import { until } from '../support/until.ts';
import { becomes, becomesAbsent, ensured, never } from './orchestrator-harness.ts';

/** Of a command that ends at once, on a machine that others slow down. */
const PROMPT_MS = 15_000;
/** Of an input that nobody reads: what fits into the buffers on the way. */
const UNREAD_MAX_BYTES = 2_000_000;

/**
 * The laws of `Shell` (core/shell.ts). Its pods serve, with the variable GREETING in their environment. Tests share one
 * pod, because on a real node the start and the removal of a pod take longer than most tests. A failed test may leave
 * something behind in it, so the next one gets a new pod. A test that ends its pod starts its own.
 */
export function describeShell(harness: () => { orchestrator: Orchestrator; serving: () => WorkloadSpec }): void {
  const started = async (): Promise<Pod> => {
    const { orchestrator, serving } = harness();
    const workload = serving();
    await ensured(orchestrator, workload);
    await becomes(orchestrator, workload, 'ready');
    return {
      workload,
      exec: async (command, change = {}, signal = never()) =>
        textsOf(
          await orchestrator.shell.exec(
            workload,
            { command, outputMaxBytes: 64 * 1024, deadlineMs: 60_000, ...change },
            signal,
          ),
        ),
      terminal: (command, change = {}, signal = never()) =>
        openTerminal(orchestrator, workload, command, change, signal),
      end: async () => {
        await orchestrator.remove(workload, { data: 'delete', run: workload.run }, never());
        await becomesAbsent(orchestrator, workload);
      },
    };
  };

  const sharedPods: Pod[] = [];
  let isReusable = false;
  const shared = async (): Promise<Pod> => {
    const last = sharedPods.at(-1);
    if (isReusable && last !== undefined) return last;
    const pod = await started();
    sharedPods.push(pod);
    isReusable = true;
    return pod;
  };
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') isReusable = false;
  });
  afterAll(() => Promise.all(sharedPods.map((pod) => pod.end())));

  it('runs a command and returns its exit code, with stdout and stderr separate', async () => {
    const pod = await shared();
    const script = 'echo "to $GREETING"; echo "and $1" >&2; exit 7';
    expect(await pod.exec(['sh', '-c', script, 'sh', 'a "b" $c'])).toEqual({
      kind: 'ended',
      exit: { kind: 'code', code: 7 },
      stdout: "to it's me\n",
      stderr: 'and a "b" $c\n',
    });
    expect(await pod.exec(['true'])).toMatchObject({ exit: { kind: 'code', code: 0 }, stdout: '', stderr: '' });
    expect(await pod.exec(['no-such-program'])).toMatchObject({ exit: { kind: 'code', code: 127 }, stdout: '' });
    expect(await pod.exec(['sh', '-c', 'kill -9 $$'])).toMatchObject({ exit: { kind: 'signal', signal: 'SIGKILL' } });
  });

  it('passes it its input, byte for byte, and then end of file', async () => {
    const pod = await shared();
    const input = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
    const copied = await pod.exec(['sh', '-c', 'cat | od -An -v -tu1 | tail -n 1'], { input });
    expect(copied).toMatchObject({ kind: 'ended', stderr: '' });
    expect(copied.stdout.trim().split(/\s+/).map(Number)).toEqual([
      ...input.subarray(-copied.stdout.trim().split(/\s+/).length),
    ]);
    expect(await pod.exec(['wc', '-c'], { input })).toMatchObject({
      stdout: expect.stringContaining('100000') as string,
    });
    expect(await pod.exec(['cat'])).toMatchObject({ kind: 'ended', stdout: '' });
    // One that does not read it.
    expect(await pod.exec(['true'], { input })).toMatchObject({ exit: { kind: 'code', code: 0 } });
  });

  it('streams input and output, byte for byte, beyond the size limit of a result', async () => {
    const pod = await shared();
    const sizes = [1, 70_000, 300_000, 0, 2_000_000, 4_000_000, 17];
    const pieces = sizes.map((size) => Buffer.from(Array.from({ length: size }, (_, index) => index % 251)));
    const taken: Buffer[] = [];
    const output = async (bytes: Uint8Array): Promise<void> => void taken.push(Buffer.from(bytes));
    const result = await pod.exec(['sh', '-c', 'cat; echo to stderr >&2; exit 3'], {
      input: piecesOf(pieces),
      output,
      outputMaxBytes: 1_000,
    });
    expect(result).toEqual({ kind: 'ended', exit: { kind: 'code', code: 3 }, stdout: '', stderr: 'to stderr\n' });
    expect(Buffer.concat(taken).equals(Buffer.concat(pieces))).toBe(true);
    // One that ends before it has read all of it.
    const some = await pod.exec(['head', '-c', '10'], { input: piecesOf(pieces) });
    expect(some).toMatchObject({ kind: 'ended', exit: { kind: 'code', code: 0 } });
    expect(some.stdout).toHaveLength(10);
  });

  it.each([0, 10_000, 6_000_000, Infinity])(
    'returns at once when a command ends without reading its input of %d bytes',
    async (size) => {
      const pod = await shared();
      for (const [script, code, stdout] of [
        ['exit 5', 5, ''],
        ['head -c 10; exit 6', 6, '.'.repeat(Math.min(size, 10))],
        ['exec <&-; echo closed; sleep 1; exit 7', 7, 'closed\n'],
      ] as const) {
        const input = counted(size);
        const startedMs = performance.now();
        expect(await pod.exec(['sh', '-c', script], { input: input.pieces })).toEqual({
          kind: 'ended',
          exit: { kind: 'code', code },
          stdout,
          stderr: '',
        });
        expect(performance.now() - startedMs).toBeLessThan(PROMPT_MS);
        if (size > 1_000_000) await until('its input is given up', () => input.isGivenUp());
        expect(input.takenBytes()).toBeLessThan(UNREAD_MAX_BYTES);
      }
    },
  );

  it('ends a command that does not read its endless input at its deadline, and when its caller gives up', async () => {
    const pod = await shared();
    const [late, given] = [mark(), mark()];
    const input = counted(Infinity);
    expect(await pod.exec(['sleep', late], { input: input.pieces, deadlineMs: 1_500 })).toMatchObject({
      kind: 'stopped',
      reason: 'deadline',
    });
    await until('nothing of it runs', async () => !(await runsOn(pod, late)));
    await until('its input is given up', () => input.isGivenUp());
    const caller = new AbortController();
    const waiting = pod.exec(['sleep', given], { input: counted(Infinity).pieces }, caller.signal);
    await until('it runs', () => runsOn(pod, given));
    caller.abort(new Error('given up'));
    await expect(waiting).rejects.toThrow('given up');
    await until('nothing of it runs', async () => !(await runsOn(pod, given)));
  });

  it('blocks a command while its output is not read, and loses nothing when it has ended by then', async () => {
    const pod = await shared();
    const written = `/tmp/${randomUUID()}`;
    const first = Promise.withResolvers<undefined>();
    const going = Promise.withResolvers<undefined>();
    let bytes = 0;
    const output = async (piece: Uint8Array): Promise<void> => {
      bytes += piece.length;
      first.resolve(undefined);
      await going.promise;
    };
    const script = `head -c 50000000 /dev/zero; echo >${written}; printf end`;
    const running = pod.exec(['sh', '-c', script], { output });
    await first.promise;
    for (let times = 0; times < 3; times++) {
      expect(await pod.exec(['test', '-e', written])).toMatchObject({ exit: { kind: 'code', code: 1 } });
    }
    going.resolve(undefined);
    expect(await running).toMatchObject({ kind: 'ended', exit: { kind: 'code', code: 0 } });
    expect(bytes).toBe(50_000_003);
    await pod.exec(['rm', written]);
  });

  it('ends a command whose input or output fails, and reports why', async () => {
    const pod = await shared();
    const breaking = async function* () {
      yield Buffer.alloc(300_000);
      throw new Error('the input broke off');
    };
    await expect(pod.exec(['wc', '-c'], { input: breaking() })).rejects.toThrow('the input broke off');
    const refusing = (): Promise<void> => Promise.reject(new Error('the output is not taken'));
    await expect(pod.exec(['sh', '-c', 'echo a; sleep 86305'], { output: refusing })).rejects.toThrow(
      'the output is not taken',
    );
  });

  it('ends a command that prints too much, and keeps what it printed up to the bound', async () => {
    const pod = await shared();
    expect(await pod.exec(['yes', 'no'], { outputMaxBytes: 10 })).toEqual({
      kind: 'stopped',
      reason: 'output',
      stdout: 'no\nno\nno\nn',
      stderr: '',
    });
    expect(
      await pod.exec(['sh', '-c', 'printf 0123456789; printf 0123456789 >&2'], { outputMaxBytes: 10 }),
    ).toMatchObject({
      kind: 'ended',
      stdout: '0123456789',
      stderr: '0123456789',
    });
  });

  it('ends a command with all that it has started at its deadline, and when its caller gives up', async () => {
    const pod = await shared();
    const forking = (seconds: string) => ['sh', '-c', `echo begun; (sleep ${seconds}; true) & sleep ${seconds}`];
    const [late, given] = [mark(), mark()];
    expect(await pod.exec(forking(late), { deadlineMs: 1_500 })).toMatchObject({
      kind: 'stopped',
      reason: 'deadline',
      stdout: 'begun\n',
    });
    await until('nothing of it runs', async () => !(await runsOn(pod, late)));

    const caller = new AbortController();
    const waiting = pod.exec(forking(given), {}, caller.signal);
    await until('it runs', () => runsOn(pod, given));
    caller.abort(new Error('given up'));
    await expect(waiting).rejects.toThrow('given up');
    await until('nothing of it runs', async () => !(await runsOn(pod, given)));
  });

  it('limits the commands that run in a pod at a time, and accepts others once they have ended', async () => {
    const pod = await shared();
    const caller = new AbortController();
    const running = Array.from({ length: EXEC_PER_POD_MAX }, () => pod.exec(['sleep', '86304'], {}, caller.signal));
    await expect(pod.exec(['true'])).rejects.toThrow('8 commands are running in this pod');
    caller.abort(new Error('given up'));
    const ended = await Promise.allSettled(running);
    expect(ended.every(({ status }) => status === 'rejected')).toBe(true);
    expect(await pod.exec(['true'])).toMatchObject({ exit: { kind: 'code', code: 0 } });
  });

  it('ends the processes that a command leaves behind', async () => {
    const pod = await shared();
    const left = mark();
    for (const script of [`sleep ${left} & echo gone`, `trap "" TERM HUP; sleep ${left} & echo gone`]) {
      expect(await pod.exec(['sh', '-c', script], { deadlineMs: 30_000 })).toMatchObject({
        kind: 'ended',
        exit: { kind: 'code', code: 0 },
        stdout: 'gone\n',
      });
      await until('nothing of it runs', async () => !(await runsOn(pod, left)));
    }
  });

  it('runs a command on a real terminal of the given size, with echo and resizing', async () => {
    const pod = await shared();
    const terminal = pod.terminal(['sh', '-c', 'test -t 0 && test -t 1 && stty size; echo "$TERM $GREETING"; exec sh']);
    await terminal.shows('24 80');
    await terminal.shows("xterm-256color it's me");
    terminal.type('echo a-$((40 + 2))\r');
    await terminal.shows('echo a-$((40 + 2))');
    await terminal.shows('a-42');
    terminal.resize({ columns: 132, rows: 50 });
    await until('it has the new size', async () => {
      terminal.type('stty size\r');
      return terminal.text().includes('50 132');
    });
    // Ctrl-C ends what runs in the foreground, and not the shell.
    const typed = mark();
    terminal.type(`sleep ${typed}\r`);
    await until('it runs', () => runsOn(pod, typed));
    terminal.type('\x03');
    await until('it has ended', async () => !(await runsOn(pod, typed)));
    terminal.type('exit 7\r');
    expect(await terminal.result).toEqual({ kind: 'ended', exit: { kind: 'code', code: 7 } });
  });

  it('ends a terminal with all that was started on it, when its caller gives up and at its deadline', async () => {
    const pod = await shared();
    const script = (seconds: string) => [
      'sh',
      '-c',
      `(trap "" HUP; sleep ${seconds}; true) & echo begun; sleep ${seconds}`,
    ];
    const [ofGiven, ofLate] = [mark(), mark()];
    const caller = new AbortController();
    const given = pod.terminal(script(ofGiven), {}, caller.signal);
    await given.shows('begun');
    await until('it runs', () => runsOn(pod, ofGiven));
    caller.abort(new Error('given up'));
    await expect(given.result).rejects.toThrow('given up');
    expect(await runsOn(pod, ofGiven)).toBe(false);
    const late = pod.terminal(script(ofLate), { deadlineMs: 3_000 });
    expect(await late.result).toEqual({ kind: 'stopped', reason: 'deadline' });
    expect(await runsOn(pod, ofLate)).toBe(false);
  });

  it('blocks the command on a terminal while its output is not read', async () => {
    const pod = await shared();
    const going = Promise.withResolvers<undefined>();
    const first = Promise.withResolvers<undefined>();
    const written = `/tmp/${randomUUID()}`;
    let bytes = 0;
    const output = async (piece: Uint8Array): Promise<void> => {
      bytes += piece.length;
      first.resolve(undefined);
      await going.promise;
    };
    const terminal = pod.terminal(['sh', '-c', `head -c 20000000 /dev/zero; echo >${written}`], { output });
    await first.promise;
    for (let times = 0; times < 3; times++) {
      expect(await pod.exec(['test', '-e', written])).toMatchObject({ exit: { kind: 'code', code: 1 } });
    }
    going.resolve(undefined);
    expect(await terminal.result).toEqual({ kind: 'ended', exit: { kind: 'code', code: 0 } });
    expect(bytes).toBe(20_000_000);
    await pod.exec(['rm', written]);
  });

  it('reports that a terminal ended because its pod was stopped', async () => {
    const pod = await started();
    const terminal = pod.terminal(['sh', '-c', 'echo begun; sleep 86309']);
    await terminal.shows('begun');
    await pod.end();
    expect(await terminal.result).toEqual({ kind: 'stopped', reason: 'pod' });
    const another = pod.terminal(['sh']);
    expect(await another.result).toEqual({ kind: 'refused', reason: 'The pod is not running.' });
    expect(await pod.terminal(['sh'], { rows: 0 }).result).toMatchObject({ kind: 'refused' });
    expect(await pod.terminal(['sh'], { term: 'a b' }).result).toMatchObject({ kind: 'refused' });
  });

  it('limits the terminals that are open in a pod at a time', async () => {
    const pod = await shared();
    const caller = new AbortController();
    const open = Array.from({ length: TERMINALS_PER_POD_MAX }, () => pod.terminal(['cat'], {}, caller.signal));
    expect(await pod.terminal(['true']).result).toMatchObject({ kind: 'busy' });
    caller.abort(new Error('given up'));
    const ended = await Promise.allSettled(open.map(({ result }) => result));
    expect(ended.every(({ status }) => status === 'rejected')).toBe(true);
  });

  it('runs nothing in a pod with another uid, in a missing pod, and in a pod that has ended', async () => {
    const { orchestrator } = harness();
    const pod = await started();
    const exec = (uid: string) =>
      orchestrator.shell.exec(
        { ...pod.workload, uid },
        { command: ['true'], outputMaxBytes: 1_000, deadlineMs: 30_000 },
        never(),
      );
    expect(await exec(randomUUID())).toEqual({ kind: 'refused', reason: 'The pod is not running.' });
    await pod.end();
    expect(await exec(pod.workload.uid)).toEqual({ kind: 'refused', reason: 'The pod is not running.' });
  });

  it('refuses, with a sentence, a command that it can never run', async () => {
    const { orchestrator, serving } = harness();
    const how = { outputMaxBytes: 1_000, deadlineMs: 30_000 };
    const cases: readonly (Partial<ExecOptions> & Pick<ExecOptions, 'command'>)[] = [
      { command: [] },
      { command: [''] },
      { command: ['echo', 'a\0b'] },
      { command: ['echo', 'x'.repeat(65_536)] },
      { command: ['cat'], input: new Uint8Array(1024 * 1024 + 1) },
      { command: ['cat'], outputMaxBytes: EXEC_OUTPUT_MAX_BYTES + 1 },
      { command: ['cat'], outputMaxBytes: Number.NaN },
      { command: ['cat'], deadlineMs: 2 ** 31 },
    ];
    for (const each of cases) {
      const result = await orchestrator.shell.exec(serving(), { ...how, ...each }, never());
      expect(result).toEqual({
        kind: 'refused',
        reason: expect.stringMatching(/^The (command|input|output limit|deadline) .*\.$/) as string,
      });
    }
  });
}

/** Pieces of a stream of so many bytes, all dots. */
function counted(size: number) {
  const PIECE = Buffer.alloc(100_000, '.');
  let taken = 0;
  let isGivenUp = false;
  const pieces = async function* (): AsyncGenerator<Uint8Array> {
    try {
      while (taken < size) {
        const piece = PIECE.subarray(0, size - taken);
        taken += piece.length;
        yield piece;
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      isGivenUp = true;
    }
  };
  return { pieces: pieces(), takenBytes: () => taken, isGivenUp: () => isGivenUp };
}

/** Seconds of a `sleep` by which it is known: where pods share the process table of this machine, others test at the same time. */
function mark(): string {
  return String(randomInt(100_000, 1_000_000));
}

/** Does a `sleep` of so many seconds run in it? */
async function runsOn(pod: Pod, seconds: string): Promise<boolean> {
  const words = 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n"';
  const { stdout } = await pod.exec(['sh', '-c', words], { outputMaxBytes: EXEC_OUTPUT_MAX_BYTES });
  return stdout.includes(`sleep\n${seconds}\n`);
}

async function* piecesOf(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

interface Pod {
  readonly workload: WorkloadSpec;
  readonly exec: (
    command: readonly string[],
    change?: Partial<ExecOptions>,
    signal?: AbortSignal,
  ) => Promise<ReturnType<typeof textsOf>>;
  readonly terminal: (
    command: readonly string[],
    change?: Partial<TerminalOptions>,
    signal?: AbortSignal,
  ) => OpenedTerminal;
  readonly end: () => Promise<void>;
}

interface OpenedTerminal {
  readonly result: Promise<TerminalResult>;
  readonly text: () => string;
  readonly shows: (text: string) => Promise<void>;
  readonly type: (text: string) => void;
  readonly resize: (size: TerminalSize) => void;
}

function openTerminal(
  { shell }: Orchestrator,
  ref: WorkloadSpec,
  command: readonly string[],
  change: Partial<TerminalOptions>,
  signal: AbortSignal,
): OpenedTerminal {
  const typed: TerminalInput[] = [];
  let wake: () => void = () => undefined;
  const type = (input: TerminalInput): void => {
    typed.push(input);
    wake();
  };
  const input = async function* (): AsyncGenerator<TerminalInput> {
    for (;;) {
      const next = typed.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  let text = '';
  const output = async (bytes: Uint8Array): Promise<void> => {
    text += Buffer.from(bytes).toString();
  };
  const result = shell.terminal(
    ref,
    { command, input: input(), output, columns: 80, rows: 24, term: 'xterm-256color', deadlineMs: 60_000, ...change },
    signal,
  );
  result.catch(() => undefined);
  return {
    result,
    text: () => text,
    shows: async (part) => {
      await until(`the terminal shows ${part}`, () => text.includes(part));
    },
    type: (keys) => type({ kind: 'bytes', bytes: Buffer.from(keys) }),
    resize: (size) => type({ kind: 'size', ...size }),
  };
}

function textsOf(result: ExecResult) {
  if (result.kind === 'refused' || result.kind === 'busy') throw new Error(result.reason);
  return { ...result, stdout: Buffer.from(result.stdout).toString(), stderr: Buffer.from(result.stderr).toString() };
}
