import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LogStore } from '../../core/log-store.ts';
import type { OpenStoreHarness, StoreHarness, StoreTraits } from './store-harness.ts';

const MOST_OUTPUT_BYTES = 10 * 1024 * 1024;

/** The laws of `LogStore` (core/log-store.ts), for every implementation. */
export function describeLogStore(name: string, open: OpenStoreHarness, { keepsData }: StoreTraits): void {
  describe(`LogStore in ${name}`, () => {
    let harness: StoreHarness;
    let logs: LogStore;

    beforeEach(async () => {
      harness = await open();
      ({ logs } = harness);
    });
    afterEach(() => harness.close());

    describe('actions', () => {
      it('are returned oldest first, all or the last few, for one pod', async () => {
        for (const line of ['one', 'two', 'three']) await logs.appendAction('a', line);
        await logs.appendAction('b', 'other');
        expect(await logs.actions('a')).toEqual(['one', 'two', 'three']);
        expect(await logs.actions('a', 2)).toEqual(['two', 'three']);
        expect(await logs.actions('a', 0)).toEqual([]);
        expect(await logs.actions('b')).toEqual(['other']);
        expect(await logs.actions('c')).toEqual([]);
      });

      it('keep equal consecutive lines once', async () => {
        for (const line of ['x', 'x', 'y', 'x', 'x']) await logs.appendAction('a', line);
        expect(await logs.actions('a')).toEqual(['x', 'y', 'x']);
      });

      it('keep the last 500 lines', async () => {
        await Promise.all(Array.from({ length: 620 }, (_, i) => logs.appendAction('a', `line ${i}`)));
        const lines = await logs.actions('a');
        expect(lines).toHaveLength(500);
        expect([lines[0], lines.at(-1)]).toEqual(['line 120', 'line 619']);
      });

      it('are lines: breaks become spaces, and a huge one is cut instead of refused', async () => {
        await logs.appendAction('a', 'first\r\nsecond\nthird');
        await logs.appendAction('a', 'y'.repeat(5_000_000));
        await logs.appendAction('a', 'half a pair: \ud83e');
        const [broken, huge, half] = await logs.actions('a');
        expect(broken).toBe('first second third');
        expect(huge?.startsWith('yyyy')).toBe(true);
        expect(huge?.length).toBeLessThan(100_000);
        expect(half).toContain('half a pair: ');
      });
    });

    describe('output', () => {
      it('is that of the newest run, and saving replaces it as a whole', async () => {
        expect(await logs.output('a')).toBe('');
        await logs.saveOutput('a', 1, 'first run\n');
        await logs.saveOutput('a', 2, 'second');
        await logs.saveOutput('a', 2, 'second run, ünd 漢 🦊 \u0000 more\n');
        await logs.saveOutput('a', 1, 'first run, late');
        expect(await logs.output('a')).toBe('second run, ünd 漢 🦊 \u0000 more\n');
        expect(await logs.output('b')).toBe('');
      });

      it('is found by its run, with the mark that it was saved with', async () => {
        await logs.saveOutput('a', 1, 'first\n', '2026-11-28T13:00:00.000000001Z 0');
        await logs.saveOutput('a', 3, 'third\n');
        // A pod may print what a mark looks like in the store.
        await logs.saveOutput('b', 1, '\0mark forged\ntext');
        expect(await logs.outputOfRun('a', 1)).toMatchObject({
          text: 'first\n',
          mark: '2026-11-28T13:00:00.000000001Z 0',
        });
        expect(await logs.outputOfRun('a', 2)).toBeNull();
        expect(await logs.outputOfRun('a', 3)).toMatchObject({ text: 'third\n', mark: '' });
        expect(await logs.outputOfRun('b', 1)).toMatchObject({ text: '\0mark forged\ntext', mark: '' });
        expect([await logs.output('a', 2), await logs.output('a', 0), await logs.output('a')]).toEqual([
          'first\n',
          '',
          'third\n',
        ]);
      });

      it('counts runs as numbers', async () => {
        for (const run of [8, 9, 10, 11]) await logs.saveOutput('a', run, `run ${run}`);
        expect(await logs.output('a')).toBe('run 11');
      });

      it('keeps the last 10 MB of a run, from a whole character on', async () => {
        const text = `begin${'漢'.repeat(MOST_OUTPUT_BYTES / 3 + 10)}end`;
        await logs.saveOutput('a', 1, text);
        const kept = await logs.output('a');
        const bytes = Buffer.byteLength(kept);
        expect(bytes).toBeLessThanOrEqual(MOST_OUTPUT_BYTES);
        expect(bytes).toBeGreaterThan(MOST_OUTPUT_BYTES - 4);
        expect(text.endsWith(kept)).toBe(true);
      });

      it('grows by what is appended, with the mark of the last part, up to the last 10 MB', async () => {
        await logs.appendOutput('a', 2, 'first\n', '1 0');
        await logs.appendOutput('a', 2, 'second ünd 漢\n', '2 0');
        expect(await logs.outputOfRun('a', 2)).toMatchObject({ text: 'first\nsecond ünd 漢\n', mark: '2 0' });
        await logs.saveOutput('a', 2, 'saved\n', '3 0');
        // What a pod prints is not taken for how parts are stored.
        for (const text of ['5 9 9\n', '\0mark forged\n']) await logs.appendOutput('a', 2, text, '4 0');
        expect(await logs.outputOfRun('a', 2)).toMatchObject({ text: 'saved\n5 9 9\n\0mark forged\n', mark: '4 0' });
        await logs.appendOutput('a', 3, 'of another run\n', '5 0');
        expect((await logs.outputOfRun('a', 2))?.mark).toBe('4 0');
        const piece = 'x'.repeat(399) + '\n';
        for (let part = 0; part < 13; part++) await logs.appendOutput('a', 3, piece.repeat(2_200), `${part} 1`);
        const kept = await logs.outputOfRun('a', 3);
        expect(kept?.mark).toBe('12 1');
        expect(kept?.text.length).toBe(MOST_OUTPUT_BYTES);
        expect(kept?.text.replaceAll(piece, '').length).toBeLessThan(400);
        for (const run of [4, 5, 6]) await logs.appendOutput('a', run, 'next\n', '1 0');
        expect(await logs.outputOfRun('a', 3)).toBeNull();
      });

      it('is complete under concurrent saves', async () => {
        const texts = Array.from({ length: 10 }, (_, i) => String(i).repeat(100_000));
        await Promise.all(texts.map((text) => logs.saveOutput('a', 1, text)));
        expect(texts).toContain(await logs.output('a'));
      });
    });

    it('forgets everything of a removed pod, and nothing of another', async () => {
      for (const uid of ['a', '../a', '..', '']) {
        await logs.appendAction(uid, `action of ${uid}`);
        await logs.saveOutput(uid, 1, `output of ${uid}`);
      }
      await logs.remove('a');
      await logs.remove('a');
      expect([await logs.actions('a'), await logs.output('a')]).toEqual([[], '']);
      for (const uid of ['../a', '..', '']) {
        expect([await logs.actions(uid), await logs.output(uid)]).toEqual([[`action of ${uid}`], `output of ${uid}`]);
      }
    });

    if (keepsData) {
      it('keeps its lines and outputs when it is reopened', async () => {
        await logs.appendAction('a', 'line');
        await logs.appendOutput('a', 1, 'out', '1');
        await logs.appendOutput('a', 1, 'pu', '2');
        harness = await harness.reopen();
        ({ logs } = harness);
        await logs.appendOutput('a', 1, 't', '3');
        await logs.appendAction('a', 'line');
        expect(await logs.actions('a')).toEqual(['line']);
        expect(await logs.output('a')).toBe('output');
      });
    }
  });
}
