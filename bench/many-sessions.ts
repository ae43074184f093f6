/**
 * node bench/many-sessions.ts [SESSIONS = 10000] [HALF_OPEN = 10000]
 * The whole program with two workers: holds so many idle TLS sessions, tells what each costs in the workers, has each of
 * them echo a word; then, with all of them there, so many half-open connections, and how long good clients wait meanwhile.
 * Each process takes a file a connection (`ulimit -n`): clients are several processes, and a worker has two a session.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { type HeldConnections, holdConnections } from '../test/support/held-connections.ts';
import { Program } from '../test/support/program.ts';
import { until } from '../test/support/until.ts';
import { machine, quantiles, show } from './measure.ts';
import { residentKib } from './peers/processes.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const sessions = Number(process.argv[2] ?? 10_000);
const halfOpen = Number(process.argv[3] ?? 10_000);
const HOST = 'echo.pods.localhost';
const PER_PROCESS = 5_000;
const ECHO =
  "require('node:net').createServer((s) => s.on('error', () => 0).pipe(s)).listen(process.env.PORT, '127.0.0.1')";
const LIMITS = `limits: {connections: 40000, connectionsPerAddress: 40000, connectionsPerPod: 40000, connectionsPerAddressAtPod: 40000, handshakeTimeoutMs: 120000}\n`;

const dir = mkdtempSync(join(tmpdir(), 'podgate-many-'));
writeFileSync(join(dir, 'podgate.yaml'), LIMITS);
const program = await Program.start({ workers: 2, env: { PODGATE_CONFIG: join(dir, 'podgate.yaml') } });
const held: HeldConnections[] = [];
const residentOfWorkers = (): number => residentKib(program.children('worker').map(({ pid }) => pid));
try {
  await program.createPod({
    pod_id: 'echo',
    pod_template: 'podgate/process',
    command: ['node', '-e', ECHO],
    networking: { default: { protocol: 'tcp', port: 7000 } },
  });
  console.log(`${machine()}; two gateway workers`);
  await hold('session', 200, 20);
  const before = residentOfWorkers();
  const fromMs = performance.now();
  for (let left = sessions; left > 0; left -= PER_PROCESS) await hold('session', Math.min(left, PER_PROCESS), 50);
  const seconds = (performance.now() - fromMs) / 1_000;
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const after = residentOfWorkers();
  const opened = held.reduce((sum, { opened: some }) => sum + some, 0) - (held[0]?.opened ?? 0);
  console.log(
    `${opened} idle TLS sessions held, opened in ${seconds.toFixed(0)} s: ${((after - before) / opened).toFixed(1)} KiB each in the workers ` +
      `(${(before / 1024).toFixed(0)} MiB before, ${(after / 1024).toFixed(0)} MiB then)`,
  );
  let echoed = 0;
  for (const some of held) echoed += await some.ask('echo');
  console.log(`${echoed} of ${opened + (held[0]?.opened ?? 0)} echo a word afterwards`);
  if (halfOpen > 0) await flood();
} finally {
  for (const some of held) await some.close();
  await program.dispose();
  rmSync(dir, { recursive: true });
}

async function flood(): Promise<void> {
  const idle = await goodClients();
  console.log(`good clients, from dial to the first byte: ${show(quantiles(idle))}`);
  const flooding = hold('half-open', halfOpen, 200);
  const meanwhile = await goodClients();
  await flooding;
  console.log(`while ${halfOpen} half-open connections arrive: ${show(quantiles(meanwhile))}`);
  await until('they are accepted', async () => (await active()) >= halfOpen + sessions);
  console.log(`with all of them there: ${show(quantiles(await goodClients()))}; ${await active()} connections`);
}

async function hold(mode: 'session' | 'half-open', count: number, atOnce: number): Promise<void> {
  const { httpsPort: port, caPath: caFile } = program;
  held.push(await holdConnections({ port, count, addresses: 100, atOnce, mode, host: HOST, caFile }));
}

async function goodClients(): Promise<number[]> {
  const times: number[] = [];
  for (let count = 0; count < 100; count++) {
    const fromMs = performance.now();
    const client = connect({ host: '127.0.0.1', port: program.httpsPort, servername: HOST, ca: program.ca });
    client.write('word');
    await once(client, 'data');
    times.push(performance.now() - fromMs);
    client.destroy();
  }
  return times;
}

async function active(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${program.controlPort}/metrics`)).text();
  const counts = [...text.matchAll(/^podgate_connections_active\{[^}]*\} (\d+)$/gm)].map(([, count]) => Number(count));
  return counts.reduce((sum, count) => sum + count, 0);
}
