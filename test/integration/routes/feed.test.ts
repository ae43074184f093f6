import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveFeed } from '../../../control/workers/feed-server.ts';
import { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import type { ControlMessage, WorkerMessage } from '../../../core/feed-protocol.ts';
import { podPut } from '../../../core/pod-put.ts';
import { podKey } from '../../../core/ids.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { podRecord, podSpec, workloadOf } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { createWorkerQuestions, type TrafficQuestions } from '../../../control/workers/worker-questions.ts';
import { ServedCertificates } from '../../../control/workers/served-certificates.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const KEY = podKey('default', 'mypod');
const MYPOD = { tenant: 'default', podId: 'mypod', uid: 'uid-1', run: 1 };

let directory: string;
let database: SqliteDatabase;
let feed: ControlRouteFeed;
let certificates: ServedCertificates;
let stop: AbortController;
let running: Promise<unknown>;
const workers: Worker[] = [];

/** A gateway worker, as far as the feed sees one. */
class Worker {
  readonly messages: ControlMessage[] = [];
  readonly socket: Socket;

  constructor(path: string) {
    this.socket = connect(path);
    this.socket.on('error', () => undefined);
    createInterface({ input: this.socket }).on('line', (line) =>
      this.messages.push(JSON.parse(line) as ControlMessage),
    );
    workers.push(this);
  }

  say(message: WorkerMessage): void {
    this.socket.write(`${JSON.stringify(message)}\n`);
  }

  message<K extends ControlMessage['kind']>(kind: K): Promise<ControlMessage & { kind: K }> {
    return until(`a message ${kind}`, () =>
      this.messages.find((message): message is ControlMessage & { kind: K } => message.kind === kind),
    );
  }
}

const path = () => join(directory, 'feed.sock');

async function put(record: PodRecord): Promise<void> {
  const stored = await database.store.get('pod', podKey(record.tenant, record.podId));
  const result = await database.store.commit({ puts: [podPut(record, stored?.revision ?? 'absent')] });
  expect(result.kind).toBe('committed');
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-feed-'));
  database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog });
  certificates = new ServedCertificates(['files']);
  feed = new ControlRouteFeed({ store: database.store, log: silentLog, baseHostOf: () => 'localhost' });
  stop = new AbortController();
  running = Promise.all([
    feed.run(stop.signal),
    serveFeed(
      { feed, certificates, path: path(), epoch: 'epoch-1', baseHosts: ['localhost'], log: silentLog },
      stop.signal,
    ),
  ]);
});

afterEach(async () => {
  for (const worker of workers.splice(0)) worker.socket.destroy();
  stop.abort();
  await running;
  database.close();
  rmSync(directory, { recursive: true, force: true });
});

test('no snapshot leaves before all records are read and every workload has been observed', async () => {
  await put(podRecord());
  const worker = new Worker(path());
  expect(await worker.message('hello')).toMatchObject({ epoch: 'epoch-1', baseHosts: ['localhost'] });
  await until('the record is read', () => [...feed.routes()].length === 1);
  expect(worker.messages.map(({ kind }) => kind)).toEqual(['hello', 'alive']);
  feed.observed(KEY, 'uid-1', workloadOf(podRecord()));
  feed.observationsComplete();
  const { routes } = await worker.message('routes');
  expect(routes).toMatchObject([{ host: 'mypod.pods.localhost', status: 'RUNNING', backend: { uid: 'uid-1' } }]);
  expect(await worker.message('snapshot-end')).toMatchObject({ sequence: feed.sequence });
});

test('a stopped pod keeps its route without a backend; a deleted one loses it at once', async () => {
  await put(podRecord());
  feed.observed(KEY, 'uid-1', workloadOf(podRecord()));
  feed.observationsComplete();
  const worker = new Worker(path());
  await worker.message('snapshot-end');
  await put(podRecord({ wish: 'OFF', status: 'SHUTTING_DOWN' }));
  await until('the backend is withdrawn', () =>
    worker.messages.some(
      (m) => m.kind === 'change' && m.set[0]?.backend === null && m.set[0].status === 'SHUTTING_DOWN',
    ),
  );
  await put(podRecord({ wish: 'OFF', status: 'SHUTTING_DOWN', deleting: { keepVolume: false } }));
  await until('the route is gone', () =>
    worker.messages.some((m) => m.kind === 'change' && m.removed.includes('mypod.pods.localhost')),
  );
});

