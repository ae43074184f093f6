import { describe, expect, it } from 'vitest';
import type { RefusalCode } from '../../../../core/errors.ts';
import { BoltConversation } from '../../../../proxy/protocols/bolt/conversation.ts';
import { isBoltMagic } from '../../../../proxy/sniff/bolt-magic.ts';
import { type PackValue, chunked, packMessage, unpackFields } from '../../../../proxy/protocols/bolt/packstream.ts';
import { chooseVersion } from '../../../../proxy/protocols/bolt/version.ts';
import type { Refusal } from '../../../../proxy/connection/refusal.ts';

const MAGIC = [0x60, 0x60, 0xb0, 0x17];
const handshake = (...slots: number[]): Buffer => {
  const bytes = Buffer.alloc(20);
  bytes.set([...MAGIC, ...slots]);
  return bytes;
};
/** As neo4j-driver 6.3.0 sends it: manifest, 5.8 down to 5.0, 4.4 down to 4.2, 3.0. */
const DRIVER_6 = handshake(0, 0, 1, 0xff, 0, 8, 8, 5, 0, 2, 4, 4, 0, 0, 0, 3);

const TAG = { hello: 0x01, goodbye: 0x02, reset: 0x0f, run: 0x10, begin: 0x11, pull: 0x3f, route: 0x66, logon: 0x6a };
const message = (tag: number, ...fields: readonly PackValue[]): Buffer => {
  const packed = fields.map((field) => packMessage(0, field).subarray(2));
  return chunked(Buffer.concat([Buffer.from([0xb0 | fields.length, tag]), ...packed]));
};
const HELLO = message(TAG.hello, { user_agent: 'test/1' });
const LOGON = message(TAG.logon, { scheme: 'basic', principal: 'neo4j', credentials: 'x' });
const BEGIN = message(TAG.begin, {});
const RUN = message(TAG.run, 'RETURN 1', {}, {});
const PULL = message(TAG.pull, { n: 1000 });
const RESET = chunked(Buffer.from([0xb0, TAG.reset]));
const GOODBYE = chunked(Buffer.from([0xb0, TAG.goodbye]));

function refusalOf(code: RefusalCode): Refusal {
  return { code, message: 'What happened.', hint: 'What to do.', requestId: 'id-1' };
}

/** Everything answered to these bytes, given in these pieces. */
function converse(code: RefusalCode, pieces: readonly Buffer[]): { readonly bytes: Buffer; readonly end: boolean } {
  const conversation = new BoltConversation(refusalOf(code), 'pod.example:443');
  const out: Buffer[] = [];
  let end = false;
  for (const piece of pieces) {
    const step = conversation.receive(piece);
    out.push(step.bytes);
    end ||= step.end;
  }
  return { bytes: Buffer.concat(out), end };
}

interface Answer {
  readonly tag: number;
  readonly metadata: Record<string, unknown>;
}

/** The answers behind the chosen version. Ours are one chunk each. */
function answersIn(bytes: Buffer): Answer[] {
  const answers: Answer[] = [];
  for (let at = 4; at < bytes.length;) {
    const length = bytes.readUInt16BE(at);
    const body = bytes.subarray(at + 2, at + 2 + length);
    const metadata = unpackFields(body)[0];
    answers.push({ tag: body[1] ?? 0, metadata: plain(metadata) as Record<string, unknown> });
    at += length + 4;
  }
  return answers;
}

function plain(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item)]));
  return Array.isArray(value) ? value.map(plain) : (value ?? {});
}

const FAILED_BEGIN = { code: 'Neo.TransientError.General.DatabaseUnavailable', message: 'What happened. What to do.' };

describe('the version', () => {
  it.each([
    ['the newest of ours in a range', DRIVER_6, { major: 5, minor: 4 }],
    ['the range below a newer one', handshake(0, 3, 7, 5), { major: 5, minor: 4 }],
    ['none when the range ends above ours', handshake(0, 2, 8, 5), null],
    ['an exact one without range', handshake(0, 0, 2, 5), { major: 5, minor: 2 }],
    ['4.4 for older drivers', handshake(0, 2, 4, 4, 0, 0, 1, 4, 0, 0, 0, 3), { major: 4, minor: 4 }],
    ['4.0', handshake(0, 0, 0, 4), { major: 4, minor: 0 }],
    ['the client\u2019s order', handshake(0, 0, 1, 4, 0, 0, 4, 5), { major: 4, minor: 1 }],
    ['none for Bolt 3 alone', handshake(0, 0, 0, 3), null],
    ['none for the manifest alone', handshake(0, 0, 1, 0xff), null],
    ['none for nothing', handshake(), null],
  ])('is %s', (_name, bytes, expected) => {
    expect(chooseVersion(bytes)).toEqual(expected);
  });

  it('without a common version, replies with zeros and closes', () => {
    const { bytes, end } = converse('route.stopped', [handshake(0, 0, 0, 3)]);
    expect([[...bytes], end]).toEqual([[0, 0, 0, 0], true]);
  });
});

