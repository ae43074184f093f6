import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { inRecords, realHello } from '../../support/client-hellos.ts';
import { sessionOf } from '../../support/tls-session.ts';
import { Fuzz, SEED } from './fuzz.ts';
import { CLIENT_HELLO_MAX_BYTES, normalizeServerName, parseClientHello } from '../../../proxy/sniff/client-hello.ts';

/** A minimal hello with the extensions given as [type, data]. */
function madeHello(extensions: readonly (readonly [number, Buffer])[], records = 16_384): Buffer {
  const list = Buffer.concat(
    extensions.map(([type, data]) => Buffer.concat([uint16(type), uint16(data.length), data])),
  );
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    Buffer.from([0, 2, 0x13, 0x01]),
    Buffer.from([1, 0]),
    uint16(list.length),
    list,
  ]);
  const message = Buffer.concat([
    Buffer.from([1, body.length >> 16, (body.length >> 8) & 255, body.length & 255]),
    body,
  ]);
  return inRecords(Buffer.concat([Buffer.alloc(5), message]), records);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function serverName(name: string): readonly [number, Buffer] {
  const bytes = Buffer.from(name, 'latin1');
  return [0, Buffer.concat([uint16(bytes.length + 3), Buffer.from([0]), uint16(bytes.length), bytes])];
}

describe('parseClientHello', () => {
  it('reads name and ALPN of a real ClientHello', async () => {
    const hello = await realHello({ servername: 'MyPg.pods.localhost', ALPNProtocols: ['h2', 'http/1.1'] });
    expect(parseClientHello(hello)).toEqual({
      kind: 'match',
      value: { serverName: 'mypg.pods.localhost', alpn: ['h2', 'http/1.1'] },
    });
    expect(parseClientHello(await realHello({}))).toEqual({
      kind: 'match',
      value: { serverName: null, alpn: [] },
    });
  });

  it('asks for more bytes at every split, never for too many, and gives the same result', async () => {
    const options = { servername: 'mypg.pods.localhost', ALPNProtocols: ['postgresql'] };
    const hello = await realHello(options);
    for (const size of [1, 2, 3, 5, 61, 500, 16_384]) {
      const whole = inRecords(hello, size);
      // 1,024 records are the most: the smallest sizes cut a post-quantum hello into more.
      if (whole.length / (size + 5) > 1_000) continue;
      const expected = parseClientHello(whole);
      expect(expected).toMatchObject({ kind: 'match', value: { serverName: options.servername } });
      for (let length = 0; length < whole.length; length++) {
        const partial = parseClientHello(whole.subarray(0, length));
        expect(partial.kind).toBe('need-more');
        if (partial.kind !== 'need-more') return;
        expect(partial.atLeast).toBeGreaterThan(length);
        expect(partial.atLeast).toBeLessThanOrEqual(whole.length);
      }
      expect(parseClientHello(Buffer.concat([whole, randomBytes(100)]))).toEqual(expected);
    }
  });

  it('accepts a ClientHello of 60 KB and rejects one beyond 64 KiB before it has arrived', () => {
    const padding = (bytes: number): readonly [number, Buffer] => [21, Buffer.alloc(bytes)];
    const large = madeHello([padding(60_000), serverName('a.pods.localhost')]);
    expect(parseClientHello(large)).toMatchObject({ kind: 'match', value: { serverName: 'a.pods.localhost' } });
    const beyond = Buffer.from([22, 3, 1, 0x40, 0, 1, 1, 0, 0, ...Buffer.alloc(16_380)]);
    expect(beyond.readUIntBE(6, 3)).toBe(CLIENT_HELLO_MAX_BYTES);
    const claims = Buffer.from(beyond);
    claims.writeUIntBE(CLIENT_HELLO_MAX_BYTES + 1, 6, 3);
    expect(parseClientHello(claims)).toMatchObject({ kind: 'reject' });
  });

  it.each([
    ['another record', Buffer.from([23, 3, 3, 0, 1, 0])],
    ['an old version', Buffer.from([22, 2, 0, 0, 1, 0])],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
    ['another handshake message', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
    ['an empty ALPN entry', madeHello([[16, Buffer.from([0, 1, 0])]])],
    ['a name list that is cut short', madeHello([[0, Buffer.from([0, 9, 0, 0, 6, 97])]])],
  ])('rejects %s', (_what, bytes) => {
    expect(parseClientHello(bytes)).toMatchObject({ kind: 'reject' });
  });

  it.each([
    ['an IPv6 address', '::1'],
    ['a port', 'a.pods.localhost:443'],
    ['a character that is not ASCII', 'b\u00fccher.pods.localhost'],
    ['a space', 'a b'],
    ['NUL', 'a\0b'],
    ['254 characters', `${'a'.repeat(63)}.`.repeat(4).slice(0, 254)],
    ['nothing', ''],
  ])('treats a name with %s as no name', (_what, name) => {
    expect(parseClientHello(madeHello([serverName(name)]))).toMatchObject({
      kind: 'match',
      value: { serverName: null },
    });
  });

  it('removes one trailing dot of a name and converts it to lower case', () => {
    expect(normalizeServerName('A.Pods.Localhost.')).toBe('a.pods.localhost');
    expect(normalizeServerName('a..')).toBeNull();
    expect(normalizeServerName('.')).toBeNull();
  });

  it(`never throws, with any bytes and any damage to a real ClientHello (seed ${SEED})`, async () => {
    const fuzz = new Fuzz();
    const hello = await realHello({ servername: 'mypg.pods.localhost', ALPNProtocols: ['h2', 'http/1.1'] });
    const resuming = await realHello({ session: await sessionOf(randomBytes(48), 'TLSv1.3') });
    for (let round = 0; round < 5_000; round++) {
      const noise = fuzz.bytes(10 + (round % 200));
      // Past the outer gates, or nothing inside is ever reached.
      noise.set([22, 3, 1, 0, noise.length - 5, 1, 0, 0, noise.length - 9]);
      for (const bytes of [fuzz.damaged(hello), fuzz.damaged(resuming), fuzz.bytes(round % 60), noise]) {
        expect(['match', 'reject', 'need-more']).toContain(parseClientHello(bytes).kind);
      }
    }
  });
});
