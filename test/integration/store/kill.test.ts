import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { createSqliteStage, type SqliteStage } from './sqlite-stage.ts';

const ROUNDS = 25;
/** A round takes about half a second, and several times that on a busy machine. */
const TIMEOUT_MS = 180_000;

let stage: SqliteStage;
beforeEach(() => {
  stage = createSqliteStage();
});
afterEach(() => stage.end());

/** Everything the writers were answered, over all rounds. */
interface Answered {
  /** n -> number of the commit. */
  readonly commits: Map<number, number>;
  readonly done: Set<string>;
  readonly fences: number[];
  readonly actions: number[];
}

it(
  `has every acknowledged commit completely after ${ROUNDS} kill -9 of the writer at random moments`,
  { timeout: TIMEOUT_MS },
  async () => {
    const answered: Answered = { commits: new Map(), done: new Set(), fences: [], actions: [] };
    let storeId: string | null = null;
    let commits = 0;
    let next = 1;
    for (let round = 0; round < ROUNDS; round++) {
      await writeUntilKilled(next, Math.random() * 60, answered);
      const database = stage.open('a.db');
      try {
        const identity = await database.store.identity();
        storeId ??= identity.storeId;
        expect(identity.storeId).toBe(storeId);
        expect(identity.commits).toBeGreaterThanOrEqual(Math.max(commits, ...answered.commits.values()));
        commits = identity.commits;
        next = (await checkRecords(database, answered)) + 10;
        await checkQueue(database, answered);
        await checkLogs(database, answered);
        await checkFence(database, answered);
      } finally {
        database.close();
      }
    }
    expect(answered.commits.size).toBeGreaterThan(ROUNDS);
    expect(answered.done.size).toBeGreaterThan(0);
    expect(answered.fences.length).toBeGreaterThan(0);
    expect(answered.actions.length).toBeGreaterThan(0);
    console.info(`${ROUNDS} kills: ${answered.commits.size} commits acknowledged, ${commits} done, 0 lost`);
  },
);

async function writeUntilKilled(first: number, afterMs: number, answered: Answered): Promise<void> {
  const writer = spawn(
    process.execPath,
    [new URL('store-writer.ts', import.meta.url).pathname, stage.path('a.db'), String(first)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const lines = createInterface({ input: writer.stdout });
  const ended = Promise.all([once(writer, 'exit'), once(lines, 'close')]);
  let timer: NodeJS.Timeout | null = null;
  lines.on('line', (line) => {
    timer ??= setTimeout(() => writer.kill('SIGKILL'), afterMs);
    const [what, value = '', commit] = line.split(' ');
    if (what === 'commit') answered.commits.set(Number(value), Number(commit));
    else if (what === 'done') answered.done.add(value);
    else if (what === 'fence') answered.fences.push(Number(value));
    else if (what === 'action') answered.actions.push(Number(value));
    else throw new Error(`the writer said ${line}`);
  });
  await ended;
  // Anything else would be a writer that failed by itself.
  expect(writer.signalCode).toBe('SIGKILL');
}

/** Every commit is there as a whole, acknowledged or not. Answers the highest n written. */
async function checkRecords({ store }: SqliteDatabase, answered: Answered): Promise<number> {
  const records = new Map((await store.list('pod', { limit: 100_000 })).map((record) => [record.key, record]));
  // Deletions come later: on a busy machine a round has a few commits.
  if (answered.commits.size > 40) expect(numbersOf('a', records).length).toBeLessThan(numbersOf('b', records).length);
  const indexed = await store.list('pod', { index: 'user:alice', limit: 100_000 });
  expect(new Set(indexed.map(({ key }) => key))).toEqual(new Set(records.keys()));
  const numbers = numbersOf('b', records);
  for (const [n, commit] of answered.commits) expect(records.get(`b${n}`)?.revision).toBe(commit);
  for (const n of numbers) {
    const revision = records.get(`b${n}`)?.revision;
    const record = records.get(`a${n}`) ?? null;
    if (record !== null) expect(record.revision).toBe(revision);
    else expect((await store.tombstone('pod', `a${n}`))?.revision).toBe(records.get(`b${n + 1}`)?.revision);
  }
  const aborting = new AbortController();
  const inFeed = new Set<number>();
  const { commits } = await store.identity();
  for await (const change of store.changes(0, aborting.signal)) {
    inFeed.add(change.commit);
    if (change.commit === commits) aborting.abort();
  }
  expect(inFeed.size).toBe(commits);
  return Math.max(0, ...numbers);
}

function numbersOf(letter: string, records: ReadonlyMap<string, unknown>): readonly number[] {
  return [...records.keys()].filter((key) => key.startsWith(letter)).map((key) => Number(key.slice(1)));
}

/** Due is every key that was committed, except those acknowledged; a claim without its answer may be either. */
async function checkQueue({ queue }: SqliteDatabase, answered: Answered): Promise<void> {
  const { due, leased } = await queue.stats();
  expect(leased).toBe(0);
  const keys = new Set<string>();
  for (let i = 0; i < due; i++) keys.add((await queue.claim(60_000, AbortSignal.timeout(5_000)))?.key ?? '');
  expect(keys.size).toBe(due);
  for (const key of answered.done) expect(keys.has(key)).toBe(false);
  const missing = [...answered.commits.keys()].filter((n) => !keys.has(`k${n}`) && !answered.done.has(`k${n}`));
  // The acknowledgement of the last claim before a kill may be done and unanswered.
  expect(missing.length).toBeLessThanOrEqual(ROUNDS);
}

async function checkLogs({ logs }: SqliteDatabase, answered: Answered): Promise<void> {
  const lines = await logs.actions('uid');
  for (const n of answered.actions.slice(-400)) expect(lines).toContain(`action ${n}`);
  const output = await logs.output('uid');
  if (output === '') return;
  expect(output).toBe(output.slice(0, 1).repeat(50_000));
}

async function checkFence({ lock }: SqliteDatabase, answered: Answered): Promise<void> {
  const lease = await lock.acquire('checker', 1_000);
  expect(lease?.fence).toBeGreaterThan(Math.max(0, ...answered.fences));
}
