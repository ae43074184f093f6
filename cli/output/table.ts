import { paint, type Style } from './style.ts';

export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

/** Columns as wide as their longest cell; the last is not padded. Control characters never reach the terminal. */
export function formatTable(headings: readonly string[], rows: readonly (readonly (string | Cell)[])[]): string {
  const cells = rows.map((row) => row.map(cellOf));
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...cells.map((row) => row[column]?.text.length ?? 0)),
  );
  const lineOf = (row: readonly Cell[]): string =>
    row
      .map(({ text, style }, column) => {
        const padded = column === row.length - 1 ? text : text.padEnd(widths[column] ?? 0);
        return style === undefined ? padded : paint(style, padded);
      })
      .join('  ');
  const head = headings.map((text): Cell => ({ text, style: 'bold' }));
  return [head, ...cells].map((row) => `${lineOf(row)}\n`).join('');
}

function cellOf(cell: string | Cell): Cell {
  const { text, ...style } = typeof cell === 'string' ? { text: cell } : cell;
  return { text: oneLine(text), ...style };
}

export function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ');
}
