import { expect, test } from 'vitest';
import { caCommand } from '../../../cli/ca-command.ts';

test('how to trust the development CA is told for programs and systems, also before anything runs', () => {
  for (const args of [['trust', '--help'], ['--help']]) {
    const text = caCommand(args);
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
  }
});

test.each([[[]], [['trust', 'x']], [['untrust']], [['trust', '--help', 'x']]])(
  '%j is refused with how to use it',
  (args) => {
    expect(() => caCommand(args)).toThrow('usage: npx podgate ca trust');
  },
);
