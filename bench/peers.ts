import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createTestAuthority } from '../test/support/test-authority.ts';
import { machine, quantiles } from './measure.ts';
import { caddy } from './peers/caddy.ts';
import { haproxy } from './peers/haproxy.ts';
import { nginx, olderNginx } from './peers/nginx.ts';
import { configurableHttpProxy, httpProxy } from './peers/node-peers.ts';
import { HOSTS, type Peer, type RunningPeer } from './peers/peer.ts';
import { type PodgateWithBackends, startPodgate } from './peers/podgate.ts';
import { type Bench, type Sample, sampleOf, type Scenario, SCENARIOS } from './peers/scenarios.ts';
import { demandSameTls } from './peers/tls-choice.ts';

const HELP = `peers: this gateway (one worker) and other gateways do the same work on the same machine in one run, each on a core
of its own in turn, with the same certificate (ECDSA P-256), backends and clients (TLS 1.3, AES-256-GCM, X25519, two tickets).
Prints CPU per operation as a table for bench/RESULTS.md: median of the rounds, in brackets the ratio to nginx 1.26 in the
same round (median, smallest to largest), then median / p99 of the time that an operation takes.

  node bench/peers.ts [--seconds 4] [--rounds 3] [--only a,b] [--peers nginx,HAProxy]
  node bench/peers.ts --quick   a minute or two beside nginx 1.26; fails on a ratio above twice the recorded one

${SCENARIOS.map(({ letter, title, connections, unit }) => `  ${letter}  ${title}, ${connections} connections (${unit})`).join('\n')}

Peers: nginx (1.26) and HAProxy (3.0) with OpenSSL 3.5, unpacked into the cache from the packages of Debian 13; nginx-1.22, Caddy,
configurable-http-proxy, http-proxy. Clients of pgbench begin with TLS: nginx and HAProxy know no SSLRequest.

Needs two cores, apt-get, pgbench, h2load and taskset; what is missing is said. Exit codes: 0 measured, 1 failed or, with --quick,
too expensive, 2 usage error.`;

const PEERS: readonly Peer[] = [nginx, haproxy, olderNginx, caddy, configurableHttpProxy, httpProxy];
const REFERENCE = 'nginx';
/** Ratios to the reference by the scenario's letter, as RESULTS.md has them. */
const RECORDED_FILE = join(import.meta.dirname, 'peers', 'recorded-ratios.json');
/** Of the recorded ratio: machines that run checks are noisy. */
const TOO_MUCH = 2;
/** Memory at 5,000 sessions needs more descriptors than every machine has. */
const NOT_QUICK = new Set(['h']);

interface Options {
  readonly seconds: number;
  readonly rounds: number;
  readonly letters: readonly string[];
  /** All when empty. */
  readonly peers: readonly string[];
  readonly isQuick: boolean;
}

