import { expect, test } from 'vitest';
import { keepOutput } from '../../../control/resources/pods/reconcile/keep-output.ts';
import { OutputRounds } from '../../../control/resources/pods/reconcile/output-rounds.ts';
import { positionOf, RunOutput } from '../../../control/resources/pods/run-output.ts';
import { untilAborted } from '../../../core/abort.ts';
import type { LogStore } from '../../../core/log-store.ts';
import type { PrintedOptions } from '../../../core/workload-logs.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { linesAfter } from '../../../spawner/orchestrator/kubernetes/printed-lines.ts';
import { until } from '../../support/until.ts';
import { silentLog } from '../../support/silent-log.ts';
import { createContainerLog, type ContainerLog } from '../../support/kubernetes/kubelet/container-log.ts';

const RUN = 3;
const ROTATED_BYTES = 256 * 1024;
const KEPT_BYTES = 10 * 1024 * 1024;
const pod = { tenant: 't', podId: 'p', uid: 'u', run: RUN };

/** The log store's part that counts here. */
function createLogs() {
  const kept = new Map<string, { text: string; mark: string }>();
  const logs = {
    saveOutput: async (uid: string, run: number, text: string, mark = '') =>
      void kept.set(`${uid} ${run}`, { text: text.slice(-KEPT_BYTES), mark }),
    appendOutput: async (uid: string, run: number, text: string, mark: string) =>
      void kept.set(`${uid} ${run}`, { text: (kept.get(`${uid} ${run}`)?.text ?? '') + text, mark }),
    outputOfRun: async (uid: string, run: number) => kept.get(`${uid} ${run}`) ?? null,
  } as unknown as LogStore;
  return { kept, logs };
}

