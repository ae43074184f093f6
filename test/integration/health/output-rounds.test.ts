import { expect, test } from 'vitest';
import { keepOutput } from '../../../control/resources/pods/reconcile/keep-output.ts';
import { OutputRounds } from '../../../control/resources/pods/reconcile/output-rounds.ts';
import type { LogStore } from '../../../core/log-store.ts';
import type { PrintedOptions, WorkloadRef } from '../../../core/orchestrator.ts';
import { linesAfter } from '../../../spawner/orchestrator/kubernetes/printed-lines.ts';
import { until } from '../../support/until.ts';
import { silentLog } from '../../support/silent-log.ts';
import { createContainerLog, type ContainerLog } from '../../support/kubernetes/kubelet/container-log.ts';

const RUN = 3;
const ROTATED_BYTES = 10 * 1024 * 1024;
const pod = { tenant: 't', podId: 'p', uid: 'u', run: RUN };

/** The log store's part that counts here. */
function createLogs() {
  const kept = new Map<string, { text: string; mark: string }>();
  const logs = {
    saveOutput: async (uid: string, run: number, text: string, mark = '') =>
      void kept.set(`${uid} ${run}`, { text: text.slice(-ROTATED_BYTES), mark }),
    outputOfRun: async (uid: string, run: number) => kept.get(`${uid} ${run}`) ?? null,
  } as unknown as LogStore;
  return { kept, logs };
}

/** As the API reads it of a kubelet whose logs rotate. */
function createReader(log: ContainerLog) {
  const calls: PrintedOptions[] = [];
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
  return { calls, printedSince, followPrinted };
}

const never = new AbortController().signal;

test('no line is lost or doubled across rotations, whoever leads', async () => {
  const { kept, logs } = createLogs();
  const log = createContainerLog();
  const reader = createReader(log);
  let nowMs = 0;
  let term = new AbortController();
  const lead = (): OutputRounds => {
    term.abort();
    term = new AbortController();
    return new OutputRounds({ logs, ...reader, monotonicMs: () => nowMs, log: silentLog });
  };
  let rounds = lead();
  let printed = 0;
  // 24 MiB: two rotations.
  for (let part = 0; part < 12; part++) {
    for (let line = 0; line < 4_000; line++) log.write(`${String(printed++).padStart(7, '0')} ${'x'.repeat(440)}\n`);
    // Another replica begins, and knows only what is kept.
    if (part % 5 === 4) rounds = lead();
    rounds.present([pod]);
    nowMs += 600_000;
    await rounds.lookAtDue(term.signal);
    if (part >= 2) {
      const last = String(printed - 1_000).padStart(7, '0');
      await until('most of it is kept', () => kept.get(`u ${RUN}`)?.text.includes(`${last} `) === true);
    }
  }
  term.abort();
  await keepOutput({ logs, orchestrator: { ...reader, logs: async () => '' }, log: silentLog }, pod, never);
  const lines = (kept.get(`u ${RUN}`)?.text ?? '').trim().split('\n').slice(1);
  const numbers = lines.map((line) => Number(line.slice(0, 7)));
  expect(numbers.at(-1)).toBe(printed - 1);
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
  // All that is kept of a run: more than the newest file has.
  expect(numbers.length * 449).toBeGreaterThan(9 * 1024 * 1024);
}, 60_000);

test('a silent pod is looked at ever more rarely, and nothing of it is kept; one that prints much is followed', async () => {
  const { kept, logs } = createLogs();
  const log = createContainerLog();
  log.write('a line\n');
  const { calls, ...reader } = createReader(log);
  let nowMs = 0;
  const rounds = new OutputRounds({ logs, ...reader, monotonicMs: () => nowMs, log: silentLog });
  rounds.present([pod]);
  const looksWithin = async (ms: number): Promise<number> => {
    const before = calls.length;
    for (const endMs = nowMs + ms; nowMs < endMs; nowMs += 1_000) await rounds.lookAtDue(never);
    return calls.length - before;
  };
  // At 10, 30, 70, 150, 310 and 630 s, then every ten minutes.
  expect(await looksWithin(3_600_000)).toBe(10);
  expect(kept.size).toBe(0);
  for (let line = 0; line < 5_000; line++) log.write(`${'x'.repeat(1_000)}\n`);
  expect(await looksWithin(1_200_000)).toBeGreaterThanOrEqual(1);
  expect(kept.size).toBe(1);
  // It ends.
  rounds.present([]);
  expect(await looksWithin(3_600_000)).toBe(0);
});

test('a pod whose output cannot be read is tried again, and keeps no other waiting', async () => {
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
  for (; nowMs < 60_000; nowMs += 1_000) while (await rounds.lookAtDue(never)) continue;
  expect(tried.toSorted()).toEqual(['bad', 'bad', 'u', 'u']);
});
