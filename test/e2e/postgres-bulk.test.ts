import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

/** Each way. A gigabyte: PODGATE_BULK_MIB=1024 npx vitest run --project e2e test/e2e/postgres-bulk.test.ts */
const MIB = Number(process.env['PODGATE_BULK_MIB'] ?? 160);
const TIMEOUT_MS = 600_000;
/** Buffers on their way and garbage not yet collected; held back it would be all of it. */
const GROWTH_MAX_MIB = 120;
/** Rows of a MiB with their newline, no two alike. */
const ROWS = `python3 -c "
import sys
for n in range(${MIB}): sys.stdout.write(('%08d' % n) * 131071 + '1234567\\\\n')"`;
const QUERY = `select repeat(lpad(n::text, 8, '0'), 131071) || '1234567' from generate_series(0, ${MIB - 1}) n`;

let program: Program;
let password: string;
let user: string;

beforeAll(async () => {
  program = await Program.start({ workers: 1 });
  await program.createPod({ pod_id: 'bulk', pod_template: 'postgres' });
  const { body } = await program.get('/v3/pods/bulk/credentials');
  ({ user_username: user, user_password: password } = body.result as { user_username: string; user_password: string });
}, 120_000);
afterAll(async () => {
  await program.dispose();
});

async function shell(line: string): Promise<string> {
  const conninfo =
    `host=bulk.pods.localhost hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=verify-full ` +
    `sslrootcert=${program.caPath} user=${user} dbname=postgres`;
  const { code, stdout, stderr } = await run('/bin/bash', ['-o', 'pipefail', '-c', line], {
    env: { PGPASSWORD: password, CONNINFO: conninfo, QUERY },
    timeoutMs: TIMEOUT_MS,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.trim();
}

const PSQL = 'psql -XAtq -v ON_ERROR_STOP=1 "$CONNINFO"';
const down = (reader: string): Promise<string> => shell(`${PSQL} -c "copy ($QUERY) to stdout" | ${reader}`);
const up = (table: string): Promise<string> => shell(`${ROWS} | ${PSQL} -c 'copy ${table} from stdin'`);
const checked = (table: string): Promise<string> =>
  shell(
    `${PSQL} -c "select count(*), sum(octet_length(line)), count(*) filter (where line in ($QUERY)) from ${table}"`,
  );

/** MiB the one worker holds in memory. */
function workerMiB(): number {
  const [worker] = program.children('worker');
  const status = readFileSync(`/proc/${worker?.pid ?? 0}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

/** Fails when the worker holds much more than before at any time. */
async function inFlatMemory<T>(what: string, work: () => Promise<T>): Promise<T> {
  const before = workerMiB();
  let most = before;
  const look = setInterval(() => (most = Math.max(most, workerMiB())), 50);
  const sinceMs = performance.now();
  try {
    return await work();
  } finally {
    clearInterval(look);
    const seconds = (performance.now() - sinceMs) / 1_000;
    console.info(
      `${what}: ${MIB} MiB each way in ${seconds.toFixed(1)} s, ${Math.round(most - before)} MiB more in memory`,
    );
    expect(most - before).toBeLessThan(GROWTH_MAX_MIB);
  }
}

test('COPY transfers every byte in both directions, in flat memory', { timeout: TIMEOUT_MS }, async () => {
  const expected = await shell(`${ROWS} | sha256sum`);
  expect(await inFlatMemory('out', () => down('sha256sum'))).toBe(expected);
  await shell(`${PSQL} -c "create table lines (line text)"`);
  await inFlatMemory('in', () => up('lines'));
  expect(await checked('lines')).toBe(`${MIB}|${MIB * (2 ** 20 - 1)}|${MIB}`);
});

test('both directions at the same time, too', { timeout: TIMEOUT_MS }, async () => {
  await shell(`${PSQL} -c "create table more (line text)"`);
  const [, hash] = await inFlatMemory('both', () => Promise.all([up('more'), down('sha256sum')]));
  expect(hash).toBe(await shell(`${ROWS} | sha256sum`));
  expect(await checked('more')).toBe(`${MIB}|${MIB * (2 ** 20 - 1)}|${MIB}`);
});

test(
  'a reader that stops for a while slows its server down, and nothing accumulates in between',
  { timeout: TIMEOUT_MS },
  async () => {
    const bytes = await inFlatMemory('slowly', () => down('(sleep 3; wc -c)'));
    expect(bytes).toBe(String(MIB * 2 ** 20));
  },
);