test('what is seen of another uid, run or generation never becomes a backend', async () => {
  await put(podRecord());
  await until('the record is read', () => [...feed.routes()].length === 1);
  for (const wrong of [{ uid: 'another' }, { run: 2 }, { generation: 2 }, { phase: 'starting' as const }]) {
    feed.observed(KEY, wrong.uid ?? 'uid-1', workloadOf(podRecord(), wrong));
    expect([...feed.routes()]).toMatchObject([{ backend: null }]);
  }
  feed.observed(KEY, 'uid-1', workloadOf(podRecord()));
  expect([...feed.routes()]).toMatchObject([{ backend: { port: 40_000 } }]);
  // A pod of the same name with another uid starts without a backend.
  await put(podRecord({ uid: 'uid-2' }));
  await until('the new pod is read', () => [...feed.routes()][0]?.uid === 'uid-2');
  expect([...feed.routes()]).toMatchObject([{ backend: null }]);
});

test('a worker of the release before a question is not asked it, and not waited for', async () => {
  const questions: TrafficQuestions = createWorkerQuestions();
  const second = join(directory, 'asked.sock');
  const end = new AbortController();
  const serving = serveFeed(
    {
      ...{ feed, certificates, path: second, epoch: 'x', baseHosts: ['localhost'], log: silentLog },
      trafficQuestions: questions,
    },
    end.signal,
  );
  try {
    await until('it serves', () => existsSync(second));
    const [old, young] = [new Worker(second), new Worker(second)];
    old.say({ kind: 'hello', worker: 1, pid: 11 });
    await until('it is missed', async () => (await questions.ask([])).missing.length === 1);
    const startedMs = performance.now();
    expect((await questions.ask(['uid'])).missing).toEqual([{ worker: 1 }]);
    expect(performance.now() - startedMs).toBeLessThan(900);
    young.say({ kind: 'hello', worker: 2, pid: 22, answersTo: ['traffic-asked', 'of-a-later-release'] });
    await young.message('hello');
    await until('it is asked', () => {
      void questions.ask(['uid']);
      return young.messages.some(({ kind }) => kind === 'traffic-asked');
    });
    expect(old.messages.some(({ kind }) => kind === 'traffic-asked')).toBe(false);
    expect(old.socket.destroyed).toBe(false);
  } finally {
    end.abort();
    await serving;
  }
});

test('waitRoutable answers when every worker has applied the route, and names who has not', async () => {
  feed.observationsComplete();
  const [quick, slow] = [new Worker(path()), new Worker(path())];
  quick.say({ kind: 'hello', worker: 1, pid: 11 });
  slow.say({ kind: 'hello', worker: 2, pid: 22 });
  await Promise.all([quick.message('snapshot-end'), slow.message('snapshot-end')]);
  await put(podRecord());
  await until('the record is read', () => [...feed.routes()].length === 1);
  feed.observed(KEY, 'uid-1', workloadOf(podRecord()));
  quick.say({ kind: 'applied', epoch: 'epoch-1', sequence: feed.sequence });
  await until('one of the two is late', async () => {
    const wait = await feed.waitRoutable(MYPOD, 50);
    return wait.kind === 'timeout' && wait.laggards.length === 1 && wait.laggards[0] === 'worker 2 (pid 22)';
  });
  const waiting = feed.waitRoutable(MYPOD, 10_000);
  slow.say({ kind: 'applied', epoch: 'another epoch', sequence: 1e9 });
  slow.say({ kind: 'applied', epoch: 'epoch-1', sequence: feed.sequence });
  expect(await waiting).toEqual({ kind: 'routable' });
});

test('waitRoutable ends early for a pod that will not come, and when the laggard leaves', async () => {
  feed.observationsComplete();
  const worker = new Worker(path());
  await worker.message('snapshot-end');
  await put(podRecord({ status: 'ERROR' }));
  await until('the record is read', () => [...feed.routes()].length === 1);
  expect(await feed.waitRoutable(MYPOD, 5_000)).toEqual({ kind: 'ended' });
  await put(podRecord());
  feed.observed(KEY, 'uid-1', workloadOf(podRecord()));
  const other = new Worker(path());
  await other.message('snapshot-end');
  other.say({ kind: 'applied', epoch: 'epoch-1', sequence: feed.sequence + 1 });
  const waiting = feed.waitRoutable(MYPOD, 10_000);
  worker.socket.destroy();
  expect(await waiting).toEqual({ kind: 'routable' });
});

test('waitRoutable ends when nobody waits any more', async () => {
  feed.observationsComplete();
  const gone = new AbortController();
  const waiting = feed.waitRoutable(MYPOD, 3_600_000, gone.signal);
  gone.abort();
  expect((await waiting).kind).toBe('timeout');
  expect((await feed.waitRoutable(MYPOD, 3_600_000, gone.signal)).kind).toBe('timeout');
});

