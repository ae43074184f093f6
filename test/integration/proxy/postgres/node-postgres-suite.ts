/**
 * The integration suite of node-postgres, which its npm package does not have, against a real Postgres directly and then
 * through a gateway: `node test/integration/proxy/postgres/node-postgres-suite.ts DIR`, where DIR is `packages/pg` of a
 * checkout with its dependencies installed. Each file is a program of its own; it must end alike and print the same.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { run, type RunResult } from '../../../support/run.ts';
import { HOST, startPostgresStage } from '../support/postgres-stage.ts';

const { positionals } = parseArgs({ allowPositionals: true });
const [dir] = positionals;
if (dir === undefined) throw new Error('usage: node-postgres-suite.ts DIR [PART OF A FILE NAME]...');
const parts = positionals.slice(1);
const files = readdirSync(join(dir, 'test/integration'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('-tests.js') && (parts.length === 0 || parts.some((part) => file.includes(part))))
  .sort();

const stage = await startPostgresStage();
/** With TLS both ways, or its own servers without TLS in the suite would make a difference. */
const envOf = (port: number): Record<string, string> => ({
  PGHOST: HOST,
  PGPORT: String(port),
  PGUSER: stage.server.user,
  PGPASSWORD: stage.server.password,
  PGDATABASE: 'postgres',
  PGSSLMODE: 'verify-full',
  NODE_EXTRA_CA_CERTS: stage.caPath,
  PGSSLROOTCERT: stage.caPath,
  SCRAM_TEST_PGUSER: stage.server.user,
  SCRAM_TEST_PGPASSWORD: stage.server.password,
});
const direct = envOf(stage.server.port);
const gateway = envOf(stage.fixture.httpsPort);

const suite = (file: string, env: Record<string, string>): Promise<RunResult> =>
  run(process.execPath, [join(dir, 'test/integration', file)], { env, cwd: dir, timeoutMs: 120_000 });
/** Warnings carry process ids. */
const said = ({ stdout, stderr }: RunResult): string => (stdout + stderr).replaceAll(/\(node:\d+\)/g, '(node)');

let different = 0;
const totals = { both: 0, neither: 0 };
for (const file of files) {
  const [one, other] = [await suite(file, direct), await suite(file, gateway)];
  const isSame = one.code === other.code && (said(one) === said(other) || one.code !== 0);
  if (isSame) totals[one.code === 0 ? 'both' : 'neither']++;
  else different++;
  console.log(`${isSame ? 'same' : 'DIFFERENT'}  direct ${one.code}  gateway ${other.code}  ${file}`);
  if (!isSame) console.log(`--- direct\n${said(one)}\n--- gateway\n${said(other)}\n---`);
  else if (one.code !== 0) console.log(said(one).split('\n').slice(0, 12).join('\n'));
}
await stage.stop();
console.log(
  `${files.length} files: ${totals.both} pass both ways, ${totals.neither} fail both ways, ${different} differ`,
);
process.exitCode = different === 0 ? 0 : 1;
