/** One result as npm pg gives it with `rowMode: 'array'` and values left as text. */
export interface SqlResult {
  readonly command: string | null;
  readonly rowCount: number | null;
  readonly fields: readonly { readonly name: string }[];
  readonly rows: readonly (readonly (string | null)[])[];
}

export interface ResultFormat {
  readonly isAligned: boolean;
  readonly tuplesOnly: boolean;
}

/** A result as psql would print it, or nearly so. */
export function formatResult(result: SqlResult, format: ResultFormat): string {
  if (result.fields.length === 0) {
    return format.tuplesOnly || result.command === null ? '' : `${tag(result)}\n`;
  }
  const names = result.fields.map(({ name }) => name);
  const rows = result.rows.map((row) => row.map(textOf));
  const lines = format.isAligned ? aligned(names, rows, format.tuplesOnly) : plain(names, rows, format.tuplesOnly);
  const count = format.tuplesOnly ? [] : [`(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`];
  return [...lines, ...count].map((line) => `${line}\n`).join('') + (format.isAligned ? '\n' : '');
}

function tag({ command, rowCount }: SqlResult): string {
  // The tag of a CommandComplete message (Postgres protocol, message formats): INSERT carries an old oid.
  if (command === 'INSERT') return `INSERT 0 ${rowCount ?? 0}`;
  return rowCount === null ? (command ?? '') : `${command ?? ''} ${rowCount}`;
}

function plain(names: readonly string[], rows: readonly (readonly string[])[], tuplesOnly: boolean): string[] {
  return (tuplesOnly ? rows : [names, ...rows]).map((row) => row.join('|'));
}

function aligned(names: readonly string[], rows: readonly (readonly string[])[], tuplesOnly: boolean): string[] {
  const widths = names.map((name, column) =>
    Math.max(tuplesOnly ? 0 : name.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lineOf = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => ` ${cell.padEnd(widths[column] ?? 0)} `)
      .join('|')
      .trimEnd();
  const head = tuplesOnly ? [] : [lineOf(names), widths.map((width) => '-'.repeat(width + 2)).join('+')];
  return [...head, ...rows.map(lineOf)];
}

/** NULL is shown as nothing, as in psql. */
function textOf(value: string | null): string {
  return value ?? '';
}
