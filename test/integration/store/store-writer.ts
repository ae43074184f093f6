import { writeSync } from 'node:fs';
import { openSqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { silentLog } from '../../support/silent-log.ts';
import { putPod } from './sqlite-stage.ts';

/**
 * `store-writer.ts <path> <first number>`: writes without end until it is killed, and says each thing on standard
 * output as soon as, and only when, it was answered:
 *   commit <n> <commit>  one commit wrote records a<n> and b<n>, deleted a<n-1> if it was there, and made k<n> due
 *   done k<n>            the key was claimed and acknowledged
 *   fence <fence>
 *   action <n>
 */
const [path = '', first = ''] = process.argv.slice(2);
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const { store, queue, lock, logs } = openSqliteDatabase({ path, clock, log: silentLog });
const say = (line: string): void => void writeSync(1, `${line}\n`);
const never = new AbortController().signal;

async function write(n: number): Promise<void> {
  const former = await store.get('pod', `a${n - 1}`);
  const result = await store.commit({
    puts: [putPod(`a${n}`, 'absent', 'x'.repeat(n % 3_000)), putPod(`b${n}`, 'absent')],
    deletes: former === null ? [] : [{ kind: 'pod', key: former.key, expected: former.revision, uid: 'uid' }],
    enqueue: [{ key: `k${n}` }],
  });
  if (result.kind !== 'committed') throw new Error(`commit ${n}: ${JSON.stringify(result)}`);
  say(`commit ${n} ${result.commit}`);
}

async function work(): Promise<void> {
  const claim = await queue.claim(60_000, never);
  if (claim !== null && (await queue.acknowledge(claim))) say(`done ${claim.key}`);
}

async function acquire(n: number): Promise<void> {
  const lease = await lock.acquire(`lock-${n}`, 60_000);
  if (lease !== null) say(`fence ${lease.fence}`);
}

async function log(n: number): Promise<void> {
  await logs.appendAction('uid', `action ${n}`);
  say(`action ${n}`);
  await logs.saveOutput('uid', n, String(n % 10).repeat(50_000));
}

for (let n = Number(first); ; n += 2) {
  await Promise.all([write(n), write(n + 1)]);
  await Promise.all([work(), n % 5 === 0 ? acquire(n) : null, n % 7 === 0 ? log(n) : null]);
}
