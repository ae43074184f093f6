export type Column<Row> = readonly [title: string, cell: (row: Row) => string];

/** Rows of text in aligned columns, the titles first. */
export function tableOf<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): readonly string[] {
  const lines = [columns.map(([title]) => title), ...rows.map((row) => columns.map(([, cell]) => cell(row)))];
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
}
