import { describe, expect, it } from 'vitest';
import { compileAddressList } from '../../../../core/address-range.ts';
import { realClient } from '../../../../proxy/protocols/http/exchange/real-client.ts';

const TRUSTED = compileAddressList(['10.0.0.0/8', '2001:db8::/32']);
const from = (chain: string, peer = '10.0.0.1') => realClient(['X-Forwarded-For', chain], peer, TRUSTED);

describe('the address of the client', () => {
  it('is that of the connection, whatever its headers say, unless it is a trusted proxy', () => {
    for (const trusted of [null, TRUSTED]) {
      expect(realClient(['X-Forwarded-For', '6.6.6.6'], '192.0.2.1', trusted)).toEqual({
        address: '192.0.2.1',
        passedOn: null,
      });
    }
  });

  it('is the nearest that is not a trusted proxy; entries before it are ignored, because anyone could have written them', () => {
    expect(from('6.6.6.6, 192.0.2.9, 10.1.1.1')).toMatchObject({
      address: '192.0.2.9',
      passedOn: { forwardedFor: '192.0.2.9, 10.1.1.1, 10.0.0.1' },
    });
    expect(from('2001:db8::5 ,  ::ffff:192.0.2.9').address).toBe('192.0.2.9');
  });

  it('is the last readable one where the chain breaks off', () => {
    for (const broken of ['unknown', '6.6.6.6, "evil"', '192.0.2.9:4711', '', '6.6.6.6, 10.2.2.2\u0000']) {
      expect(from(broken).address).toBe('10.0.0.1');
    }
    expect(from('_hidden, 10.2.2.2').address).toBe('10.2.2.2');
    expect(from(Array.from({ length: 1_000 }, () => '10.2.2.2').join(',')).passedOn?.forwardedFor.length).toBeLessThan(
      200,
    );
  });

  it('keeps the scheme, host and port that the proxy reports, if valid', () => {
    const raw = ['x-forwarded-proto', 'HTTP', 'X-Forwarded-Host', 'shop.example.org', 'X-Forwarded-Port', '80'];
    expect(realClient(raw, '10.0.0.1', TRUSTED).passedOn).toMatchObject({
      proto: 'http',
      host: 'shop.example.org',
      port: '80',
    });
    const wrong = ['x-forwarded-proto', 'gopher', 'X-Forwarded-Host', 'a b', 'X-Forwarded-Port', 'x'];
    expect(realClient(wrong, '10.0.0.1', TRUSTED).passedOn).toMatchObject({ proto: 'https', host: null, port: null });
  });
});
