import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { run } from '../test/support/run.ts';
import { createTestAuthority } from '../test/support/test-authority.ts';
import { machine, quantiles } from './measure.ts';
import { nginx } from './peers/nginx.ts';
import { HOSTS } from './peers/peer.ts';
import { startPodgate } from './peers/podgate.ts';
import { cpuSecondsOf, LOAD_CORE } from './peers/processes.ts';

const HELP = `http2: this gateway (one worker) and nginx answer GET of 128 bytes from the same pod to h2load, each on a core of its own,
over HTTP/2 and over HTTP/1.1. Prints CPU per request as a table for bench/RESULTS.md.

  node bench/http2.ts [--requests 40000] [--rounds 3]

Needs two cores, Debian's nginx and nghttp2-client.`;

const { values } = parseArgs({
  options: { requests: { type: 'string' }, rounds: { type: 'string' }, help: { type: 'boolean' } },
});
if (values.help === true) {
  console.log(HELP);
  process.exit(0);
}
const requests = Number(values.requests ?? 40_000);
const rounds = Number(values.rounds ?? 3);

const WAYS = [
  { title: 'HTTP/1.1, 32 connections', args: ['--h1', '-c', '32', '-m', '1'] },
  { title: 'HTTP/2, 32 connections, one request at a time', args: ['-c', '32', '-m', '1'] },
  { title: 'HTTP/2, 32 connections, 10 requests at a time', args: ['-c', '32', '-m', '10'] },
  { title: 'HTTP/2, 4 connections, 50 requests at a time', args: ['-c', '4', '-m', '50'] },
] as const;

const directory = await mkdtemp(join(tmpdir(), 'podgate-http2-'));
const { certificate, key } = await createTestAuthority(['*.pods.localhost', 'localhost']);
const [certificateFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
await writeFile(certificateFile, certificate);
await writeFile(keyFile, key, { mode: 0o600 });
const podgate = await startPodgate({ directory, certificateFile, keyFile });
const other = await nginx.start({ directory, certificateFile, keyFile, bothFile: '', backends: podgate.backends });
const servers = [
  { name: 'podgate', port: podgate.port, pids: podgate.pids },
  { name: 'nginx', port: other.ports.web ?? 0, pids: other.pids },
];
try {
  console.log(
    `${machine()}, load ${loadavg()[0]?.toFixed(1) ?? ''}; ${rounds} rounds of ${requests} requests, median\n`,
  );
  console.log('| | podgate | nginx | ratio |\n|---|---|---|---|');
  for (const { title, args } of WAYS) {
    const spent = new Map(servers.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round <= rounds; round++) {
      for (const { name, port, pids } of servers) {
        const used = await cpuPerRequestUs(port, pids, args);
        // The first warms up.
        if (round > 0) spent.get(name)?.push(used);
      }
    }
    const [ours = 0, theirs = 1] = servers.map(({ name }) => quantiles(spent.get(name) ?? []).median);
    console.log(`| ${title} | ${ours.toFixed(1)} us | ${theirs.toFixed(1)} us | ${(ours / theirs).toFixed(2)} |`);
  }
} finally {
  await other.stop();
  await podgate.stop();
  await rm(directory, { recursive: true });
}

async function cpuPerRequestUs(port: number, pids: () => readonly number[], args: readonly string[]): Promise<number> {
  const before = cpuSecondsOf(pids());
  const url = `https://${HOSTS.web}:${port}/`;
  const { stdout } = await run('taskset', ['-c', LOAD_CORE, 'h2load', '-n', String(requests), ...args, url]);
  if (!stdout.includes(`${requests} succeeded, 0 failed`)) throw new Error(stdout);
  return ((cpuSecondsOf(pids()) - before) / requests) * 1e6;
}
