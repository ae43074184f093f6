import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { errorText } from '../../core/errors.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import type { PodAccess } from '../pods/pod-access.ts';
import { formatResult, type ResultFormat } from './format-result.ts';

const CONNECT_DEADLINE_MS = 15_000;
const REMEDY = 'On Debian: apt-get install postgresql-client';

export interface SmallClientTarget extends PodAccess {
  /** Null = the CAs this machine trusts. */
  readonly caPath: string | null;
  readonly database: string;
}

interface Request extends ResultFormat {
  readonly database: string | null;
  /** What -c and -f gave, in order; none = stdin. */
  readonly scripts: readonly string[];
}

/** Enough of psql for a machine that has none: -c, -f, -A, -t, -d, a script on stdin, and a prompt on a terminal. */
export async function runSmallClient(target: SmallClientTarget, args: readonly string[]): Promise<number> {
  const request = parseRequest(args);
  const client = new pg.Client({
    host: target.address ?? target.host,
    port: target.port,
    user: target.username,
    password: target.password,
    database: request.database ?? target.database,
    ssl: { servername: target.host, ...(target.caPath === null ? {} : { ca: readFileSync(target.caPath) }) },
    connectionTimeoutMillis: CONNECT_DEADLINE_MS,
    // Values as the server writes them, as psql shows them.
    types: { getTypeParser: () => (value: string) => value },
  });
  client.on('error', (error) => process.stderr.write(`${error.message}\n`));
  client.on('notice', (notice) => process.stderr.write(`${notice.severity ?? 'NOTICE'}:  ${notice.message ?? ''}\n`));
  try {
    await client.connect();
  } catch (error) {
    throw new CliError(EXIT_FAILED, `cannot connect to ${target.host}: ${errorText(error)}`);
  }
  try {
    if (request.scripts.length > 0) return await runScripts(client, request.scripts, request);
    if (process.stdin.isTTY) return await converse(client, request);
    return await runScripts(client, [await text(process.stdin)], request);
  } finally {
    await client.end();
  }
}

function parseRequest(args: readonly string[]): Request {
  try {
    const { values, positionals, tokens } = parseArgs({
      args: [...args],
      allowPositionals: true,
      tokens: true,
      options: {
        command: { type: 'string', short: 'c', multiple: true },
        file: { type: 'string', short: 'f', multiple: true },
        dbname: { type: 'string', short: 'd' },
        'no-align': { type: 'boolean', short: 'A', default: false },
        'tuples-only': { type: 'boolean', short: 't', default: false },
      },
    });
    const scripts = tokens.flatMap((token) => {
      if (token.kind !== 'option' || token.value === undefined) return [];
      if (token.name === 'command') return [token.value];
      return token.name === 'file' ? [readFileSync(token.value, 'utf8')] : [];
    });
    if (positionals.length > 1) throw new Error('more than one database name was given');
    return {
      scripts,
      database: values.dbname ?? positionals[0] ?? null,
      isAligned: !values['no-align'],
      tuplesOnly: values['tuples-only'],
    };
  } catch (error) {
    throw new CliError(
      EXIT_USAGE,
      `${errorText(error)} (this machine has no psql; the built-in client supports -c, -f, -d, -A and -t. ${REMEDY})`,
    );
  }
}

async function runScripts(client: pg.Client, scripts: readonly string[], format: ResultFormat): Promise<number> {
  for (const script of scripts) if (!(await runOne(client, script, format))) return EXIT_FAILED;
  return 0;
}

/** Runs one or several statements as one simple query, prints their results, and answers whether all went well. */
async function runOne(client: pg.Client, sql: string, format: ResultFormat): Promise<boolean> {
  if (sql.trim() === '') return true;
  if (/^\s*\\/.test(sql)) {
    process.stderr.write(`backslash commands need psql, which this machine does not have. ${REMEDY}\n`);
    return false;
  }
  try {
    const answer: unknown = await client.query({ text: sql, rowMode: 'array' });
    for (const result of Array.isArray(answer) ? answer : [answer]) {
      process.stdout.write(formatResult(result as pg.QueryArrayResult, format));
    }
    return true;
  } catch (error) {
    const hint = error instanceof pg.DatabaseError && error.hint !== undefined ? `\nHINT:  ${error.hint}` : '';
    process.stderr.write(`ERROR:  ${errorText(error)}${hint}\n`);
    return false;
  }
}

async function converse(client: pg.Client, format: ResultFormat): Promise<number> {
  process.stdout.write('Built-in SQL client (this machine has no psql). End statements with ";"; quit with \\q.\n');
  const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: 'sql=> ' });
  let statement = '';
  terminal.prompt();
  for await (const line of terminal) {
    if (line.trim() === '\\q') break;
    statement += `${line}\n`;
    if (line.trimEnd().endsWith(';') || line.startsWith('\\')) {
      await runOne(client, statement, format);
      statement = '';
    }
    terminal.setPrompt(statement.trim() === '' ? 'sql=> ' : 'sql-> ');
    terminal.prompt();
  }
  terminal.close();
  return 0;
}