test('waitRoutable does not take another run, or another pod of the name, for the one that is asked for', async () => {
  feed.observationsComplete();
  const worker = new Worker(path());
  await worker.message('snapshot-end');
  await put(podRecord());
  await until('the record is read', () => [...feed.routes()].length === 1);
  feed.observed(KEY, 'uid-1', workloadOf(podRecord()));
  worker.say({ kind: 'applied', epoch: 'epoch-1', sequence: 1_000 });
  expect(await feed.waitRoutable(MYPOD, 5_000)).toEqual({ kind: 'routable' });
  for (const other of [{ run: 2 }, { uid: 'uid-2' }]) {
    const waited = await feed.waitRoutable({ ...MYPOD, ...other }, 30);
    expect(waited).toEqual({ kind: 'timeout', laggards: ['the pod (not known yet)'] });
  }
  const next = feed.waitRoutable({ ...MYPOD, run: 2 }, 10_000);
  const record = podRecord({ run: 2, applied: { generation: 1, run: 2, spec: podSpec() } });
  await put(record);
  await until('the record is read', () => [...feed.routes()][0]?.backend === null);
  feed.observed(KEY, 'uid-1', workloadOf(record));
  expect(await next).toEqual({ kind: 'routable' });
});

test('a worker that talks nonsense is cut off, and the others do not notice', async () => {
  feed.observationsComplete();
  const [good, bad] = [new Worker(path()), new Worker(path())];
  await Promise.all([good.message('snapshot-end'), bad.message('snapshot-end')]);
  bad.socket.write('nonsense\n');
  await until('it is cut off', () => bad.socket.destroyed || bad.socket.readableEnded);
  await put(
    podRecord({ spec: podSpec({ networking: { default: { protocol: 'tcp', port: 7000, ipAllowList: [] } } }) }),
  );
  expect((await good.message('change')).set).toMatchObject([{ protocol: 'tcp' }]);
});

test('a cancel of one worker is passed on to all others, whatever their state, and not back', async () => {
  const [teller, early] = [new Worker(path()), new Worker(path())];
  await Promise.all([teller.message('hello'), early.message('hello')]);
  feed.observationsComplete();
  const late = new Worker(path());
  await late.message('snapshot-end');
  const question = { kind: 'cancel', key: 'AAAAAQAAAAI=', address: '2001:db8::1' } as const;
  teller.say({ ...question, id: 7 });
  for (const worker of [early, late]) expect(await worker.message('cancel')).toMatchObject(question);
  await put(podRecord());
  await teller.message('change');
  expect(teller.messages.map(({ kind }) => kind)).not.toContain('cancel');
});

describe('a worker that has asked for a cancel hears what came of it', () => {
  const question = { kind: 'cancel', id: 7, key: 'AAAAAQAAAAI=', address: '2001:db8::1' } as const;
  const nowhere = { kind: 'cancel-answered', isFound: false, passedThrough: [] } as const;

  async function ask(others: number): Promise<{ asker: Worker; asked: { worker: Worker; id: number }[] }> {
    feed.observationsComplete();
    const [asker, ...rest] = Array.from({ length: others + 1 }, () => new Worker(path()));
    if (asker === undefined) throw new Error('nobody asks');
    await Promise.all([asker, ...rest].map((worker) => worker.message('snapshot-end')));
    asker.say(question);
    const asked = await Promise.all(rest.map(async (worker) => ({ worker, id: (await worker.message('cancel')).id })));
    return { asker, asked };
  }

  const answersOf = ({ messages }: Worker) => messages.filter(({ kind }) => kind === 'cancel-answered');

  test('when all have answered, and not before', async () => {
    const { asker, asked } = await ask(2);
    const [first, second] = asked;
    first?.worker.say({ ...nowhere, id: first.id, passedThrough: ['a.pods.localhost'] });
    // Another's number, and a second answer, are none.
    first?.worker.say({ ...nowhere, id: first.id });
    first?.worker.say({ ...nowhere, id: 1 });
    await put(podRecord());
    await asker.message('change');
    expect(answersOf(asker)).toEqual([]);
    second?.worker.say({ ...nowhere, id: second.id });
    expect(await asker.message('cancel-answered')).toEqual({ ...nowhere, id: 7, passedThrough: ['a.pods.localhost'] });
  });

  test('as soon as one has found it', async () => {
    const { asker, asked } = await ask(2);
    asked[1]?.worker.say({ ...nowhere, id: asked[1].id, isFound: true });
    expect(await asker.message('cancel-answered')).toMatchObject({ id: 7, isFound: true });
  });

  test('when a worker that was asked is gone, as incomplete', async () => {
    const { asker, asked } = await ask(1);
    asked[0]?.worker.socket.destroy();
    expect(await asker.message('cancel-answered')).toEqual({ ...nowhere, id: 7, passedThrough: null });
  });

  test('at once where there is no other', async () => {
    const { asker } = await ask(0);
    expect(await asker.message('cancel-answered')).toEqual({ ...nowhere, id: 7 });
  });
});

