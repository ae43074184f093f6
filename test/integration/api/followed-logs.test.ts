import { afterAll, beforeAll, expect, test } from 'vitest';

import { until } from '../../support/until.ts';
import { EventReader } from '../../support/event-reader.ts';
import { becomes, ensured } from '../../contract/orchestrator-harness.ts';
import { processOptions, runProcessOrchestrator, scriptPod, SERVE, temporaryRoot } from '../spawner/process-harness.ts';
import type { RunningOrchestrator } from '../spawner/process-harness.ts';
import { ApiStand } from './api-stand.ts';

const { root, remove } = temporaryRoot();
let running: RunningOrchestrator;
let stand: ApiStand;

beforeAll(async () => {
  running = runProcessOrchestrator(processOptions(root));
  stand = await ApiStand.start({ orchestrator: running.orchestrator });
  await stand.create('alice', 'mypod');
  const { tenant, podId, uid } = await stand.record('mypod');
  const ticks = `${SERVE}; let n = 0; setInterval(() => console.log('tick ' + ++n + '.'), 100);`;
  const workload = scriptPod(ticks, {}, { tenant, podId, uid });
  await ensured(running.orchestrator, workload);
  await becomes(running.orchestrator, workload, 'ready');
});
afterAll(async () => {
  try {
    await stand.close();
  } finally {
    await running.close();
    remove();
  }
});

const follow = async (query = '', headers: Record<string, string> = {}, user = 'alice'): Promise<EventReader> =>
  await EventReader.open(`${stand.url}/v3/pods/mypod/logs?follow=true${query}`, {
    'X-Tapis-Token': await stand.token(user),
    ...headers,
  });
/** The text of events up to this, and the id of the last. */
async function readUpTo(reader: EventReader, end: string): Promise<{ text: string; id: string }> {
  let text = '';
  for (;;) {
    const { event, data, id } = await reader.next();
    expect(event).toBe('output');
    text += String(data['text']);
    if (text.includes(end)) return { text, id };
  }
}
const numbersOf = (text: string): readonly number[] => [...text.matchAll(/tick (\d+)\./g)].map(([, n]) => Number(n));

test('output arrives as it is printed, without gap or repetition, also after a reconnect', async () => {
  const reader = await follow();
  expect(reader.headers.get('content-type')).toMatch(/^text\/event-stream/);
  const first = await readUpTo(reader, 'tick 15.');
  reader.close();
  const again = await follow('', { 'Last-Event-ID': first.id });
  const second = await readUpTo(again, `tick ${numbersOf(first.text).length + 10}.`);
  again.close();
  const numbers = numbersOf(first.text + second.text);
  expect(numbers).toEqual(numbers.map((_, at) => at + 1));
  const tail = await follow('&tail_bytes=30');
  const { text } = await readUpTo(tail, '.');
  expect(text).toMatch(/^tick \d+\.\n/);
  tail.close();
});

test('needs READ, and limits the logs that a user follows at a time', async () => {
  await expect(follow('', {}, 'bob')).rejects.toThrow('403');
  await expect(follow('&previous=true')).rejects.toThrow('previous: cannot be combined with follow');
  const readers = await Promise.all(Array.from({ length: 8 }, () => follow()));
  await expect(follow()).rejects.toThrow('You have 8 logs that you follow, the maximum');
  for (const reader of readers) reader.close();
  await until('there is room again', async () => {
    const reader = await follow().catch(() => null);
    reader?.close();
    return reader !== null;
  });
});
