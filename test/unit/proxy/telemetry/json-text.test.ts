import { expect, it } from 'vitest';
import { jsonText } from '../../../../proxy/telemetry/json-text.ts';

it('is the same string in JSON, in ASCII, whatever it contains', () => {
  for (const text of [
    '',
    'plain',
    'a"b\\c',
    'line\nfeed',
    '\u0000\u001b[2J',
    'dél',
    '\u009b\u2028\u2029',
    '\ud83d\ude00',
    '\ud83d',
  ]) {
    const shown = jsonText(text, 1_000);
    expect(shown).toMatch(/^"[ -~]*"$/);
    expect(JSON.parse(shown)).toBe(text);
  }
});

it('is at most twice as long as requested', () => {
  expect(jsonText('x'.repeat(1_000), 100)).toBe(`"${'x'.repeat(100)}"`);
  expect(jsonText('\u009b'.repeat(1_000), 100).length).toBeLessThanOrEqual(206);
  expect(jsonText(`\u009b${'x'.repeat(1_000)}`, 100).length).toBeLessThan(100);
});
