import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeTokenKey } from '../../../control/auth/token-key.ts';
import { type AdminTokenOptions, keepAdminToken, writeAdminToken } from '../../../main/control/admin-token.ts';
import { silentLog } from '../../support/silent-log.ts';

let directory: string;
let options: AdminTokenOptions;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-token-'));
  options = {
    path: join(directory, 'admin.token'),
    tenant: {
      id: 'dev',
      baseHost: 'localhost',
      issuer: 'https://localhost/v3/tokens',
      key: null,
      administrators: [],
      services: [],
      oauth: null,
    },
    key: await makeTokenKey(join(directory, 'token.key')),
    log: silentLog,
  };
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('the token file is readable by its owner only', async () => {
  expect(await writeAdminToken(options)).toBe(true);
  expect(statSync(options.path).mode & 0o777).toBe(0o600);
  expect(readFileSync(options.path, 'utf8')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
});

test('a failure to write it is reported, and the existing file stays', async () => {
  await writeAdminToken(options);
  const before = readFileSync(options.path, 'utf8');
  // As on a full disk, nothing can be written aside.
  mkdirSync(`${options.path}.new`);
  expect(await writeAdminToken(options)).toBe(false);
  expect(readFileSync(options.path, 'utf8')).toBe(before);
});

test('renewing it stops on request', async () => {
  const stop = new AbortController();
  const kept = keepAdminToken(options, true, stop.signal);
  stop.abort();
  await kept;
});
