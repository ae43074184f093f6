import { describe, expect, it } from 'vitest';
import { chunked, packEmpty, packMessage } from '../../../../proxy/protocols/bolt/packstream.ts';
import { RouteTable } from '../../../../proxy/routes/route-table.ts';
import { PodUses } from '../../../../proxy/use/pod-uses.ts';
import { SessionUse } from '../../../../proxy/use/session-use.ts';
import { StreamUse } from '../../../../proxy/use/stream-use.ts';
import { Fuzz, SEED } from '../fuzz.ts';

const HANDSHAKE = Buffer.from('6060b017000001ff000808050002040400000003', 'hex');
const CHOSEN = Buffer.from('00000405', 'hex');
/** Two ranges and no capabilities; the client chooses 5.8. */
const OFFERS = Buffer.from('000001ff020008080500020404' + '00', 'hex');
const CHOICE = Buffer.from('0000080500', 'hex');
const request = (tag: number): Buffer => chunked(packMessage(tag, { a: 1 }));
const [HELLO, RESET, RUN, BEGIN, COMMIT, PULL, ROUTE, LOGON] = [
  ...[request(0x01), chunked(packEmpty(0x0f)), request(0x10), request(0x11), chunked(packEmpty(0x12))],
  ...[request(0x3f), request(0x66), request(0x6a)],
] as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];
const SUCCESS = chunked(packMessage(0x70, {}));
/** {has_more: true} */
const MORE = chunked(Buffer.from('b170a1886861735f6d6f7265c3', 'hex'));
const FAILURE = chunked(packMessage(0x7f, { code: 'x' }));
const RECORD = chunked(packMessage(0x71, { text: 'has_more'.repeat(20) }));

class Session {
  readonly #clock = { now: (): number => 1_000 };
  readonly #pod = new PodUses(new RouteTable(), this.#clock).of('uid');
  readonly #use = new StreamUse(new SessionUse(this.#pod));

  client(...pieces: readonly Buffer[]): this {
    for (const piece of pieces) this.#use.client(piece);
    return this;
  }

  server(...pieces: readonly Buffer[]): this {
    for (const piece of pieces) this.#use.server(piece);
    return this;
  }

  get because(): Record<string, number> {
    return this.#pod.because;
  }

  get lastUsedMs(): number | null {
    return this.#pod.lastUsedMs;
  }
}

const shaken = (): Session => new Session().client(HANDSHAKE).server(CHOSEN);

describe('a Bolt session', () => {
  it('is not in use by housekeeping messages', () => {
    const session = shaken().client(HELLO, LOGON, ROUTE, RESET, Buffer.from('0000', 'hex'));
    expect(session.because).toEqual({});
    session.server(SUCCESS, SUCCESS, SUCCESS, SUCCESS, Buffer.from('0000', 'hex'));
    expect(session.because).toEqual({});
    expect(session.lastUsedMs).toBeNull();
  });

  it('is in use from RUN until its result is read completely', () => {
    const session = shaken().client(RUN, PULL);
    expect(session.because).toEqual({ queries: 1 });
    session.server(SUCCESS, RECORD, MORE);
    expect(session.because).toEqual({ queries: 1 });
    session.client(PULL).server(RECORD, SUCCESS);
    expect(session.because).toEqual({});
    expect(session.lastUsedMs).toBe(1_000);
  });

  it('is in use while a transaction is open: until COMMIT, a failure or RESET', () => {
    for (const end of [
      (session: Session) => session.client(COMMIT).server(SUCCESS),
      (session: Session) => session.client(RUN).server(FAILURE),
      (session: Session) => session.client(RESET).server(SUCCESS),
    ]) {
      const session = shaken().client(BEGIN).server(SUCCESS).client(RUN, PULL).server(SUCCESS, RECORD, SUCCESS);
      expect(session.because).toEqual({ transactions: 1 });
      end(session);
      expect(session.because).toEqual({});
    }
  });

  it('is read after a handshake with a manifest, and with any split of its bytes', () => {
    const client = Buffer.concat([CHOICE, HELLO, LOGON, BEGIN]);
    const server = Buffer.concat([OFFERS, SUCCESS, SUCCESS, SUCCESS]);
    for (let size = 1; size < 40; size++) {
      const session = new Session().client(HANDSHAKE);
      for (let at = 0; at < OFFERS.length; at += size)
        session.server(OFFERS.subarray(at, Math.min(at + size, OFFERS.length)));
      for (let at = 0; at < client.length; at += size) session.client(client.subarray(at, at + size));
      for (let at = OFFERS.length; at < server.length; at += size) session.server(server.subarray(at, at + size));
      expect(session.because).toEqual({ transactions: 1 });
    }
  });

  it(`accepts any bytes (seed ${SEED})`, () => {
    const fuzz = new Fuzz();
    const client = Buffer.concat([HELLO, LOGON, BEGIN, RUN, PULL, COMMIT, RESET]);
    const server = Buffer.concat([OFFERS, SUCCESS, SUCCESS, RECORD, MORE, FAILURE]);
    for (let round = 0; round < 2_000; round++) {
      const session = new Session().client(HANDSHAKE).server(fuzz.damaged(server)).client(fuzz.damaged(client));
      session.server(fuzz.damaged(server), fuzz.bytes(40)).client(fuzz.bytes(40));
      for (const count of Object.values(session.because)) expect(count).toBe(1);
    }
  });
});

describe('another TCP session', () => {
  it('is in use with every byte, whichever side sends first', () => {
    expect(new Session().client(Buffer.from('EHLO')).lastUsedMs).toBe(1_000);
    expect(new Session().server(Buffer.from('220')).lastUsedMs).toBe(1_000);
    expect(new Session().client(Buffer.from('x')).because).toEqual({});
  });
});
