import { setImmediate as nextLoop } from 'node:timers/promises';
import { expect, test } from 'vitest';

import { isKnownHost, controlHostNames } from '../../../../control/http/known-hosts.ts';
import { jsonList, jsonText } from '../../../../control/http/json-pieces.ts';
import { FairTurns } from '../../../../control/http/limits/fair-turns.ts';
import { RatePerAddress } from '../../../../control/http/limits/rate-per-address.ts';

test('turns alternate between parties, however many turns each of them waits for', async () => {
  const turns = new FairTurns();
  const order: string[] = [];
  const work = async (party: string, name: string): Promise<void> => {
    await turns.next(party);
    order.push(name);
  };
  const all = [
    ...Array.from({ length: 4 }, (_, index) => work('greedy', `greedy ${index}`)),
    work('modest', 'modest 0'),
    work('other', 'other 0'),
    work('modest', 'modest 1'),
  ];
  expect(turns.waiting).toBe(7);
  await Promise.all(all);
  expect(order).toEqual(['greedy 0', 'modest 0', 'other 0', 'greedy 1', 'modest 1', 'greedy 2', 'greedy 3']);
  expect(turns.waiting).toBe(0);
});

test('the event loop runs other work between two turns', async () => {
  const turns = new FairTurns();
  const order: string[] = [];
  const loops = (async () => {
    for (let index = 0; index < 4; index += 1) {
      await nextLoop();
      order.push('loop');
    }
  })();
  await Promise.all(
    [0, 1, 2].map(async () => {
      await turns.next('party');
      order.push('turn');
    }),
  );
  await loops;
  expect(order.join(' ')).not.toContain('turn turn');
});

test('a rate has its burst at once and its refill over time, for each address separately', () => {
  const rate = new RatePerAddress({ perMinute: 60, burst: 3 });
  const taken = (address: string, nowMs: number) => rate.take(address, nowMs);
  expect([0, 0, 0, 0].map((nowMs) => taken('192.0.2.1', nowMs))).toEqual([true, true, true, false]);
  expect(taken('192.0.2.2', 0)).toBe(true);
  expect([999, 1_000, 1_001].map((nowMs) => taken('192.0.2.1', nowMs))).toEqual([false, true, false]);
  expect([60_000, 60_000, 60_000, 60_000].map((nowMs) => taken('192.0.2.1', nowMs))).toEqual([true, true, true, false]);
  // A clock that goes back gives nothing.
  expect(taken('192.0.2.1', 0)).toBe(false);
});

test.each([
  ['localhost', true],
  ['LOCALHOST:8000', true],
  ['localhost.', true],
  ['127.0.0.1:8000', true],
  ['[::1]:8000', true],
  ['10.1.2.3:8000', true],
  ['10.1.2.4:8000', false],
  ['podgate-control.podgate.svc:8000', true],
  ['podgate-control.podgate.svc.evil.example', false],
  ['evil.example', false],
  ['localhost.evil.example', false],
  ['127.0.0.1.evil.example', false],
  ['[fd00::1]', false],
  ['', false],
])('Host: %s at 10.1.2.3 is known: %s', (host, isKnown) => {
  const names = controlHostNames(['podgate-control.podgate.svc']);
  expect(isKnownHost(host, '::ffff:10.1.2.3', names)).toBe(isKnown);
  expect(isKnownHost(host, '10.1.2.3', names)).toBe(isKnown);
});

test('an IPv6 address in brackets is known by its plain form', () => {
  expect(isKnownHost('[fd00::1]:8000', 'fd00::1', controlHostNames([]))).toBe(true);
});

async function textOf(pieces: AsyncIterable<string> | Iterable<string>): Promise<{ text: string; longest: number }> {
  let text = '';
  let longest = 0;
  for await (const piece of pieces) {
    text += piece;
    longest = Math.max(longest, piece.length);
  }
  return { text, longest };
}

test.each([
  ['empty', ''],
  ['control characters', '\u0001\n"\\'.repeat(50_000)],
  ['characters of two, three and four bytes', 'ä€😀x'.repeat(40_000)],
  ['ASCII', 'x'.repeat(1_000_000)],
])('a long text of %s comes in pieces that JSON.parse puts together again', async (_, value) => {
  const { text, longest } = await textOf(jsonText(Buffer.from(value)));
  expect(JSON.parse(text)).toBe(value);
  expect(longest).toBeLessThan(128 * 1024);
});

test('bytes that are not UTF-8 come in pieces, too', async () => {
  const { text, longest } = await textOf(jsonText(Buffer.alloc(1_000_000, 0x80)));
  expect((JSON.parse(text) as string).length).toBe(1_000_000);
  expect(longest).toBeLessThan(128 * 1024);
});

test('a list comes in pieces, however long it is', async () => {
  for (const length of [0, 1, 2, 5_000]) {
    const items = Array.from({ length }, (_, index) => ({ index, text: 'x'.repeat(100) }));
    const { text, longest } = await textOf(jsonList(items));
    expect(JSON.parse(text)).toEqual(items);
    expect(longest).toBeLessThan(64 * 1024);
  }
});
