/**
 * node bench/data-path.ts [SECONDS = 10]
 * CPU of the gateway's workers per HTTPS request to a small HTTP pod, and per query of `pgbench -S` beside a direct run.
 */
import { Program } from '../test/support/program.ts';
import { run } from '../test/support/run.ts';
import { cpuSeconds, machine } from './measure.ts';

const SECONDS = process.argv[2] ?? '10';
const BACKEND =
  "require('node:http').createServer((q, r) => r.end(Buffer.alloc(128, 'x'))).listen(process.env.PORT, '127.0.0.1')";
const CONNECTIONS = '32';

const program = await Program.start({ workers: 1 });
const workers = () => program.children('worker').map(({ pid }) => pid);
try {
  console.log(`${machine()}; one gateway worker`);
  await https();
  await pgbench();
} finally {
  await program.dispose();
}

async function https(): Promise<void> {
  await program.createPod({ pod_id: 'small', pod_template: 'podgate/process', command: ['node', '-e', BACKEND] });
  const load = (seconds: string) =>
    run(
      process.execPath,
      ['bench/https-load.ts', String(program.httpsPort), 'small.pods.localhost', CONNECTIONS, seconds],
      { env: { CA_FILE: program.caPath }, timeoutMs: 300_000 },
    );
  await load('3');
  const before = cpuSeconds(workers());
  const { stdout, stderr } = await load(SECONDS);
  const used = cpuSeconds(workers()) - before;
  if (stdout === '') throw new Error(stderr);
  const { requests, seconds, median, p99 } = JSON.parse(stdout) as Record<
    'requests' | 'seconds' | 'median' | 'p99',
    number
  >;
  console.log(
    `HTTPS GET 128 B, ${CONNECTIONS} connections: ${Math.round(requests / seconds)} requests/s, ` +
      `${((used / requests) * 1e6).toFixed(1)} us CPU per request, median ${median.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`,
  );
}

async function pgbench(): Promise<void> {
  await program.createPod({ pod_id: 'mypg', pod_template: 'postgres' });
  const { body } = await program.get('/v3/pods/mypg/credentials');
  const { user_username: user, user_password: password } = body.result as Record<
    'user_username' | 'user_password',
    string
  >;
  const env = { PGPASSWORD: password };
  const through =
    `host=mypg.pods.localhost hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=verify-full ` +
    `sslrootcert=${program.caPath} user=${user} dbname=postgres`;
  await run('pgbench', ['-i', '-q', '-s', '5', through], { env, timeoutMs: 120_000 });
  const port = (await run('psql', [through, '-XAtqc', 'select inet_server_port()'], { env })).stdout.trim();
  const direct = `host=127.0.0.1 port=${port} sslmode=disable user=${user} dbname=postgres`;
  const results: number[] = [];
  for (const [name, conninfo] of [
    ['direct', direct],
    ['through the gateway', through],
  ] as const) {
    const before = cpuSeconds(workers());
    const { stdout, stderr } = await run('pgbench', ['-S', '-n', '-c', '16', '-T', SECONDS, conninfo], {
      env,
      timeoutMs: 300_000,
    });
    const used = cpuSeconds(workers()) - before;
    const transactions = Number(/actually processed: (\d+)/.exec(stdout)?.[1]);
    if (Number.isNaN(transactions)) throw new Error(stderr);
    results.push(transactions);
    console.log(
      `pgbench -S -c 16 ${name}: ${Math.round(transactions / Number(SECONDS))} queries/s, ` +
        `${((used / transactions) * 1e6).toFixed(1)} us CPU of the gateway per query`,
    );
  }
  console.log(`  through / direct: ${((results[1] ?? 0) / (results[0] ?? 1)).toFixed(2)} of the queries`);
}
