import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { postgresDriversHome } from '../../../scripts/setup/postgres-drivers.mjs';

/** How often a query failed (SQLSTATE, or type of the error) before it succeeded, and what it returned. */
export interface Asked {
  readonly word: string | null;
  readonly failures: readonly string[];
}

export const POOLS = ['psycopg_pool', 'asyncpg', 'HikariCP', 'pgxpool'] as const;
export type PoolName = (typeof POOLS)[number];

const ANSWER_MS = 90_000;

/** A program with a pool of ten idle connections, of a library with its defaults. */
export class PostgresPool {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  #stderr = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error('its stdout is piped');
    this.#lines = createInterface(child.stdout);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
  }

  /** `env`: the PG* variables of libpq. */
  static async open(name: PoolName, env: Readonly<Record<string, string>>, query: string): Promise<PostgresPool> {
    const home = postgresDriversHome();
    if (!existsSync(home)) throw new Error(`no drivers at ${home}: run npm test, or node scripts/setup.mjs --test`);
    const [command, ...args] = commandOf(name, home);
    const child = spawn(command ?? '', [...args, query], {
      env: { ...process.env, PYTHONPATH: join(home, 'python'), ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const pool = new PostgresPool(child);
    await pool.#line();
    return pool;
  }

  /** A query on a connection of the pool, or on a new one beside it, until it succeeds. */
  async ask(by: 'pool' | 'connect'): Promise<Asked> {
    this.#child.stdin?.write(`${by}\n`);
    return JSON.parse(await this.#line()) as Asked;
  }

  async #line(): Promise<string> {
    const lines = once(this.#lines, 'line', { signal: AbortSignal.timeout(ANSWER_MS) }) as Promise<[string]>;
    const ended = once(this.#child, 'exit').then(() => Promise.reject(new Error(`it has ended: ${this.#stderr}`)));
    const [line] = await Promise.race([lines, ended]);
    return line;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}

function commandOf(name: PoolName, home: string): readonly string[] {
  const client = (file: string): string => join(import.meta.dirname, file);
  switch (name) {
    case 'psycopg_pool':
      return ['python3', client('postgres-pool.py'), 'psycopg'];
    case 'asyncpg':
      return ['python3', client('postgres-pool.py'), 'asyncpg'];
    case 'HikariCP': {
      const speed = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx256m'];
      return ['java', ...speed, '-cp', join(home, 'java', '*'), client('PostgresPool.java')];
    }
    case 'pgxpool':
      return [join(home, 'go-client')];
  }
}
