import { expect, test } from 'vitest';
import { caCommand, trustText } from '../../../cli/commands/ca.ts';

test('it explains how programs and systems trust the development CA, even before anything runs', () => {
  const text = trustText('.podgate/ca.pem');
  for (const word of [
    'curl --cacert',
    'sslrootcert=',
    'NODE_EXTRA_CA_CERTS',
    'keytool',
    'update-ca-certificates',
    'macOS',
    'Windows',
    'Firefox',
  ]) {
    expect(text).toContain(word);
  }
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(125);
});

test.each([[['trust', 'x']], [['untrust']], [['trust', '--nonsense']]])('%j is refused', async (args) => {
  await expect(caCommand().parseAsync(args, { from: 'user' })).rejects.toThrow(/^error: (too many|unknown)/);
});
