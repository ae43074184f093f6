import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { PodgateError } from '../../../core/errors.ts';

export type Row = Readonly<Record<string, SQLOutputValue>>;

/** One SQLite connection. Statements are prepared once; values are only ever bound, never part of the SQL. */
export interface Connection {
  get(sql: string, ...values: SQLInputValue[]): Row | undefined;
  all(sql: string, ...values: SQLInputValue[]): readonly Row[];
  /** One by one, as they are asked for; nothing else may use the connection until the last, or until the loop is left. */
  each(sql: string, ...values: SQLInputValue[]): Iterable<Row>;
  /** Returns the number of rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number;
  /** Several statements, without values. */
  exec(sql: string): void;
  isInTransaction(): boolean;
  close(): void;
}

/** How long opening waits for the former owner, which may just be ending, to let go. */
const OWNER_TIMEOUT_MS = 2_000;

/** The bare connection. `openConnection` makes one that is ours, up to date and durable. */
export function connect(path: string): Connection {
  const database = new DatabaseSync(path, { timeout: OWNER_TIMEOUT_MS });
  const statements = new Map<string, StatementSync>();
  const prepared = (sql: string): StatementSync => {
    let statement = statements.get(sql);
    if (statement === undefined) {
      statement = database.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  };
  return {
    get: (sql, ...values) => prepared(sql).get(...values),
    all: (sql, ...values) => prepared(sql).all(...values),
    each: (sql, ...values) => prepared(sql).iterate(...values),
    run: (sql, ...values) => Number(prepared(sql).run(...values).changes),
    exec: (sql) => database.exec(sql),
    isInTransaction: () => database.isTransaction,
    close: () => database.close(),
  };
}

/** A column that the schema says is text. */
export function textOf(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw damaged(column);
  return value;
}

/** A column that the schema says is an integer. */
export function integerOf(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== 'number') throw damaged(column);
  return value;
}

function damaged(column: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `the column ${column} holds a value of another type` });
}
