import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { classifyFirstBytes } from '../../../proxy/sniff/first-bytes.ts';
import { Fuzz, SEED } from './fuzz.ts';
import { planSniff } from '../../../proxy/sniff/sniff.ts';

const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex');
const GSSENC_REQUEST = Buffer.from('0000000804d21630', 'hex');
const CANCEL_REQUEST = Buffer.from('0000001004d2162e0000000100000002', 'hex');
const STARTUP_3_0 = Buffer.from('0000001500030000', 'hex');
const STARTUP_3_2 = Buffer.from('0000001500030002', 'hex');
const NOTHING = { ssl: false, gssenc: false };

const VALID: readonly (readonly [ReturnType<typeof classifyFirstBytes>, Buffer])[] = [
  ['tls', Buffer.from([0x16])],
  ['tls', Buffer.from([0x14, 3])],
  ['tls', Buffer.from([0x15, 3])],
  ['tls', Buffer.from([0x17, 3])],
  ['ssl-request', SSL_REQUEST],
  ['gssenc-request', GSSENC_REQUEST],
  ['cancel-request', CANCEL_REQUEST.subarray(0, 8)],
  ['startup-message', STARTUP_3_0],
  ['startup-message', STARTUP_3_2],
  ['http', Buffer.from('GET ')],
  ['http', Buffer.from('OPTIONS ')],
  ['http', Buffer.from('PRI ')],
  ['http', Buffer.from('M-SEARCH ')],
  ['bolt', Buffer.from([0x60, 0x60, 0xb0, 0x17])],
];

describe('classifyFirstBytes', () => {
  it.each(VALID)(
    'recognizes %s at the earliest byte, asks for more before, and does not change the result after',
    (kind, bytes) => {
      for (let length = 0; length < bytes.length; length++) {
        expect(classifyFirstBytes(bytes.subarray(0, length))).toBe('need-more');
      }
      expect(classifyFirstBytes(bytes)).toBe(kind);
      expect(classifyFirstBytes(Buffer.concat([bytes, randomBytes(50)]))).toBe(kind);
    },
  );

  it.each([
    'SSH-2.0-OpenSSH_9.2\r\n',
    'get / HTTP/1.1\r\n',
    'GE\r\n',
    'A ',
    'EXTREMELYLONGMETHODNAME / HTTP/1.1',
    '\u0017\u0002\u0000',
    '\u0000\u0001',
    '\u0000\u0000\u0000\u0009\u0004\u00d2\u0016\u002f',
    '\u0000\u0000\u0000\u0008\u0000\u0003\u0000\u0000',
    '\u0000\u0000\u0000\u0020\u0000\u0002\u0000\u0000',
    '\u0000\u0000\u0000\u0008\u0004\u00d2\u0016\u002e',
    '``\u00b0\u0018',
    'Q\u0000\u0000\u0000',
  ])('does not recognize %j', (text) => {
    expect(classifyFirstBytes(Buffer.from(text, 'latin1'))).toBe('unknown');
  });

  it(`never throws and never waits for more than 21 bytes (seed ${SEED})`, () => {
    const fuzz = new Fuzz();
    for (let round = 0; round < 50_000; round++) {
      const bytes = fuzz.bytes(round % 30);
      const kind = classifyFirstBytes(bytes);
      if (bytes.length > 21) expect(kind).not.toBe('need-more');
    }
  });
});

describe('planSniff', () => {
  it('replies S to SSLRequest, and rejects bytes that did not wait for it', () => {
    expect(planSniff(SSL_REQUEST, NOTHING)).toMatchObject({
      kind: 'match',
      value: { answer: 'S', next: { ssl: true } },
    });
    const early = Buffer.concat([SSL_REQUEST, Buffer.from([0x16])]);
    expect(planSniff(early, NOTHING)).toEqual({ kind: 'reject', reason: 'early-bytes' });
  });

  it('replies N to GSSENCRequest once; SSLRequest or plaintext may follow', () => {
    const gssenc = { ssl: false, gssenc: true };
    expect(planSniff(GSSENC_REQUEST, NOTHING)).toMatchObject({ kind: 'match', value: { answer: 'N', next: gssenc } });
    expect(planSniff(GSSENC_REQUEST, gssenc)).toEqual({ kind: 'reject', reason: 'unrecognized' });
    expect(planSniff(SSL_REQUEST, gssenc)).toMatchObject({ value: { answer: 'S', next: { ssl: true, gssenc: true } } });
    expect(planSniff(STARTUP_3_0, gssenc)).toEqual({ kind: 'match', value: { kind: 'startup-message' } });
  });

  it('accepts only TLS after S', () => {
    const ssl = { ssl: true, gssenc: false };
    for (const bytes of [SSL_REQUEST, GSSENC_REQUEST, CANCEL_REQUEST, STARTUP_3_0, Buffer.from('GET / HTTP/1.1')]) {
      expect(planSniff(bytes, ssl)).toEqual({ kind: 'reject', reason: 'unrecognized' });
    }
    expect(planSniff(Buffer.from([0x16, 3, 1]), ssl)).toEqual({ kind: 'need-more', atLeast: 5 });
  });

  it(`always ends in a match, a rejection, or a request for more bytes than there are (seed ${SEED})`, () => {
    const fuzz = new Fuzz();
    for (let round = 0; round < 20_000; round++) {
      const bytes = fuzz.bytes(round % 40);
      const step = planSniff(bytes, { ssl: round % 2 === 0, gssenc: round % 3 === 0 });
      if (step.kind === 'need-more') expect(step.atLeast).toBeGreaterThan(bytes.length);
    }
  });
});
