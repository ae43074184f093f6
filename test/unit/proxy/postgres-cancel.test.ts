import { describe, expect, it } from 'vitest';
import type { Route } from '../../../core/route.ts';
import { BackendKeyParser } from '../../../proxy/protocols/postgres/cancel/backend-key.ts';
import { CANCEL_KEYS_PER_POD_MAX, CancelKeys } from '../../../proxy/protocols/postgres/cancel/cancel-keys.ts';
import { cancelRequest, parseCancelRequest } from '../../../proxy/protocols/postgres/cancel/cancel-request.ts';
import {
  GUESSES_PER_ADDRESS,
  GUESSES_PER_WORKER,
  GuessLimit,
} from '../../../proxy/protocols/postgres/cancel/guess-limit.ts';
import { BUCKET_ADDRESSES_MAX } from '../../../proxy/limits/token-bucket.ts';
import { Fuzz, SEED } from './fuzz.ts';

function message(type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.concat([Buffer.from(type), Buffer.alloc(4), Buffer.from(body)]);
  bytes.writeUInt32BE(bytes.length - 1, 1);
  return bytes;
}

const READY = message('Z', 'I');
const key = (secretBytes: number): Buffer => Buffer.from(Array.from({ length: 4 + secretBytes }, (_, at) => at & 0xff));

/** What a server says from AuthenticationSASL to ReadyForQuery, with a key of this size or none. */
function beginning(secretBytes: number | null): Buffer {
  return Buffer.concat([
    message('v', Buffer.from('0003000000000000', 'hex')),
    message('R', Buffer.from('0000000a534352414d2d5348412d3235360000', 'hex')),
    message('N', 'a notice'),
    message('R', Buffer.alloc(4)),
    message('S', 'server_version\x0018.4\0'),
    message('S', ''),
    secretBytes === null ? Buffer.alloc(0) : message('K', key(secretBytes)),
    READY,
  ]);
}

describe('BackendKeyParser', () => {
  it.each([4, 32, 256])('finds a key of %i bytes, at every split', (secretBytes) => {
    const bytes = beginning(secretBytes);
    const expected = { kind: 'match', value: key(secretBytes) };
    const keyEnd = bytes.length - READY.length;
    for (let split = 0; split <= bytes.length; split++) {
      const parser = new BackendKeyParser();
      const first = parser.push(bytes.subarray(0, split));
      if (split >= keyEnd) expect(first).toEqual(expected);
      else {
        expect(first.kind).toBe('need-more');
        // Never more than is still to come.
        expect(first).toMatchObject({
          atLeast: expect.toSatisfy((at: number) => at > split && at <= keyEnd) as number,
        });
        expect(parser.push(bytes.subarray(split))).toEqual(expected);
      }
    }
    const single = new BackendKeyParser();
    for (const byte of bytes.subarray(0, keyEnd - 1)) expect(single.push(Buffer.of(byte)).kind).toBe('need-more');
    expect(single.push(bytes.subarray(keyEnd - 1, keyEnd))).toEqual(expected);
  });

  it('ends at ReadyForQuery, recognized by its type alone', () => {
    const bytes = beginning(null);
    for (let split = 0; split < bytes.length - READY.length; split++) {
      const parser = new BackendKeyParser();
      expect(parser.push(bytes.subarray(0, split)).kind).toBe('need-more');
      expect(parser.push(bytes.subarray(split)).kind).toBe('reject');
    }
    expect(new BackendKeyParser().push(bytes.subarray(0, bytes.length - READY.length + 1)).kind).toBe('reject');
  });

  it.each([
    ['a key too short', message('K', key(3))],
    ['a key too long', message('K', key(257))],
    ['a length that does not count itself', Buffer.from('5300000003', 'hex')],
    ['a message too long', Buffer.from('5200010005', 'hex')],
    ['a negative length', Buffer.from('52ffffffff', 'hex')],
    ['a message that has no place there', message('T', 'row')],
    ['no Postgres at all', Buffer.from('HTTP/1.1 200 OK')],
  ])('rejects %s', (_what, bytes) => {
    expect(new BackendKeyParser().push(bytes).kind).toBe('reject');
  });

  it('gives up on a server that sends too much', () => {
    const parser = new BackendKeyParser();
    const notice = message('N', 'x'.repeat(10_000));
    let count = 0;
    while (parser.push(notice).kind === 'need-more') count++;
    expect(count).toBe(Math.floor(131_072 / notice.length));
  });

  it(`never throws, and gives the same result with any split of the bytes (seed ${SEED})`, () => {
    const fuzz = new Fuzz();
    const whole = beginning(32);
    for (let round = 0; round < 20_000; round++) {
      const bytes = round % 2 === 0 ? fuzz.damaged(whole) : fuzz.bytes(round % 60);
      const outcome = new BackendKeyParser().push(bytes);
      const parser = new BackendKeyParser();
      let pieces = parser.push(bytes.subarray(0, 0));
      for (let at = 0; at < bytes.length && pieces.kind === 'need-more'; at += 7) {
        pieces = parser.push(bytes.subarray(at, at + 7));
      }
      expect(pieces.kind).toBe(outcome.kind);
      if (outcome.kind === 'match') expect(pieces).toEqual(outcome);
    }
  });
});

