/**
 * How long a CancelRequest's connection stays open, for keys that are known and keys that are not, and how well one can
 * be told from the other by that: the best threshold on the time of one cancel.
 *
 * usage: node bench/cancel.ts HOST PORT CA_FILE USER PASSWORD [CANCELS]     (a Postgres pod of a running Podgate)
 */
import { createConnection } from 'node:net';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { CANCEL_TAKES_MS } from '../proxy/protocols/postgres/cancel/cancellation.ts';
import { cancelRequest } from '../proxy/protocols/postgres/cancel/cancel-request.ts';
import { machine, quantiles, show } from './measure.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const [host = '', port = '', caFile = '', user = '', password = '', cancels = '1000'] = process.argv.slice(2);

/** Each with its own limit on unknown keys. */
const ADDRESSES = 40;
const PAUSE_MS = 5;

let address = 0;
async function cancel(key: Buffer): Promise<number> {
  const localAddress = `127.0.1.${1 + (address++ % ADDRESSES)}`;
  const sinceMs = performance.now();
  const socket = createConnection({ host: '127.0.0.1', port: Number(port), localAddress });
  socket.resume();
  socket.write(cancelRequest(key));
  await new Promise<void>((resolve, reject) => {
    socket.once('end', resolve);
    socket.once('error', reject);
  });
  return performance.now() - sinceMs;
}

const ssl = { ca: readFileSync(caFile, 'utf8'), servername: host };
const client = new pg.Client({ host: '127.0.0.1', port: Number(port), user, password, database: 'postgres', ssl });
await client.connect();
const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
const known = Buffer.alloc(8);
known.writeInt32BE(processID, 0);
known.writeInt32BE(secretKey, 4);

const took = { known: [] as number[], unknown: [] as number[] };
for (let turn = 0; turn < Number(cancels) * 2; turn++) {
  // In no order that the machine's rhythm could follow.
  const which = randomBytes(1).readUInt8(0) < 128 ? 'known' : 'unknown';
  const key = which === 'known' ? known : Buffer.concat([known.subarray(0, 4), randomBytes(4)]);
  took[which].push(await cancel(key));
  await delay(PAUSE_MS);
}
await client.end();

/** The largest distance of the two distributions: 0 = nobody can tell, 1 = one cancel tells for certain. */
function distance(a: readonly number[], b: readonly number[]): number {
  const below = (values: readonly number[], ms: number) => values.filter((each) => each <= ms).length / values.length;
  return Math.max(...[...a, ...b].map((ms) => Math.abs(below(a, ms) - below(b, ms))));
}

console.log(`${machine()}; every cancel takes ${CANCEL_TAKES_MS} ms or more`);
for (const which of ['known', 'unknown'] as const) {
  const late = took[which].filter((ms) => ms > CANCEL_TAKES_MS + 10).length / took[which].length;
  console.log(
    `${which}: ${took[which].length}, ${show(quantiles(took[which]))}; ${(late * 100).toFixed(1)} % 10 ms late`,
  );
}
console.log(`Kolmogorov-Smirnov distance: ${distance(took.known, took.unknown).toFixed(3)}`);
