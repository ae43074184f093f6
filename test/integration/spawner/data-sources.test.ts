import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

import type { FilesRef } from '../../../core/volume.ts';
import { DataSources } from '../../../spawner/orchestrator/process/copies/data-sources.ts';
import { pathsBelow } from '../../../spawner/orchestrator/process/paths.ts';
import { createDirectoryFiles } from '../../../spawner/orchestrator/process/volumes/directory-files.ts';

const root = mkdtempSync(join(tmpdir(), 'podgate-sources-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const files = createDirectoryFiles({ root: join(root, 'files'), asRoot: false });
const sources = new DataSources({
  ...{ paths: pathsBelow(root), limitMiB: null, find: () => null },
  pathOf: (ref) => files.mounts.pathOf(ref),
});
const ref = (uid: string): FilesRef => ({ kind: 'snapshot', uid, tenant: 'dev', id: `id${uid}` });
const open = (snapshot: FilesRef) =>
  sources.open({ snapshot, refusal: null }, () => undefined, AbortSignal.timeout(10_000));

test('a snapshot that is deleted while it is copied is no source, although its directory is there again', async () => {
  await files.mounts.replace(ref('one'), () => Promise.resolve());
  const opened = await open(ref('one'));
  await opened.requireWhole();
  await files.remove(ref('one'));
  await expect(opened.requireWhole()).rejects.toMatchObject({ publicMessages: ['Snapshot idone was deleted.'] });
  // Made anew by whoever asks for its size.
  await files.usage(ref('one'));
  await expect(opened.requireWhole()).rejects.toMatchObject({ code: 'api.conflict' });
  await opened.close();
});

test('a copy that is not completed leaves the former files as they are', async () => {
  await files.mounts.replace(ref('two'), () => Promise.resolve());
  const opened = await open(ref('two'));
  await expect(files.mounts.replace(ref('two'), () => Promise.reject(new Error('killed')))).rejects.toThrow('killed');
  await opened.requireWhole();
  await opened.close();
  // The disk may be nearly full: what was copied goes at once.
  expect(readdirSync(join(root, 'files', 'two'))).not.toContain('copy');
  // Both places that copies have are free again.
  for (const each of await Promise.all([open(ref('two')), open(ref('two'))])) await each.close();
});
