import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { preparedDebianRoot } from '../../scripts/setup/cache.mjs';
import { run } from '../support/run.ts';
import type { ContainerEngine } from './container-engine.ts';

/** What Debian's `slim` images leave out, and what belongs to this machine. */
const LEFT_OUT = ['usr/share/doc', 'usr/share/man', 'usr/share/locale', 'var/cache/apt', 'var/lib/apt/lists', 'dev'];
/** With this machine's network, there being no other (container-engine.ts). */
export const BUILD = ['build', '--network', 'host'];
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

/** With the npm of this machine, and the Node that runs this: what it does with them is what the Dockerfile asks. */
const NODE_IMAGE = `FROM debian:bookworm-slim
RUN mkdir -p /usr/local/lib/node_modules
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
COPY libatomic.so.1 /usr/local/lib/
COPY ca-certificates.crt ${CERTIFICATES}
COPY npmrc /usr/local/etc/npmrc
ENV NODE_EXTRA_CA_CERTS=${CERTIFICATES}
RUN ldconfig && ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && npm --version
`;

/**
 * Gives the engine the two base images of the Dockerfile under their usual names, made here of Debian's packages: no
 * registry of images is asked. They fetch from where this machine fetches, and trust whom it trusts.
 */
export async function makeBaseImages(engine: ContainerEngine): Promise<string> {
  const root = preparedDebianRoot();
  if (!existsSync(root)) await makeDebianRoot(root);
  await engine.docker(['import', '--change', 'CMD ["bash"]', root, 'debian:bookworm-slim'], { timeoutMs: 120_000 });
  const context = join(engine.folder, 'node-image');
  mkdirSync(context);
  // Not `npm root`: that goes by the Node which runs npm, and it is not the one npm came with.
  const npm = realpathSync((await must('/bin/sh', ['-c', 'command -v npm'])).trim());
  await must('cp', ['-a', dirname(dirname(npm)), join(context, 'npm')]);
  copyFileSync(process.execPath, join(context, 'node'));
  const libatomic = /libatomic\.so\.1 => (\S+)/.exec(await must('ldd', [process.execPath]))?.[1];
  if (libatomic === undefined)
    throw new Error('this Node needs no libatomic: the image of it is made for one that does');
  copyFileSync(libatomic, join(context, 'libatomic.so.1'));
  copyFileSync(CERTIFICATES, join(context, 'ca-certificates.crt'));
  writeFileSync(join(context, 'npmrc'), `registry=${(await must('npm', ['config', 'get', 'registry'])).trim()}\n`);
  writeFileSync(join(context, 'Dockerfile'), NODE_IMAGE);
  return engine.docker([...BUILD, '--quiet', '--tag', 'node:24-bookworm-slim', context], { timeoutMs: 120_000 });
}

/** It appears whole or not at all. */
async function makeDebianRoot(path: string): Promise<void> {
  process.stdout.write('  making a Debian root, once\n');
  const folder = mkdtempSync(join(tmpdir(), 'podgate-debian-'));
  try {
    await must('debootstrap', ['--variant=minbase', 'bookworm', folder, ...(await mirrorOfThisMachine())], 600_000);
    mkdirSync(dirname(path), { recursive: true });
    const exclude = LEFT_OUT.map((name) => `--exclude=./${name}/*`);
    await must('tar', ['-C', folder, ...exclude, '-cf', `${path}.${process.pid}`, '.'], 120_000);
    renameSync(`${path}.${process.pid}`, path);
  } finally {
    rmSync(`${path}.${process.pid}`, { force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The one apt uses for this release; none: debootstrap knows Debian's own. */
async function mirrorOfThisMachine(): Promise<readonly string[]> {
  const targets = await must('apt-get', [
    'indextargets',
    '--format',
    '$(CODENAME) $(REPO_URI)',
    'Created-By: Packages',
  ]);
  const uri = /^bookworm (\S+)/m.exec(targets)?.[1];
  return uri === undefined ? [] : [uri];
}

async function must(command: string, args: readonly string[], timeoutMs = 60_000): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, { timeoutMs });
  if (code === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${`${stdout}${stderr}`.slice(-4_000)}`);
}