interface Measured {
  readonly scenario: Scenario;
  /** One sample a round. */
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

async function main(): Promise<number> {
  let options: Options | null;
  try {
    options = optionsOf();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 2;
  }
  if (options === null) return 2;
  const directory = await mkdtemp(join(tmpdir(), 'podgate-peers-'));
  const running = new Map<string, RunningPeer>();
  let podgate: PodgateWithBackends | null = null;
  try {
    const files = await certificateFiles(directory);
    podgate = await startPodgate({ directory, ...files });
    const { port, pids, restart, stop } = podgate;
    running.set('podgate', { ports: { echo: port, web: port, bulk: port, postgres: port }, pids, restart, stop });
    for (const peer of PEERS) {
      if (options.peers.length > 0 && !options.peers.includes(peer.name)) continue;
      const missing = await peer.missing();
      if (missing === null)
        running.set(peer.name, await peer.start({ directory, ...files, backends: podgate.backends }));
      else if (options.isQuick) throw new Error(`${peer.name} is missing: ${missing}`);
      else console.error(`${peer.name} is left out: ${missing}`);
    }
    const ca = await readFile(files.caFile, 'utf8');
    for (const [name, { ports }] of running) {
      if (ports.echo !== undefined) await demandSameTls(name, ports.echo, HOSTS.echo, ca);
    }
    console.error(`${machine()}; load before ${loadavg()[0]?.toFixed(1) ?? '?'}`);
    const bench = { directory, caFile: files.caFile, postgres: podgate.postgres };
    const interruption = interrupted();
    const measured = await Promise.race([measureAll(running, bench, options), interruption]);
    console.log(
      `\n${machine()}; load at the end ${loadavg()[0]?.toFixed(1) ?? '?'}\n\n${tableOf(measured, [...running.keys()])}`,
    );
    if (!options.isQuick) return 0;
    const suspects = await tooExpensive(measured);
    if (suspects.length === 0) return 0;
    console.log(`\nOnce more, in case another program took the time: ${suspects.join(', ')}`);
    const again = await Promise.race([measureAll(running, bench, { ...options, letters: suspects }), interruption]);
    return (await tooExpensive(again)).length === 0 ? 0 : 1;
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
      seconds: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
      peers: { type: 'string', default: '' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const isQuick = values.quick;
  const [seconds, rounds] = [Number(values.seconds ?? (isQuick ? '1' : '4')), Number(values.rounds)];
  const list = (text: string): readonly string[] => text.split(',').filter((one) => one !== '');
  const known = SCENARIOS.map(({ letter }) => letter);
  const letters = values.only === '' ? known.filter((one) => !isQuick || !NOT_QUICK.has(one)) : list(values.only);
  const peers = isQuick ? [REFERENCE] : list(values.peers);
  const isKnown =
    letters.every((one) => known.includes(one)) && peers.every((one) => PEERS.some(({ name }) => name === one));
  if (values.help || !(seconds > 0) || !(rounds >= 1) || !isKnown) {
    console.log(HELP);
    return null;
  }
  return { seconds, rounds, letters, peers, isQuick };
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

/** So that Ctrl-C stops what was started, too. */
function interrupted(): Promise<never> {
  return new Promise((_resolve, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => reject(new Error(signal)));
  });
}

async function measureAll(
  running: ReadonlyMap<string, RunningPeer>,
  bench: Bench,
  options: Options,
): Promise<readonly Measured[]> {
  const measured: Measured[] = [];
  for (const scenario of SCENARIOS.filter(({ letter }) => options.letters.includes(letter))) {
    measured.push(await measure(scenario, running, bench, options));
  }
  return measured;
}

/** In turn, round after round: what the machine does meanwhile meets them all. The first round warms up, and is dropped. */
async function measure(
  scenario: Scenario,
  running: ReadonlyMap<string, RunningPeer>,
  bench: Bench,
  { seconds, rounds }: Options,
): Promise<Measured> {
  const samples = new Map<string, Sample[]>();
  // Memory is that of a process that has just been started.
  const firstRound = scenario.load === 'idle' ? 1 : 0;
  for (let round = firstRound; round <= rounds; round++) {
    for (const [name, peer] of running) {
      if (peer.ports[scenario.service] === undefined) continue;
      if (scenario.load === 'http2' && peer.hasHttp2 === false) continue;
      const sample = await sampleOf(scenario, peer, bench, round === 0 ? Math.min(1, seconds) : seconds);
      if (round === 0) continue;
      samples.set(name, [...(samples.get(name) ?? []), sample]);
      console.error(`  ${scenario.letter} ${name}: ${sample.cost.toFixed(1)} ${scenario.unit}`);
    }
  }
  return { scenario, samples };
}

function tableOf(measured: readonly Measured[], names: readonly string[]): string {
  const rows = [`| | ${names.join(' | ')} |`, `|---|${names.map(() => '---|').join('')}`];
  for (const { scenario, samples } of measured) {
    const cells = names.map((name) => cellOf(name, samples, scenario.unit));
    rows.push(`| ${scenario.letter} ${scenario.title} | ${cells.join(' | ')} |`);
  }
  return rows.join('\n');
}

function cellOf(name: string, samples: Measured['samples'], unit: string): string {
  const own = samples.get(name);
  if (own === undefined || own.length === 0) return '';
  const middle = (values: readonly number[]): number => quantiles(values).median;
  const ratios = name === REFERENCE ? [] : ratiosOf(name, samples);
  const range = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
  const ratio = ratios.length === 0 ? '' : ` (**${middle(ratios).toFixed(2)}**, ${range})`;
  const [median, p99] = [middle(own.map((sample) => sample.median)), middle(own.map((sample) => sample.p99))];
  const times = median > 0 ? `; ${median.toFixed(2)}${p99 > 0 ? ` / ${p99.toFixed(2)}` : ''} ms` : '';
  return `${middle(own.map(({ cost }) => cost)).toFixed(1)} ${unit}${ratio}${times}`;
}

/** Of each round to the reference's of the same round. */
function ratiosOf(name: string, samples: Measured['samples']): readonly number[] {
  const reference = samples.get(REFERENCE) ?? [];
  return (samples.get(name) ?? []).flatMap(({ cost }, round) => {
    const other = reference[round];
    return other === undefined ? [] : [cost / other.cost];
  });
}

/** The letters of what costs more than it may. */
async function tooExpensive(measured: readonly Measured[]): Promise<readonly string[]> {
  const recorded = JSON.parse(await readFile(RECORDED_FILE, 'utf8')) as Readonly<Record<string, number>>;
  return measured.flatMap(({ scenario: { letter, title }, samples }) => {
    const { median: ratio } = quantiles(ratiosOf('podgate', samples));
    const usual = recorded[letter];
    if (usual !== undefined && ratio <= usual * TOO_MUCH) return [];
    console.log(`\n${title}: ${ratio.toFixed(2)} of nginx, recorded is ${usual?.toFixed(2) ?? 'nothing'}`);
    return [letter];
  });
}

process.exitCode = await main();