describe('a stopped pod', () => {
  it('accepts HELLO and LOGON, fails BEGIN, ignores the rest until RESET, then ends', () => {
    const { bytes, end } = converse('route.stopped', [DRIVER_6, HELLO, LOGON, BEGIN, RUN, PULL, RESET]);
    expect([...bytes.subarray(0, 4)]).toEqual([0, 0, 4, 5]);
    const answers = answersIn(bytes);
    expect(answers.map(({ tag }) => tag)).toEqual([0x70, 0x70, 0x7f, 0x7e, 0x7e, 0x70]);
    expect(answers[0]?.metadata).toEqual({ server: 'Neo4j/5.4.0', connection_id: 'bolt-id-1' });
    expect(answers[2]?.metadata).toEqual(FAILED_BEGIN);
    expect(end).toBe(true);
  });

  it('fails RUN in the same way, and RESET before a failure ends nothing', () => {
    const { bytes, end } = converse('route.starting', [DRIVER_6, HELLO, LOGON, RESET, RUN]);
    expect(answersIn(bytes).at(-1)?.metadata).toEqual(FAILED_BEGIN);
    expect(end).toBe(false);
  });

  it('names itself in every role, for the requested database, in the formats of 4.3 and 4.4', () => {
    const route = (third: PackValue) => message(TAG.route, { address: 'pod.example:443' }, [], third);
    for (const [third, db] of [
      [{ db: 'movies' }, 'movies'],
      ['movies', 'movies'],
      [null, 'neo4j'],
      [{}, 'neo4j'],
    ] as const) {
      const { bytes } = converse('route.stopped', [DRIVER_6, HELLO, LOGON, route(third)]);
      const addresses = ['pod.example:443'];
      const servers = ['WRITE', 'READ', 'ROUTE'].map((role) => ({ role, addresses }));
      expect(answersIn(bytes).at(-1)?.metadata).toEqual({ rt: { ttl: 5, db, servers } });
    }
  });

  it('has no LOGON before 5.1', () => {
    const answers = answersIn(converse('route.stopped', [handshake(0, 0, 4, 4), HELLO, RUN]).bytes);
    expect(answers.map(({ tag }) => tag)).toEqual([0x70, 0x7f]);
    expect(answers[0]?.metadata['server']).toBe('Neo4j/4.4.0');
  });
});

describe('an unknown name', () => {
  it('fails at LOGON, and at HELLO before 5.1, and ends', () => {
    const code = 'Neo.ClientError.Database.DatabaseNotFound';
    const late = converse('route.unknown', [DRIVER_6, HELLO, LOGON, RUN]);
    expect(answersIn(late.bytes).map(({ tag }) => tag)).toEqual([0x70, 0x7f]);
    expect(answersIn(late.bytes)[1]?.metadata).toEqual({ ...FAILED_BEGIN, code });
    const early = converse('route.unknown', [handshake(0, 0, 0, 5), HELLO, RUN]);
    expect(answersIn(early.bytes)).toEqual([{ tag: 0x7f, metadata: { ...FAILED_BEGIN, code } }]);
    expect([late.end, early.end]).toEqual([true, true]);
  });
});

