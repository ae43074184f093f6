import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errorCode, kindOfError } from '../../../core/error-code.ts';

test('the error of a file that does not exist', () => {
  try {
    readFileSync(join(import.meta.dirname, 'no-such-file'));
    expect.unreachable();
  } catch (error) {
    expect(errorCode(error)).toBe('ENOENT');
    expect(kindOfError(error)).toBe('absent');
  }
});

test.each([
  ['EEXIST', 'exists'],
  ['EACCES', 'forbidden'],
  ['EPERM', 'forbidden'],
  ['ECONNREFUSED', 'refused'],
  ['EADDRINUSE', 'address-in-use'],
  ['EAFNOSUPPORT', 'no-such-address'],
  ['EMFILE', 'no-descriptors'],
  ['ENFILE', 'no-descriptors'],
  ['ENOSPC', 'full'],
  ['EDQUOT', 'full'],
  ['EROFS', 'read-only'],
  ['ENOTDIR', 'not-a-directory'],
  ['ELOOP', 'link'],
  ['ENODATA', 'no-such-name'],
  ['ECONNRESET', 'other'],
  ['__proto__', 'other'],
  ['constructor', 'other'],
  ['', 'other'],
])('%s is %s, as code and as error', (code, kind) => {
  expect(kindOfError(code)).toBe(kind);
  expect(kindOfError(Object.assign(new Error('failed'), { code }))).toBe(kind);
});

test.each([null, undefined, 0, {}, { code: 'ENOENT' }, new Error('ENOENT'), Object.assign(new Error(), { code: 20 })])(
  'what is thrown without a code has none: %s',
  (thrown) => {
    expect(errorCode(thrown)).toBeNull();
    expect(kindOfError(thrown)).toBe('other');
  },
);
