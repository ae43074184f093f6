import { describe, expect, it } from 'vitest';
import { MarkedOutput } from '../../../spawner/orchestrator/exec/marked-output.ts';

const MARK = '\x1emark';

function received(pieces: readonly string[]) {
  const lines: string[] = [];
  const output = new MarkedOutput(Buffer.from(MARK), (line) => {
    lines.push(line);
    return line === '0';
  });
  const printed = pieces.map((piece) => output.take(Buffer.from(piece)).toString());
  return { printed, lines, rest: output.rest().toString(), isOver: output.isOver };
}

describe('what a command prints among the lines of its script', () => {
  it('is handed on at once, without the lines', () => {
    expect(received(['one', `two${MARK}+\nthree`, `${MARK}+\n`, `four${MARK}0\n`])).toEqual({
      printed: ['one', 'twothree', '', 'four'],
      lines: ['+', '+', '0'],
      rest: '',
      isOver: true,
    });
  });

  it('is the same wherever it is cut', () => {
    const text = `a\x1eb${MARK}+\n\x1e\x1emar${MARK}+\nc${MARK}0\nafter the end`;
    for (let first = 0; first <= text.length; first += 1) {
      for (let second = first; second <= text.length; second += 1) {
        const { printed, lines } = received([text.slice(0, first), text.slice(first, second), text.slice(second)]);
        expect(printed.join('')).toBe('a\x1eb\x1e\x1emarc');
        expect(lines).toEqual(['+', '+', '0']);
      }
    }
  });

  it('is what may have begun a line, when nothing more comes', () => {
    expect(received(['a\x1ema'])).toMatchObject({ printed: ['a'], rest: '\x1ema', lines: [] });
    expect(received([`a${MARK}12`])).toMatchObject({ printed: ['a'], rest: `${MARK}12`, lines: [] });
  });

  it('is the mark itself, with what is too long for a line of the script', () => {
    const text = `${MARK}${'9'.repeat(20)}\n`;
    expect(received([text]).printed.join('')).toBe(text);
  });
});
