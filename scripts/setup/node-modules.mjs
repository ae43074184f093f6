import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installDebianPackages } from './debian-packages.mjs';
import { oneAtATime } from './one-at-a-time.mjs';
import { runCommand, say } from './run-command.mjs';

/**
 * Installs the dependencies of the lock file, unless the ones installed are those. A stamp inside node_modules says
 * which lock they came from: comparing file times would re-install after every `git checkout`.
 * @param {string} root of the checkout
 * @returns {Promise<string | null>} a sentence on what is wrong, or null
 */
export async function prepareNodeModules(root) {
  if (isPrepared(root)) return null;
  try {
    return await oneAtATime(join(root, '.podgate-setup.lock'), () => (isPrepared(root) ? null : install(root)));
  } catch (error) {
    return `The dependencies cannot be installed in ${root}: ${error.message}`;
  }
}

const stampPathOf = (root) => join(root, 'node_modules', '.podgate-stamp');
const nodeOf = (root) => join(root, 'node_modules', '.bin', 'node');

function isPrepared(root) {
  const stampPath = stampPathOf(root);
  return existsSync(nodeOf(root)) && existsSync(stampPath) && readFileSync(stampPath, 'utf8') === lockHash(root);
}

async function install(root) {
  const node = nodeOf(root);
  if (!existsSync(node) || !isInstalled(root)) {
    say('installing dependencies (npm ci), once');
    const installed = await runNpmCi(root);
    if (installed === null) return 'interrupted; type it again to go on';
    if (installed.code !== 0) return `npm ci failed:\n${installed.output.trim()}`;
  }
  if (!existsSync(node)) {
    return `There is no Node for ${process.platform}-${process.arch} among the dependencies. Linux and macOS on x64 and arm64 are supported; was npm told to omit optional dependencies?`;
  }
  const problem = await prepareLibraries(node);
  if (problem === null) writeFileSync(stampPathOf(root), lockHash(root));
  return problem;
}

/**
 * Null when we are told to end. npm ends first: left alone it would be in the way of the next try. It is killed, because
 * by itself it takes half a minute to undo what the next try removes anyway.
 */
async function runNpmCi(root) {
  const told = new AbortController();
  const tell = () => told.abort();
  process.once('SIGINT', tell).once('SIGTERM', tell);
  const args = ['ci', '--loglevel=error', '--no-audit', '--no-fund'];
  const installed = await runCommand('npm', args, { cwd: root, signal: told.signal });
  process.off('SIGINT', tell).off('SIGTERM', tell);
  return told.signal.aborted ? null : installed;
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