test.each([
  ['without a number', { kind: 'cancel', key: 'AAAAAQAAAAI=', address: '192.0.2.1' }],
  ['without a key', { kind: 'cancel', id: 7, address: '192.0.2.1' }],
  ['with a key too long', { kind: 'cancel', id: 7, key: 'A'.repeat(349), address: '192.0.2.1' }],
  ['without an address', { kind: 'cancel', id: 7, key: 'AAAAAQAAAAI=' }],
  ['with a name for an address', { kind: 'cancel', id: 7, key: 'AAAAAQAAAAI=', address: 'localhost' }],
])('a worker that says a cancel %s is cut off, and nobody hears of it', async (_what, nonsense) => {
  feed.observationsComplete();
  const [good, bad] = [new Worker(path()), new Worker(path())];
  await Promise.all([good.message('snapshot-end'), bad.message('snapshot-end')]);
  bad.socket.write(`${JSON.stringify(nonsense)}\n`);
  await until('it is cut off', () => bad.socket.destroyed || bad.socket.readableEnded);
  await put(podRecord());
  await good.message('change');
  expect(good.messages.map(({ kind }) => kind)).not.toContain('cancel');
});

const certificateOf = (id: string) => ({
  id,
  names: [`${id}.test`],
  certificatePem: id,
  privateKeyPem: 'key',
  notAfterMs: 1,
});

test('a worker gets all certificates, in pieces, then what changes, then what ACME servers ask for', async () => {
  const first = new Worker(path());
  await first.message('hello');
  certificates.replace(
    'files',
    Array.from({ length: 250 }, (_, at) => certificateOf(`c${at}`)),
  );
  await first.message('certificates-end');
  const late = new Worker(path());
  await late.message('certificates-end');
  for (const { messages } of [first, late]) {
    const pieces = messages.flatMap((message) => (message.kind === 'certificates' ? [message.set.length] : []));
    expect(pieces).toEqual([100, 100, 50]);
  }
  certificates.change('files', [certificateOf('new')], ['c0']);
  certificates.setChallenges({ http: { token: 'answer' }, tls: [] }, ['of-the-challenge']);
  for (const worker of [first, late]) {
    await until('the challenge', () =>
      worker.messages.some((message) => message.kind === 'challenges' && message.challenges.http['token'] === 'answer'),
    );
    const change = worker.messages.filter(({ kind }) => kind === 'certificates').at(-1);
    expect(change).toMatchObject({
      set: [{ names: ['new.test'], source: 'files' }],
      removed: [expect.stringContaining('c0')],
    });
  }
  first.say({ kind: 'challenges-applied', number: certificates.challengesNumber });
  await new Promise(setImmediate);
  expect(certificates.answersChallenges(['of-the-challenge'])).toBe(false);
  late.say({ kind: 'challenges-applied', number: certificates.challengesNumber });
  await until('every worker answers it', () => certificates.answersChallenges(['of-the-challenge']));
  expect(certificates.answersChallenges(['of-the-challenge', 'of-another'])).toBe(false);
});

test('a worker says for which names clients have come', async () => {
  const wanted: string[] = [];
  const second = join(directory, 'wanted.sock');
  const end = new AbortController();
  const serving = serveFeed(
    {
      ...{ feed, certificates, path: second, epoch: 'x', baseHosts: ['localhost'], log: silentLog },
      certificateWanted: (host) => wanted.push(host),
    },
    end.signal,
  );
  try {
    await until('it serves', () => existsSync(second));
    const worker = new Worker(second);
    worker.say({ kind: 'certificate-wanted', host: 'mypg.pods.localhost' });
    await until('it is heard', () => wanted.length > 0);
    expect(wanted).toEqual(['mypg.pods.localhost']);
  } finally {
    end.abort();
    await serving;
  }
});

test('a worker is told now and then that control lives, and how many replicas do, also while there is nothing else to tell', async () => {
  let replicas = 2;
  const second = join(directory, 'second.sock');
  const end = new AbortController();
  const options = {
    feed,
    certificates,
    path: second,
    epoch: 'x',
    baseHosts: ['localhost'],
    log: silentLog,
    aliveEveryMs: 20,
    replicas: () => replicas,
  };
  const serving = serveFeed(options, end.signal);
  try {
    await until('it serves', () => existsSync(second));
    const worker = new Worker(second);
    expect(await worker.message('alive')).toMatchObject({ replicas: 2 });
    expect(worker.messages[0]?.kind).toBe('hello');
    replicas = 3;
    await until('the new number comes', () =>
      worker.messages.some((message) => message.kind === 'alive' && message.replicas === 3),
    );
  } finally {
    end.abort();
    await serving;
  }
});
