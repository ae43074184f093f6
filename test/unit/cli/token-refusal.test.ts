import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

import { issueToken } from '../../../cli/token/issue-token.ts';
import { makeTokenKey } from '../../../control/auth/token-key.ts';

const dataDir = mkdtempSync(join(tmpdir(), 'podgate-token-'));
afterAll(() => rmSync(dataDir, { recursive: true }));

test('where pods are not isolated, no token is signed for a user unless the operator has confirmed that all users trust each other', async () => {
  await makeTokenKey(join(dataDir, 'token.key'));
  const sign = (env: Record<string, string>, isSeparated: boolean) =>
    issueToken('bob', '1h', null, { env: { PODGATE_DATA_DIR: dataDir, ...env }, isSeparated: () => isSeparated });
  await expect(sign({}, false)).rejects.toThrow(/no token for bob: .*PODGATE_ALLOW_SHARED_UID=yes.*admin\.token/);
  for (const signed of [sign({ PODGATE_ALLOW_SHARED_UID: 'yes' }, false), sign({}, true)]) {
    expect((await signed).split('.')).toHaveLength(3);
  }
});