describe('parseCancelRequest', () => {
  it.each([4, 32, 256])('needs the whole packet with a key of %i bytes, at every split, and no more', (secretBytes) => {
    const packet = cancelRequest(key(secretBytes));
    for (let length = 0; length < packet.length; length++) {
      const atLeast = length < 8 ? 8 : packet.length;
      expect(parseCancelRequest(packet.subarray(0, length))).toEqual({ kind: 'need-more', atLeast });
    }
    expect(parseCancelRequest(packet)).toEqual({ kind: 'match', value: key(secretBytes) });
    expect(parseCancelRequest(Buffer.concat([packet, READY]))).toEqual({ kind: 'match', value: key(secretBytes) });
  });

  it('rejects keys of other sizes before they arrive, and other packets', () => {
    expect(cancelRequest(key(4)).toString('hex')).toBe('0000001004d2162e0001020304050607');
    for (const secretBytes of [0, 3, 257]) {
      expect(parseCancelRequest(cancelRequest(key(secretBytes)).subarray(0, 8)).kind).toBe('reject');
    }
    expect(parseCancelRequest(Buffer.from('ffffffff04d2162e', 'hex')).kind).toBe('reject');
    expect(parseCancelRequest(Buffer.from('0000000804d2162f', 'hex')).kind).toBe('reject');
  });
});

function session(uid: string, port = 5432) {
  const route: Route = {
    host: `${uid}.pods.localhost`,
    tenant: 'dev',
    podId: uid,
    uid,
    stanza: 'default',
    protocol: 'postgres',
    status: 'RUNNING',
    backend: { uid, address: '127.0.0.1', port, service: null },
    ipAllowList: [],
  };
  return { route, address: '127.0.0.1', port };
}

describe('CancelKeys', () => {
  it('finds a key as long as one of its sessions is open', () => {
    const keys = new CancelKeys();
    const [first, second] = [session('a'), session('a')];
    const removeFirst = keys.add(key(4), first);
    const removeSecond = keys.add(key(4), second);
    expect(keys.find(key(5))).toEqual([]);
    // One packet is enough for a backend.
    expect(keys.find(key(4))).toEqual([second]);
    removeFirst?.();
    removeFirst?.();
    expect(keys.find(key(4))).toEqual([second]);
    removeSecond?.();
    expect(keys.find(key(4))).toEqual([]);
    expect(keys.snapshot()).toEqual({ keys: 0, pods: 0 });
  });

  it('never replaces the key of another pod that has the same one', () => {
    const keys = new CancelKeys();
    const victim = session('victim');
    keys.add(key(32), victim);
    const hostile = Array.from({ length: CANCEL_KEYS_PER_POD_MAX + 5 }, (_, at) =>
      keys.add(key(32), session('hostile', 1 + at)),
    );
    expect(hostile.filter((remove) => remove === null)).toHaveLength(5);
    expect(keys.find(key(32))).toContain(victim);
    expect(keys.find(key(32))).toHaveLength(1 + CANCEL_KEYS_PER_POD_MAX);
    for (const remove of hostile) remove?.();
    expect(keys.find(key(32))).toEqual([victim]);
  });

  it('has a limit for each pod; further keys are refused until others are removed', () => {
    const keys = new CancelKeys();
    const numbered = (at: number): Buffer => Buffer.from(String(at).padStart(8, '0'));
    const removes = Array.from({ length: CANCEL_KEYS_PER_POD_MAX }, (_, at) => keys.add(numbered(at), session('a')));
    expect(removes).not.toContain(null);
    expect(keys.add(numbered(5_000), session('a'))).toBeNull();
    expect(keys.find(numbered(5_000))).toEqual([]);
    expect(keys.add(numbered(5_000), session('b'))).not.toBeNull();
    removes[7]?.();
    expect(keys.add(numbered(5_001), session('a'))).not.toBeNull();
    expect(keys.snapshot()).toEqual({ keys: CANCEL_KEYS_PER_POD_MAX + 1, pods: 2 });
  });
});