/** As the API reads it of a kubelet whose logs rotate. */
function createReader(log: ContainerLog) {
  const calls: PrintedOptions[] = [];
  let followers = 0;
  const printedSince = async (_ref: WorkloadRef, how: PrintedOptions) => {
    calls.push(how);
    const sinceMs = how.mark === '' ? null : Math.floor(Date.parse(how.mark) / 1_000) * 1_000;
    const bytes = log.read({ tailLines: null, limitBytes: how.mostBytes, sinceMs, timestamps: true });
    const isAll = bytes.length < how.mostBytes;
    const whole = bytes.toString();
    const text = isAll ? whole : whole.slice(0, whole.lastIndexOf('\n') + 1);
    const { text: printed, until: mark } = linesAfter(text, how.mark);
    return { text: printed, mark, isAll };
  };
  async function* followPrinted(_ref: WorkloadRef, mark: string, signal: AbortSignal) {
    let text = log.read({ tailLines: null, limitBytes: null, sinceMs: null, timestamps: true }).toString();
    let until = mark;
    let wake = (): void => undefined;
    followers++;
    const stop = log.follow(true, (line) => {
      text += line;
      wake();
    });
    signal.addEventListener('abort', () => wake(), { once: true });
    try {
      while (!signal.aborted) {
        const lines = linesAfter(text, until);
        text = '';
        until = lines.until;
        if (lines.text !== '') yield { text: lines.text, mark: until, isAll: true };
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      stop();
    }
  }
  return { calls, printedSince, followPrinted, followers: () => followers };
}

/** The numbers that lines begin with. */
const numbersOf = (text: string): readonly number[] =>
  text.split('\n').flatMap((line) => (line === '' ? [] : [Number(line.slice(0, 7))]));

const never = new AbortController().signal;

test('no line is lost or repeated across rotations, with any leader', async () => {
  const { kept, logs } = createLogs();
  const log = createContainerLog(ROTATED_BYTES);
  const reader = createReader(log);
  let nowMs = 0;
  let term = new AbortController();
  const lead = (): OutputRounds => {
    term.abort();
    term = new AbortController();
    const rounds = new OutputRounds({ logs, ...reader, monotonicMs: () => nowMs, log: silentLog });
    rounds.present([pod]);
    return rounds;
  };
  /** As GET /logs does: what is kept, and what was printed after its mark. */
  const readable = async (): Promise<readonly number[]> => {
    const before = kept.get(`u ${RUN}`) ?? null;
    const { mark } = positionOf(before);
    const { text } = await reader.printedSince(pod, { mark, mostBytes: KEPT_BYTES });
    return numbersOf((before?.text ?? '') + text);
  };
  let rounds = lead();
  let printed = 0;
  // 2 MiB: eight rotations.
  for (let part = 0; part < 50; part++) {
    for (let line = 0; line < 100; line++) log.write(`${String(printed++).padStart(7, '0')} ${'x'.repeat(440)}\n`);
    const numbers = await until(`all of part ${part} is readable`, async () => {
      rounds.tick(term.signal);
      nowMs += 3_000;
      const all = await readable();
      return all.length >= printed ? all : null;
    });
    expect(numbers).toEqual(Array.from({ length: printed }, (_, index) => index));
    if (part % 10 !== 9) continue;
    // Another replica begins, and knows only what is kept. What is rotated while nobody leads is lost.
    await until('it is kept', async () => {
      rounds.tick(term.signal);
      nowMs += 3_000;
      return numbersOf(kept.get(`u ${RUN}`)?.text ?? '').length === printed;
    });
    const before = reader.followers();
    rounds = lead();
    rounds.tick(term.signal);
    await until('it follows', () => reader.followers() > before);
  }
  const keepWatched = rounds.keepNow;
  log.write('9999999 the last\n');
  await keepOutput(
    { logs, orchestrator: { ...reader, logs: async () => '' }, log: silentLog, keepWatched },
    pod,
    never,
  );
  term.abort();
  expect(numbersOf(kept.get(`u ${RUN}`)?.text ?? '')).toHaveLength(printed + 1);
}, 60_000);

test('output before and after a restart is kept apart', async () => {
  const { kept, logs } = createLogs();
  const parts = [
    { text: 'first\n', mark: '1 0', isAll: true },
    { text: 'last words\nagain\n', mark: '2 1', isAll: true, previousLength: 'last words\n'.length },
    { text: 'more\n', mark: '3 1', isAll: true },
  ];
  const printedSince = async () => parts.shift() ?? { text: '', mark: '3 1', isAll: true };
  const output = new RunOutput({ logs, printedSince }, pod);
  for (let time = 0; time < 4; time++) await output.catchUp(never);
  const { text, ...saved } = kept.get(`u ${RUN}`) ?? { text: '', mark: '' };
  expect(text).toBe('first\nlast words\nagain\nmore\n');
  expect(positionOf({ text, ...saved })).toEqual({
    mark: '3 1',
    previousLength: 'first\nlast words\n'.length,
    currentLength: 'again\nmore\n'.length,
  });
});

test('a pod without a stream is polled, a silent one less often; little output is not saved', async () => {
  const { kept, logs } = createLogs();
  const log = createContainerLog();
  log.write('a line\n');
  const { calls, ...reader } = createReader(log);
  let nowMs = 0;
  const options = { logs, ...reader, monotonicMs: () => nowMs, log: silentLog, followedMost: 0 };
  const rounds = new OutputRounds(options);
  rounds.present([pod]);
  const looksWithin = async (ms: number): Promise<number> => {
    const before = calls.length;
    for (const endMs = nowMs + ms; nowMs < endMs; nowMs += 1_000) {
      rounds.tick(never);
      await rounds.lookAtDue(never);
    }
    return calls.length - before;
  };
  // At 10 and 30 s, then every 30 s.
  expect(await looksWithin(3_600_000)).toBe(120);
  expect(kept.size).toBe(0);
  // With 10,000 of them, every ten minutes.
  rounds.present([pod, ...Array.from({ length: 9_999 }, (_, at) => ({ ...pod, uid: `other${at}` }))]);
  expect(await looksWithin(60_000)).toBeGreaterThan(0);
  rounds.present([pod]);
  for (let line = 0; line < 200; line++) log.write(`${'x'.repeat(1_000)}\n`);
  await looksWithin(1_200_000);
  expect([...kept.keys()]).toEqual([`u ${RUN}`]);
  rounds.present([]);
  expect(await looksWithin(3_600_000)).toBe(0);
});

test('streams are limited, in all and per node; an active pod takes the stream of an idle one', async () => {
  const { logs } = createLogs();
  const texts = new Map<string, string>();
  const open = new Set<string>();
  const printedSince = async ({ uid }: WorkloadRef, { mark }: PrintedOptions) => {
    const text = (texts.get(uid) ?? '').slice(Number(mark));
    return { text, mark: String(Number(mark) + text.length), isAll: true };
  };
  async function* followPrinted({ uid }: WorkloadRef, _mark: string, signal: AbortSignal) {
    open.add(uid);
    await untilAborted(signal);
    open.delete(uid);
    if (uid === '') yield { text: '', mark: '', isAll: true };
  }
  let nowMs = 0;
  const monotonicMs = (): number => nowMs;
  const end = new AbortController();
  const options = { logs, printedSince, followPrinted, monotonicMs, log: silentLog };
  const podsOf = (node: string, count: number) =>
    Array.from({ length: count }, (_, at) => ({ ...pod, uid: `${node}${at}`, node }));
  const turn = async (rounds: OutputRounds): Promise<void> => {
    rounds.tick(end.signal);
    nowMs += 61_000;
    while (await rounds.lookAtDue(end.signal)) continue;
  };

  const few = new OutputRounds({ ...options, followedMost: 2 });
  few.present(podsOf('n', 3));
  await until('two are followed', async () => (await turn(few), open.size === 2));
  const [last] = ['n0', 'n1', 'n2'].filter((uid) => !open.has(uid));
  texts.set(last ?? '', 'something\n');
  nowMs += 61_000;
  while (await few.lookAtDue(end.signal)) continue;
  await until('the one that prints is followed', () => {
    nowMs += 1;
    few.tick(end.signal);
    return open.has(last ?? '') && open.size === 2;
  });
  few.present([]);
  await until('none is', () => open.size === 0);

  const many = new OutputRounds(options);
  many.present([...podsOf('a', 60), ...podsOf('b', 10)]);
  await until('as many are followed as may be', async () => (await turn(many), open.size === 58));
  await turn(many);
  expect([...open].filter((uid) => uid.startsWith('a'))).toHaveLength(48);
  end.abort();
  await until('none is', () => open.size === 0);
});

test('a pod whose output cannot be read is retried, and delays no other', async () => {
  const { logs } = createLogs();
  const tried: string[] = [];
  let nowMs = 0;
  const printedSince = async ({ uid }: WorkloadRef, { mark }: PrintedOptions) => {
    tried.push(uid);
    if (uid === 'bad') throw new Error('away');
    return { text: '', mark, isAll: true };
  };
  const { followPrinted } = createReader(createContainerLog());
  const rounds = new OutputRounds({ logs, printedSince, followPrinted, monotonicMs: () => nowMs, log: silentLog });
  rounds.present([{ ...pod, uid: 'bad' }, pod]);
  // Nobody follows: no tick.
  for (; nowMs < 60_000; nowMs += 1_000) while (await rounds.lookAtDue(never)) continue;
  expect(tried.toSorted()).toEqual(['bad', 'bad', 'u', 'u']);
});
