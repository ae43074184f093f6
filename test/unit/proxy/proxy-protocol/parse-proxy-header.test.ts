import { isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../../../proxy/proxy-protocol/crc32c.ts';
import { looksLikeProxyHeader, parseProxyHeader } from '../../../../proxy/proxy-protocol/parse-proxy-header.ts';
import { VERSION_1_MAX_BYTES } from '../../../../proxy/proxy-protocol/version-1.ts';
import { VERSION_2_MAX_LENGTH } from '../../../../proxy/proxy-protocol/version-2.ts';
import { Fuzz, SEED } from '../fuzz.ts';
import { INVALID, VALID } from './vectors.ts';

/** A million and more in a long run: PODGATE_FUZZ_INPUTS=2000000. */
const INPUTS = Number(process.env['PODGATE_FUZZ_INPUTS'] ?? 60_000);
const INPUTS_TIMEOUT_MS = 60_000 + INPUTS / 5;
const HEADER_MAX_BYTES = 16 + VERSION_2_MAX_LENGTH;
const FOLLOWING = Buffer.from('\u0016\u0003\u0001 what the client says', 'latin1');

describe('parseProxyHeader', () => {
  it.each(VALID)('reads $name, whatever follows it', ({ bytes, source }) => {
    const wanted = { kind: 'match', value: { source, bytes: bytes.length } };
    expect(parseProxyHeader(bytes)).toEqual(wanted);
    expect(parseProxyHeader(Buffer.concat([bytes, FOLLOWING]))).toEqual(wanted);
  });

  it.each(VALID)('reads $name with any split, and never asks for too many bytes', ({ bytes }) => {
    for (let length = 0; length < bytes.length; length++) {
      const parsed = parseProxyHeader(bytes.subarray(0, length));
      if (parsed.kind !== 'need-more') throw new Error(`${parsed.kind} after ${length} bytes`);
      expect(parsed.atLeast).toBeGreaterThan(length);
      expect(parsed.atLeast).toBeLessThanOrEqual(bytes.length);
    }
  });

  it.each(INVALID)('rejects $name', ({ bytes }) => {
    expect(parseProxyHeader(bytes)).toMatchObject({ kind: 'reject' });
  });

  it.each(['\u0016\u0003\u0001', 'GET / HTTP/1.1\r\n', 'PROPFIND / ', 'PROXZ ', '\r\n\r\n\r', 'QUIT\n', '\u0000'])(
    'recognizes that %j is not one',
    (text) => {
      expect(parseProxyHeader(Buffer.from(text, 'latin1'))).toEqual({ kind: 'match', value: 'absent' });
    },
  );

  it('accepts the block up to its limit, in vectors of any size', () => {
    const block = Buffer.alloc(VERSION_2_MAX_LENGTH);
    block[12] = 4;
    block.writeUInt16BE(VERSION_2_MAX_LENGTH - 15, 13);
    const length = Buffer.from([VERSION_2_MAX_LENGTH >> 8, VERSION_2_MAX_LENGTH & 255]);
    const head = Buffer.from('0d0a0d0a000d0a515549540a2111', 'hex');
    const header = Buffer.concat([head, length, block]);
    expect(parseProxyHeader(header)).toMatchObject({ kind: 'match', value: { bytes: HEADER_MAX_BYTES } });
  });

  it(
    `never throws, never waits for more than a header may have, and returns only addresses (${INPUTS} inputs, seed ${SEED})`,
    () => {
      const fuzz = new Fuzz();
      const seen = { match: 0, reject: 0, 'need-more': 0 };
      for (let input = 0; input < INPUTS; input++) {
        const bytes = inputOf(fuzz, input);
        const parsed = parseProxyHeader(bytes);
        seen[parsed.kind]++;
        const problem = problemOf(parsed, bytes);
        if (problem !== null) throw new Error(`${problem}: ${bytes.toString('hex')}`);
      }
      // Otherwise the inputs would not reach what they are for.
      for (const count of Object.values(seen)) expect(count).toBeGreaterThan(INPUTS / 50);
    },
    INPUTS_TIMEOUT_MS,
  );
});

/** Damaged headers, headers cut off, headers with noise behind them, and noise behind a signature. */
function inputOf(fuzz: Fuzz, input: number): Buffer {
  const vector = VALID[input % VALID.length]?.bytes ?? Buffer.alloc(0);
  switch (Math.floor(input / VALID.length) % 4) {
    case 0:
      return fuzz.damaged(vector);
    case 1:
      return fuzz.damaged(vector).subarray(0, input % vector.length);
    case 2:
      return Buffer.concat([vector, fuzz.bytes(input % 40)]);
    default:
      return Buffer.concat([vector.subarray(0, vector[0] === 0x50 ? 6 : 16), fuzz.bytes(input % 130)]);
  }
}

function problemOf(parsed: ReturnType<typeof parseProxyHeader>, bytes: Buffer): string | null {
  if (parsed.kind === 'reject') return null;
  if (parsed.kind === 'need-more') {
    if (parsed.atLeast <= bytes.length) return 'asks for what it has';
    const most = bytes[0] === 0x50 ? VERSION_1_MAX_BYTES : HEADER_MAX_BYTES;
    return parsed.atLeast > most ? 'waits for too much' : null;
  }
  if (parsed.value === 'absent') return null;
  const { source, bytes: length } = parsed.value;
  if (length > bytes.length) return 'is longer than the bytes';
  if (source.kind !== 'client') return null;
  if (isIP(source.address) === 0 || source.address.startsWith('::ffff:')) return `tells ${source.address}`;
  return Number.isInteger(source.port) && source.port >= 0 && source.port <= 65_535 ? null : `tells ${source.port}`;
}

describe('looksLikeProxyHeader', () => {
  it('recognizes both versions once their signature has arrived', () => {
    for (const { bytes } of VALID) {
      expect(looksLikeProxyHeader(bytes)).toBe(true);
      expect(looksLikeProxyHeader(bytes.subarray(0, 5))).toBe(false);
    }
    expect(looksLikeProxyHeader(Buffer.from('GET / HTTP/1.1\r\n'))).toBe(false);
  });
});

describe('crc32c', () => {
  it.each([
    // RFC 3720 B.4.
    ['00'.repeat(32), 0x8a9136aa],
    ['ff'.repeat(32), 0x62a8ab43],
    [Buffer.from(Array.from({ length: 32 }, (_, index) => index)).toString('hex'), 0x46dd794e],
    [Buffer.from('123456789').toString('hex'), 0xe3069283],
  ])('of %s', (hex, sum) => {
    expect(crc32c(Buffer.from(hex, 'hex'))).toBe(sum);
  });
});
