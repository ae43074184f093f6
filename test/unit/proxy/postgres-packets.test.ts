import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ERRORS, type RefusalCode } from '../../../core/errors.ts';
import { errorResponse } from '../../../proxy/protocols/postgres/error-response.ts';
import { Fuzz, SEED } from './fuzz.ts';
import { parseFirstPacket } from '../../../proxy/protocols/postgres/startup-message.ts';

function packet(code: number, body: string): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(body, 'latin1')]);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(code, 4);
  return bytes;
}

const STARTUP = packet(0x30002, 'user\0alice\0database\0postgres\0_pq_.x\0y\0\0');

describe('parseFirstPacket', () => {
  it('needs the whole packet, at every split, and no more', () => {
    for (let length = 0; length < STARTUP.length; length++) {
      const parsed = parseFirstPacket(STARTUP.subarray(0, length));
      expect(parsed).toEqual({ kind: 'need-more', atLeast: length < 8 ? 8 : STARTUP.length });
    }
    const expected = { kind: 'match', value: { kind: 'startup', length: STARTUP.length } };
    expect(parseFirstPacket(STARTUP)).toEqual(expected);
    expect(parseFirstPacket(Buffer.concat([STARTUP, randomBytes(9)]))).toEqual(expected);
  });

  it('recognizes a CancelRequest with keys of 4 to 256 bytes', () => {
    for (const key of [4, 32, 256]) {
      expect(parseFirstPacket(packet(80_877_102, 'x'.repeat(4 + key)))).toMatchObject({ value: { kind: 'cancel' } });
    }
  });

  it('accepts 10,000 bytes and rejects more before they arrive', () => {
    expect(parseFirstPacket(packet(0x30000, 'x'.repeat(9_992)))).toMatchObject({ kind: 'match' });
    expect(parseFirstPacket(packet(0x30000, 'x'.repeat(9_993)).subarray(0, 8))).toMatchObject({ kind: 'reject' });
  });

  it.each([
    ['SSLRequest', packet(80_877_103, '')],
    ['a second encryption request with a body', packet(80_877_104, 'xxxx')],
    ['protocol 2', packet(0x20000, 'xxxx')],
    ['protocol 4', packet(0x40000, 'xxxx')],
    ['an empty packet', packet(0x30000, '')],
    ['HTTP', Buffer.from('GET / HTTP/1.1')],
    ['its first letter', Buffer.from('G')],
    ['TLS inside TLS', Buffer.from([0x16, 3, 1, 0, 5])],
  ])('rejects %s', (_what, bytes) => {
    expect(parseFirstPacket(bytes)).toMatchObject({ kind: 'reject' });
  });

  it(`never throws (seed ${SEED})`, () => {
    const fuzz = new Fuzz();
    for (let round = 0; round < 50_000; round++) {
      const bytes = fuzz.bytes(round % 40);
      if (round % 2 === 0 && bytes.length > 1) bytes.fill(0, 0, 2);
      const parsed = parseFirstPacket(bytes);
      if (parsed.kind === 'need-more') expect(parsed.atLeast).toBeGreaterThan(bytes.length);
    }
  });
});

describe('errorResponse', () => {
  const codes = Object.keys(ERRORS).filter(
    (code): code is RefusalCode => code.startsWith('route.') || code === 'tls.required',
  );

  it.each(codes)('reports %s as a well-formed FATAL with SQLSTATE, detail and hint', (code) => {
    const frame = errorResponse({ code, message: 'Größe\0 of it.', hint: 'Do that.', requestId: 'abc' });
    expect(frame[0]).toBe(0x45);
    expect(frame.readUInt32BE(1)).toBe(frame.length - 1);
    const fields = frame.subarray(5).toString('utf8').split('\0');
    expect(fields.slice(-2)).toEqual(['', '']);
    expect(fields.slice(0, -2)).toEqual([
      'SFATAL',
      'VFATAL',
      expect.stringMatching(/^C(3D000|57P03|28000|53300)$/),
      'MGröße of it.',
      'DRequest id: abc.',
      'HDo that.',
    ]);
  });
});
