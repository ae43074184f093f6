import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { IGNORED_FS_GROUP } from '../../../spawner/orchestrator/ignored-fs-group.ts';
import { run } from '../../support/run.ts';

const PROGRAM = join(import.meta.dirname, '../../../spawner/orchestrator/kubernetes/files/program/prepare-mounts.ts');
/** As the init container of a pod with named volumes runs. */
const AS_FILES_USER = ['--reuid=10001', '--regid=1000', '--clear-groups'];
const isRoot = process.getuid?.() === 0;

it.skipIf(!isRoot)(
  `reports the cause when a claim is not accessible to its group${isRoot ? '' : ' (not root)'}`,
  async () => {
    const claim = mkdtempSync(join(tmpdir(), 'podgate-claim-'));
    onTestFinished(() => rmSync(claim, { recursive: true }));
    chmodSync(claim, 0o755);
    const words = [...AS_FILES_USER, process.execPath, PROGRAM, claim, 'rw', 'sub'];
    expect(await run('setpriv', words)).toMatchObject({ code: 1, stderr: `${IGNORED_FS_GROUP}\n` });
    chmodSync(claim, 0o777);
    expect(await run('setpriv', words)).toMatchObject({ code: 0, stderr: '' });
  },
);
