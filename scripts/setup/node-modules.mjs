import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installDebianPackages } from './debian-packages.mjs';
import { runCommand, say } from './run-command.mjs';

/**
 * Installs the dependencies of the lock file, unless the ones installed are those. A stamp inside node_modules says
 * which lock they came from: comparing file times would re-install after every `git checkout`.
 * @param {string} root of the checkout
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export async function prepareNodeModules(root) {
  const stampPath = join(root, 'node_modules', '.podgate-stamp');
  const stamp = lockHash(root);
  const node = join(root, 'node_modules', '.bin', 'node');
  if (existsSync(node) && existsSync(stampPath) && readFileSync(stampPath, 'utf8') === stamp) return null;
  if (!existsSync(node) || !isInstalled(root)) {
    say('installing dependencies (npm ci), once');
    const installed = await runCommand('npm', ['ci', '--loglevel=error', '--no-audit', '--no-fund'], { cwd: root });
    if (installed.code !== 0) return `npm ci failed:\n${installed.output.trim()}`;
  }
  if (!existsSync(node)) {
    return `There is no Node for ${process.platform}-${process.arch} among the dependencies. Linux and macOS on x64 and arm64 are supported; was npm told to omit optional dependencies?`;
  }
  const problem = await prepareLibraries(node);
  if (problem === null) writeFileSync(stampPath, stamp);
  return problem;
}

/** That Node needs a library that Debian's smallest installations and images lack. */
async function prepareLibraries(node) {
  const tried = await runCommand(node, ['--version']);
  if (tried.code === 0) return null;
  if (!tried.output.includes('libatomic'))
    return `The Node among the dependencies does not run: ${tried.output.trim()}`;
  const problem = await installDebianPackages(['libatomic1'], 'for Node');
  if (problem !== null) return problem;
  const again = await runCommand(node, ['--version']);
  return again.code === 0 ? null : `The Node among the dependencies does not run: ${again.output.trim()}`;
}

/** Whoever ran `npm install` by hand has it all: npm's own record of what it installed agrees with the lock. */
function isInstalled(root) {
  const recordPath = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(recordPath)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(recordPath, 'utf8')).packages;
  const isSame = (path) => installed[path]?.version === wanted[path].version;
  return (
    Object.keys(installed).every((path) => wanted[path] !== undefined) &&
    Object.keys(wanted).every((path) => path === '' || wanted[path].optional === true || isSame(path))
  );
}

/** Another platform needs other optional packages of the same lock. */
function lockHash(root) {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(`${process.platform}-${process.arch}`)
    .digest('hex');
}
