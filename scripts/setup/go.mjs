import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { installDebianPackages } from './debian-packages.mjs';
import { isOnPath, runCommand, say } from './run-command.mjs';

/** What the modules that are built say in their go.mod. */
const NEEDED = [1, 25];
/** Fetched where the Go at hand is older: Debian 12's is 1.19. */
const TOOLCHAIN = '1.26.8';
const BUILD_TIMEOUT_MS = 45 * 60_000;
const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' };

/**
 * Finds a Go that is new enough. An old one, or Debian's, fetches a newer from the module proxy, which holds Go's own
 * releases as versions of the module golang.org/toolchain, checked against Go's checksum database like any module.
 * @returns {Promise<{ go: string } | { problem: string }>} `go`: a path or a name on the PATH
 */
export async function findGo() {
  if (!(await isOnPath('go'))) {
    const problem = await installDebianPackages(['golang-go'], 'to build Kubernetes for the tests');
    if (problem !== null) return { problem };
  }
  const version = (await runCommand('go', ['env', 'GOVERSION'], { env: goEnvironment() })).output.trim();
  if (isNewEnough(version)) return { go: 'go' };
  return await fetchToolchain(version);
}

/** For commands of Go: our own settings in place of whatever the user has, and no C compiler. */
export function goEnvironment() {
  const home = process.env.HOME ?? tmpdir();
  const settings = { GO111MODULE: 'on', GOFLAGS: '', GOTOOLCHAIN: 'local', GOWORK: 'off', CGO_ENABLED: '0' };
  return { ...process.env, HOME: home, ...settings };
}

/**
 * `go build` of programs, with the versions that the go.mod and go.sum of that module pin.
 * @param {string} go as findGo returns it
 * @param {string} module its directory
 * @param {readonly string[]} args
 * @returns {Promise<string | null>} a sentence on what went wrong, or null
 */
export async function goBuild(go, module, args) {
  const built = await runCommand(go, ['build', '-mod=readonly', '-trimpath', '-buildvcs=false', ...args], {
    cwd: module,
    env: goEnvironment(),
    timeoutMs: BUILD_TIMEOUT_MS,
  });
  if (built.code === 0) return null;
  return `${basename(module)} could not be built for the tests:\n${built.output.trim().slice(-1_000)}`;
}

function isNewEnough(version) {
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > NEEDED[0] || (Number(major) === NEEDED[0] && Number(minor) >= NEEDED[1]);
}

async function fetchToolchain(version) {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) return { problem: `There is no Go ${TOOLCHAIN} for ${process.arch}.` };
  say(`fetching Go ${TOOLCHAIN} (${version} is too old to build Kubernetes), once`);
  const directory = await mkdtemp(join(tmpdir(), 'podgate-go-'));
  try {
    // The answer of -json is longer than what runCommand keeps: it goes through a file.
    const module = `golang.org/toolchain@v0.0.1-go${TOOLCHAIN}.${process.platform}-${architecture}`;
    const file = join(directory, 'answer.json');
    await writeFile(file, '');
    const fetched = await runCommand('/bin/sh', ['-c', `go mod download -json ${module} >"$0"`, file], {
      cwd: directory,
      env: goEnvironment(),
    });
    if (fetched.code !== 0) return { problem: `Go ${TOOLCHAIN} could not be fetched: ${fetched.output.trim()}` };
    const root = JSON.parse(await readFile(file, 'utf8')).Dir;
    await makeExecutable(root);
    return { go: join(root, 'bin', 'go') };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Files of modules are not executable; Go's own switch of toolchains does the same. */
async function makeExecutable(root) {
  for (const directory of ['bin', join('pkg', 'tool')]) {
    for (const entry of await readdir(join(root, directory), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) await chmod(join(entry.parentPath, entry.name), 0o755);
    }
  }
}
