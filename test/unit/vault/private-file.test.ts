import { expect, it } from 'vitest';
import { isPrivate } from '../../../control/vault/keyring-file.ts';

const GROUPS = [10_001, 20];

it.each([
  ['its owner alone may read it', 0o100600, 10_001, 10_001, true],
  ['root alone may read it', 0o100400, 0, 0, true],
  ['a Secret that is mounted for our group', 0o100440, 0, 10_001, true],
  ['the same, and the owner may write', 0o100640, 0, 10_001, true],
  ['a group of root that is not ours', 0o100440, 0, 30, false],
  ['root’s own group, which many a program is in', 0o100440, 0, 0, false],
  ['our group, but the file is a user’s', 0o100440, 10_001, 10_001, false],
  ['our group may write', 0o100460, 0, 10_001, false],
  ['others may read', 0o100444, 0, 10_001, false],
] as const)('the keyring when %s', (_case, mode, uid, gid, expected) => {
  expect(isPrivate({ mode, uid, gid }, GROUPS)).toBe(expected);
});
