import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { Driver, QueryResult } from 'neo4j-driver-lite';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import type { PodAccess } from '../pods/pod-access.ts';
import { formatResult } from '../psql/format-result.ts';

/** Integers as JavaScript's, for display. The driver declares both as classes, which nobody can make. */
const SETTINGS: object = { disableLosslessIntegers: true };
const SESSION: object = { database: 'neo4j' };

export interface CypherOptions {
  /** Each statement is run by itself. Null: they come by standard input, from a file or typed at a prompt. */
  readonly statement: string | null;
  readonly json: boolean;
  readonly caPath: string | null;
}

/** Runs statements over the Neo4j driver and prints what they return. Answers the exit code. */
export async function runStatements(access: PodAccess, options: CypherOptions): Promise<number> {
  if (options.caPath !== null) {
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(options.caPath, 'utf8')]);
  }
  const { default: neo4j } = await import('neo4j-driver-lite');
  const { host, port, username, password } = access;
  const driver = neo4j.driver(
    `bolt+s://${host}:${port}`,
    { scheme: 'basic', principal: username, credentials: password },
    SETTINGS,
  );
  try {
    await driver.verifyConnectivity().catch((error: unknown) => {
      throw connectionFailure(host, error);
    });
    if (options.statement !== null) return await run(driver, options.statement, options.json);
    return process.stdin.isTTY ? await prompt(driver, options.json) : await runInput(driver, options.json);
  } finally {
    await driver.close();
  }
}

function connectionFailure(host: string, error: unknown): CliError {
  const message = error instanceof Error ? error.message : String(error);
  const advice = /ENOTFOUND|EAI_AGAIN/.test(message)
    ? `; this machine does not resolve ${host}: add "127.0.0.1 ${host}" to /etc/hosts`
    : '';
  return new CliError(EXIT_FAILED, `${message}${advice}`);
}

/** 0 when it succeeded. What the server says about a statement goes to stderr. */
async function run(driver: Driver, statement: string, json: boolean): Promise<number> {
  try {
    const session = driver.session(SESSION);
    try {
      print(await session.run(statement), json);
    } finally {
      await session.close();
    }
    return 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT_FAILED;
  }
}

function print({ records, summary }: QueryResult, json: boolean): void {
  if (json) {
    for (const record of records) process.stdout.write(`${JSON.stringify(record.toObject())}\n`);
    return;
  }
  const names = records[0]?.keys.map(String) ?? [];
  if (names.length === 0) {
    const changes = Object.entries(summary.counters.updates()).filter(([, count]) => count > 0);
    process.stdout.write(`${changes.map(([name, count]) => `${name}: ${count}`).join(', ') || 'no records'}\n`);
    return;
  }
  const rows = records.map((record) => record.keys.map((key) => JSON.stringify(plain(record.get(key)))));
  const fields = names.map((name) => ({ name }));
  process.stdout.write(
    formatResult({ command: null, rowCount: rows.length, fields, rows }, { isAligned: true, tuplesOnly: false }),
  );
}

/** Nodes and relationships as their properties; values that JSON does not have as text. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return 'properties' in value ? value.properties : value;
}

/** Statements end with a semicolon at the end of a line, as in cypher-shell. The first that fails ends it. */
async function runInput(driver: Driver, json: boolean): Promise<number> {
  let statement = '';
  for await (const line of createInterface({ input: process.stdin })) {
    statement += `${line}\n`;
    if (!line.trimEnd().endsWith(';')) continue;
    const code = await run(driver, statement, json);
    if (code !== 0) return code;
    statement = '';
  }
  return statement.trim() === '' ? 0 : await run(driver, statement, json);
}

async function prompt(driver: Driver, json: boolean): Promise<number> {
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: 'cypher> ' });
  let statement = '';
  const closed = new AbortController();
  lines.once('close', () => closed.abort());
  lines.prompt();
  for await (const line of lines) {
    if (statement === '' && /^\s*:(exit|quit)\s*;?\s*$/.test(line)) break;
    statement += `${line}\n`;
    const isWhole = line.trimEnd().endsWith(';') || statement.trim() === '';
    if (isWhole && statement.trim() !== '') await run(driver, statement, json);
    if (isWhole) statement = '';
    lines.setPrompt(statement === '' ? 'cypher> ' : '      > ');
    // Lines that were read before Ctrl-D are still delivered after it.
    if (!closed.signal.aborted) lines.prompt();
  }
  lines.close();
  return 0;
}
