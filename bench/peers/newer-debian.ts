import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { preparedNewerDebian } from '../../scripts/setup/cache.mjs';
import { oneAtATime } from '../../scripts/setup/one-at-a-time.mjs';
import { run } from '../../test/support/run.ts';

/** The release after the one that this machine runs: nginx 1.26, HAProxy 3.0, OpenSSL 3.5. */
const RELEASE = 'trixie';
const PACKAGES = ['nginx-light', 'libnginx-mod-stream', 'haproxy'];
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const TIMEOUT_MS = 10 * 60_000;

const ROOT = preparedNewerDebian();
const LIBRARIES = join(ROOT, 'usr/lib/x86_64-linux-gnu');
export const NEWER_STREAM_MODULE = join(ROOT, 'usr/lib/nginx/modules/ngx_stream_module.so');

/** The command line of a program of that release, with its own loader and libraries. */
export function inNewerDebian(program: string, ...args: readonly string[]): readonly string[] {
  return [
    join(LIBRARIES, 'ld-linux-x86-64.so.2'),
    '--library-path',
    LIBRARIES,
    join(ROOT, 'usr/sbin', program),
    ...args,
  ];
}

/** Downloads its packages with this machine's apt and unpacks them into the cache, once; nothing is installed. */
export async function missingNewerDebian(): Promise<string | null> {
  if (process.arch !== 'x64') return 'the newer Debian is prepared on x86-64 only';
  await mkdir(dirname(ROOT), { recursive: true });
  return await oneAtATime(`${ROOT}.lock`, async () => (existsSync(ROOT) ? null : await unpack()));
}

async function unpack(): Promise<string | null> {
  const folder = await mkdtemp(`${ROOT}.`);
  try {
    const [state, cache, root] = ['state', 'cache', 'root'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    for (const path of [join(state, 'lists/partial'), join(cache, 'archives/partial'), root])
      await mkdir(path, { recursive: true });
    const sources = join(folder, 'sources.list');
    await writeFile(sources, `deb [signed-by=${KEYRING}] ${await mirror()} ${RELEASE} main\n`);
    await writeFile(join(state, 'status'), '');
    const settings = {
      'Dir::Etc::sourcelist': sources,
      'Dir::Etc::sourceparts': '-',
      'Dir::State': state,
      'Dir::State::status': join(state, 'status'),
      'Dir::Cache': cache,
      'APT::Sandbox::User': 'root',
      'APT::Install-Recommends': 'false',
      'Acquire::Retries': '3',
    };
    const apt = ['-qq', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
    await must('apt-get', [...apt, 'update']);
    await must('apt-get', [...apt, '--download-only', '-y', 'install', ...PACKAGES]);
    const archives = join(cache, 'archives');
    for (const name of await readdir(archives)) {
      if (name.endsWith('.deb')) await must('dpkg-deb', ['-x', join(archives, name), root]);
    }
    await rename(root, ROOT);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The one that apt uses here. */
async function mirror(): Promise<string> {
  const targets = await must('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI)',
    'Created-By: Packages',
    'Component: main',
  ]);
  return targets.split('\n').find((uri) => !uri.includes('security')) || 'http://deb.debian.org/debian';
}

async function must(command: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, { timeoutMs: TIMEOUT_MS });
  if (code === 0) return stdout;
  throw new Error(`${command} failed: ${stderr.trim().slice(-1_000)}`);
}
