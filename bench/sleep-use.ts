import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeCertificate } from '../test/integration/proxy/support/certificate.ts';
import { runningRoute, startGateway } from '../test/integration/proxy/support/gateway-fixture.ts';
import { startPostgres } from '../test/integration/proxy/support/postgres-server.ts';
import { run } from '../test/support/run.ts';

const HELP = `sleep-use: what it costs a gateway worker to observe whether a Postgres is used, in CPU time for each transaction of pgbench.

  node bench/sleep-use.ts [--rounds 21] [--transactions 1500]

Each round runs pgbench -S through the same worker to the same server by two names: one of a pod that never sleeps, one of a
pod that may. Which comes first alternates. Transactions are those of each of 8 clients. The last line compares with the mean
of both turns of the pod that never sleeps in the same round, and gives the standard error of that over all rounds.`;

/** One of a pod that never sleeps comes by either: its ratio is the noise of the machine. */
const NAMES = { never: 'never.pods.localhost', same: 'same.pods.localhost', may: 'may.pods.localhost' } as const;
type Name = keyof typeof NAMES;

const ORDERS: readonly (readonly Name[])[] = [
  ['never', 'same', 'may'],
  ['may', 'never', 'same'],
  ['same', 'may', 'never'],
];

/** The gateway alone, so that its CPU time is that of its process. */
async function serve(): Promise<void> {
  const port = Number(process.env['POSTGRES_PORT']);
  const certificate = makeCertificate(['localhost', '*.pods.localhost']);
  const routeOf = (host: string, changes = {}) => runningRoute(host, port, { protocol: 'postgres', ...changes });
  const { httpsPort } = await startGateway({
    certificate,
    routes: [
      routeOf(NAMES.never),
      routeOf(NAMES.same),
      routeOf(NAMES.may, { sleep: { holdMs: 60_000, probePaths: [] } }),
    ],
  });
  process.on('message', () => process.send?.(process.cpuUsage()));
  process.send?.({ port: httpsPort, ca: certificate.certificatePem });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '21' },
      transactions: { type: 'string', default: '1500' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const directory = mkdtempSync(join(tmpdir(), 'podgate-sleep-use-'));
  const server = await startPostgres();
  const child = fork(import.meta.filename, { env: { ...process.env, POSTGRES_PORT: String(server.port) } });
  try {
    const [{ port, ca }] = (await once(child, 'message')) as [{ port: number; ca: string }];
    const caPath = join(directory, 'ca.pem');
    writeFileSync(caPath, ca);
    const pgbench = async (host: string, args: readonly string[]): Promise<string> => {
      const at = `host=${host} hostaddr=127.0.0.1 port=${port} user=${server.user} dbname=postgres`;
      const { code, stdout, stderr } = await run(
        'pgbench',
        [...args, `${at} sslmode=verify-full sslrootcert=${caPath}`],
        {
          env: { PGPASSWORD: server.password },
          timeoutMs: 120_000,
        },
      );
      if (code !== 0) throw new Error(stderr);
      return stdout;
    };
    const cpuUs = async (): Promise<number> => {
      child.send('cpu');
      const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage];
      return user + system;
    };
    await pgbench(NAMES.never, ['-i', '-q']);
    for (const mode of ['simple', 'prepared']) {
      const perTransaction = async (name: Name): Promise<number> => {
        const before = await cpuUs();
        const text = await pgbench(NAMES[name], ['-S', '-n', '-c', '8', '-M', mode, '-t', values.transactions]);
        const count = Number(/number of transactions actually processed: (\d+)/.exec(text)?.[1]);
        return ((await cpuUs()) - before) / count;
      };
      for (const name of ['never', 'same', 'may'] as const) await perTransaction(name);
      const ratios: Record<'same' | 'may', number[]> = { same: [], may: [] };
      const added: number[] = [];
      const costs: number[] = [];
      for (let round = 0; round < Number(values.rounds); round++) {
        const names = ORDERS[round % ORDERS.length] ?? [];
        const us = { never: 0, same: 0, may: 0 };
        for (const name of names) us[name] = await perTransaction(name);
        costs.push(us.never);
        for (const name of ['same', 'may'] as const) ratios[name].push(us[name] / us.never);
        added.push((2 * us.may) / (us.never + us.same) - 1);
      }
      console.log(
        `pgbench -S -c 8 -M ${mode}, -t ${values.transactions}, ${values.rounds} rounds: CPU time of the worker`,
      );
      console.log(`  never sleeps: ${median(costs).toFixed(1)} us for each transaction (median)`);
      console.log(`  the same again, as a ratio: ${shown(ratios.same)}`);
      console.log(`  may sleep, as a ratio: ${shown(ratios.may)}`);
      console.log(
        `  may sleep, beside the mean of both: ${percent(mean(added))}, standard error ${percent(standardError(added))}`,
      );
    }
  } finally {
    child.kill();
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function standardError(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)) / (values.length - 1));
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const shown = (values: readonly number[]): string =>
  `median ${median(values).toFixed(3)}, ${Math.min(...values).toFixed(3)} to ${Math.max(...values).toFixed(3)}`;

await (process.env['POSTGRES_PORT'] === undefined ? main() : serve());