describe('GuessLimit', () => {
  function limit() {
    const clock = { nowMs: 0, monotonicMs: () => clock.nowMs };
    return { clock, guesses: new GuessLimit(clock) };
  }

  it('allows an address a number of wrong guesses, then a rate; a /64 counts as one address', () => {
    const { clock, guesses } = limit();
    for (let miss = 0; miss < GUESSES_PER_ADDRESS.most; miss++) {
      expect(guesses.mayTry('2001:db8::1')).toBe(true);
      expect(guesses.missed(`2001:db8::${miss}`)).toBe(true);
    }
    expect(guesses.mayTry('2001:db8::1')).toBe(false);
    expect(guesses.missed('2001:db8::2')).toBe(false);
    expect(guesses.mayTry('192.0.2.1')).toBe(true);
    clock.nowMs += 1_000 / GUESSES_PER_ADDRESS.perSecond - 1;
    expect(guesses.mayTry('2001:db8::1')).toBe(false);
    clock.nowMs += 1;
    expect(guesses.mayTry('2001:db8::1')).toBe(true);
    expect(guesses.missed('2001:db8::1')).toBe(true);
    expect(guesses.mayTry('2001:db8::1')).toBe(false);
    // Never more than at first, however long it waits.
    clock.nowMs += 3_600_000;
    let granted = 0;
    while (guesses.missed('2001:db8::1')) granted++;
    expect(granted).toBe(GUESSES_PER_ADDRESS.most);
  });

  it('limits the rate of questions to other workers in all, but still looks up keys', () => {
    const { clock, guesses } = limit();
    const address = (at: number): string => `10.0.${at >> 8}.${at & 255}`;
    for (let at = 0; at < GUESSES_PER_WORKER.most; at++) expect(guesses.missed(address(at))).toBe(true);
    expect(guesses.missed('192.0.2.1')).toBe(false);
    expect(guesses.mayTry('192.0.2.1')).toBe(true);
    clock.nowMs += 1_000 / GUESSES_PER_WORKER.perSecond;
    expect(guesses.missed('192.0.2.1')).toBe(true);
  });

  it('an address that has used up its guesses does not affect others', () => {
    const { guesses } = limit();
    for (let miss = 0; miss < 10 * GUESSES_PER_WORKER.most; miss++) guesses.missed('192.0.2.1');
    expect(guesses.missed('192.0.2.2')).toBe(true);
  });

  it('remembers a limited number of addresses, and forgets the one with the oldest guess', () => {
    const { guesses } = limit();
    for (let miss = 0; miss < GUESSES_PER_ADDRESS.most; miss++) guesses.missed('192.0.2.1');
    const address = (at: number): string => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`;
    for (let at = 0; at < BUCKET_ADDRESSES_MAX - 1; at++) guesses.missed(address(at));
    expect(guesses.mayTry('192.0.2.1')).toBe(false);
    guesses.missed(address(BUCKET_ADDRESSES_MAX));
    expect(guesses.mayTry('192.0.2.1')).toBe(true);
  });
});