describe('any bytes', () => {
  const whole = Buffer.concat([DRIVER_6, HELLO, LOGON, Buffer.from([0, 0]), BEGIN, RUN, PULL, RESET]);
  const expected = converse('route.stopped', [whole]);

  it('a conversation gives the same result for every split into two and for single bytes', () => {
    for (let at = 0; at <= whole.length; at += 1) {
      expect(converse('route.stopped', [whole.subarray(0, at), whole.subarray(at)])).toEqual(expected);
    }
    expect(
      converse(
        'route.stopped',
        Array.from(whole, (byte) => Buffer.from([byte])),
      ),
    ).toEqual(expected);
  });

  it('a message may arrive in many chunks', () => {
    const body = BEGIN.subarray(2, -2);
    const pieces = [...body].map((byte) => Buffer.from([0, 1, byte]));
    const { bytes } = converse('route.stopped', [DRIVER_6, HELLO, LOGON, ...pieces, Buffer.from([0, 0])]);
    expect(answersIn(bytes).at(-1)?.metadata).toEqual(FAILED_BEGIN);
  });

  it('parameters of megabytes are skipped; more than 32 MiB in one message ends the conversation', () => {
    const filler = Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.alloc(0xffff, 0x41)]);
    const start = Buffer.from([0, 2, 0xb3, TAG.run]);
    const run = (chunks: number) => [start, ...Array<Buffer>(chunks).fill(filler), Buffer.from([0, 0])];
    const fine = converse('route.stopped', [DRIVER_6, HELLO, LOGON, ...run(100)]);
    expect(answersIn(fine.bytes).at(-1)?.metadata).toEqual(FAILED_BEGIN);
    const tooMuch = converse('route.stopped', [DRIVER_6, HELLO, LOGON, ...run(520)]);
    expect(answersIn(tooMuch.bytes).at(-1)?.metadata['code']).toBe('Neo.ClientError.Request.Invalid');
    expect([fine.end, tooMuch.end]).toEqual([false, true]);
  });

  it('an unexpected message ends it with a failure, GOODBYE silently', () => {
    for (const messages of [[RUN], [HELLO, RUN], [HELLO, LOGON, PULL], [Buffer.from([0, 1, 7, 0, 0])]]) {
      const { bytes, end } = converse('route.stopped', [DRIVER_6, ...messages]);
      expect(answersIn(bytes).at(-1)?.metadata['code']).toBe('Neo.ClientError.Request.Invalid');
      expect(end).toBe(true);
    }
    const { bytes, end } = converse('route.stopped', [DRIVER_6, HELLO, GOODBYE, LOGON]);
    expect([answersIn(bytes).length, end]).toEqual([1, true]);
  });

  it('a client that never stops sending is disconnected', () => {
    const ask = Array<Buffer>(1_100).fill(message(TAG.route, {}, [], null));
    expect(converse('route.stopped', [DRIVER_6, HELLO, LOGON, ...ask]).end).toBe(true);
  });

  it('nothing ever throws, and replies stay limited: 20,000 mutated and random conversations', () => {
    const random = mulberry32(20_261_123);
    const codes: readonly RefusalCode[] = ['route.stopped', 'route.unknown', 'route.forbidden', 'tls.required'];
    const route = message(TAG.route, { address: 'a' }, ['b'], { db: 'movies', imp_user: null });
    const seedBytes = Buffer.concat([DRIVER_6, HELLO, LOGON, route, BEGIN, RUN, RESET]);
    for (let round = 0; round < 20_000; round += 1) {
      const bytes = Buffer.from(seedBytes);
      const keepHandshake = random() < 0.8 ? 20 : 0;
      const changes = 1 + Math.floor(random() * 8);
      for (let change = 0; change < changes; change += 1) {
        bytes[keepHandshake + Math.floor(random() * (bytes.length - keepHandshake))] = Math.floor(random() * 256);
      }
      const at = Math.floor(random() * bytes.length);
      const step = converse(codes[round % codes.length] ?? 'route.stopped', [
        bytes.subarray(0, at),
        bytes.subarray(at),
      ]);
      expect(step.bytes.length).toBeLessThan(4_096);
    }
  });
});

describe('the magic', () => {
  it('matches, rejects or needs more, at every length', () => {
    for (let length = 0; length < 4; length += 1) {
      expect(isBoltMagic(Buffer.from(MAGIC.slice(0, length)))).toBe('need-more');
    }
    expect(isBoltMagic(Buffer.from(MAGIC))).toBe('match');
    expect(isBoltMagic(DRIVER_6)).toBe('match');
    for (let at = 0; at < 4; at += 1) {
      const bytes = Buffer.from(MAGIC);
      bytes[at] = 0;
      expect(isBoltMagic(bytes)).toBe('reject');
      expect(isBoltMagic(bytes.subarray(0, at + 1))).toBe('reject');
    }
  });

  it('a wrong one ends the conversation without a reply', () => {
    const { bytes, end } = converse('route.stopped', [Buffer.from('GET / HTTP/1.1\r\n')]);
    expect([bytes.length, end]).toEqual([0, true]);
  });
});

/** Seeded, so that a failure can be replayed. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
