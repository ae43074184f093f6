// Installs a package and prints the kinds of progress: for tests that need a second process, or kill one.
import { acquireExclusiveLock } from '../../../main/exclusive-lock.ts';
import { type InstallOptions, installPackage } from '../../../spawner/orchestrator/process/packages/install-package.ts';

const settings = JSON.parse(process.argv[2] ?? '') as Pick<InstallOptions, 'package' | 'cacheDir' | 'source'>;
let last = '';
const onProgress: InstallOptions['onProgress'] = ({ kind }) => {
  if (kind !== last) process.stdout.write(`${kind}\n`);
  last = kind;
};
await installPackage({ ...settings, lock: acquireExclusiveLock, onProgress }, new AbortController().signal);
process.stdout.write('installed\n');
