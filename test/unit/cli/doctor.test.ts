import type { PeerCertificate } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { lineOf } from '../../../cli/commands/doctor.ts';
import { judgeAddresses } from '../../../cli/doctor/examine-addresses.ts';
import { judgeCertificate } from '../../../cli/doctor/examine-gateway.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const DAY_MS = 86_400_000;
const shown = (days: number, names = 'DNS:example.org, DNS:*.pods.example.org', distrust: string | null = null) => ({
  certificate: { subjectaltname: names, valid_to: new Date(NOW + days * DAY_MS).toUTCString() } as PeerCertificate,
  distrust,
});

describe('what the doctor says of a certificate', () => {
  it.each([
    ['ok', 'example.org', shown(60)],
    ['ok', 'podgate-doctor.pods.example.org', shown(60)],
    ['warn', 'example.org', shown(20)],
    ['fail', 'example.org', shown(-1)],
    ['warn', 'example.org', shown(60, 'DNS:example.org', 'SELF_SIGNED_CERT_IN_CHAIN')],
    ['fail', 'podgate-doctor.pods.example.org', shown(60, 'DNS:example.org')],
    // A star stands for one label.
    ['fail', 'podgate-doctor.pods.example.org', shown(60, 'DNS:*.example.org')],
    // Expired is worse than not trusted.
    ['fail', 'example.org', shown(-1, 'DNS:example.org', 'CERT_HAS_EXPIRED')],
  ] as const)('%s for %s', (level, host, certificate) => {
    expect(judgeCertificate(host, certificate, NOW).level).toBe(level);
  });
});

it('a replica listens on every address that its pod has', () => {
  expect(judgeAddresses('::', ['10.1.2.3', 'fd10::3'])).toMatchObject({ level: 'ok' });
  expect(judgeAddresses('0.0.0.0', ['10.1.2.3'])).toMatchObject({ level: 'ok' });
  const missed = judgeAddresses('0.0.0.0', ['10.1.2.3', 'fd10::3']);
  expect(missed?.level).toBe('warn');
  expect(missed?.message).toContain('this machine also has fd10::3.');
  expect(judgeAddresses('10.1.2.3', ['10.1.2.3', 'fd10::3'])).toBeNull();
});

it('says what to do when action is needed', () => {
  expect(lineOf({ level: 'ok', subject: 'clock', message: 'It is right.', remedy: '' })).toBe(
    'ok    clock: It is right.\n',
  );
  expect(lineOf({ level: 'fail', subject: 'clock', message: 'It is wrong.', remedy: 'Set it.' })).toBe(
    'FAIL  clock: It is wrong. Set it.\n',
  );
});
