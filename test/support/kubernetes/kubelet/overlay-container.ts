import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { expand } from './environment.ts';
import { type ContainerContext, endOfCode, type RunningContainer } from './image.ts';
import { atAddress, startBeside, startProcess } from './process-container.ts';

/** An image whose files lie above those of this machine, so that commands of pods find their paths. Takes root. */
export interface OverlayImage {
  /** ENTRYPOINT and CMD. */
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** User and group that its program has where the pod names none. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** What SIGTERM of the kubelet becomes. */
  readonly stopSignal: NodeJS.Signals;
  /** Directories of this machine that it needs, under the same paths. */
  readonly directories: readonly string[];
  /** A script that makes the image's files in the directory $root; $address is the pod's, $uid and $gid its user. */
  readonly build: string;
}

/**
 * $1: an empty directory, $2: user, $3: the pod's address, $4: mounts, a pair of lines each, $5: the build script. The rest
 * is run. Paths of mounts are looked up within: /var/run is a link on some machines.
 */
const CONTAINER = String.raw`
set -e
stage=$1 uid=${'${'}2%:*} gid=${'${'}2#*:} address=$3 mounts=$4 build=$5
shift 5
mount -t tmpfs -o mode=755 tmpfs "$stage"
root=$stage/root
mkdir "$stage/upper" "$stage/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$stage/upper,workdir=$stage/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
eval "$build"
printf '%s' "$mounts" | while IFS= read -r path && IFS= read -r directory; do
  path=$root$(/usr/sbin/chroot "$root" readlink -m "$path")
  mkdir -p "$path"
  mount --bind "$directory" "$path"
done
exec /usr/sbin/chroot "$root" "$@"
`;

/** Null: this machine can run such images. */
export const overlayProblem = (): string | null =>
  process.getuid?.() === 0 ? null : 'images of databases take root here';

export async function startOverlayContainer(image: OverlayImage, context: ContainerContext): Promise<RunningContainer> {
  const { address, resolve, print, container, mounts } = context;
  const user = context.user === null || context.user.uid === 0 ? image.user : context.user;
  const environment = { ...image.environment, ...context.environment };
  // As the kubelet: a command replaces the entrypoint, and with it the image's arguments.
  const command = (container.command ?? image.entrypoint).map((word) => expand(word, environment));
  const args = (container.args ?? (container.command === undefined ? image.cmd : [])).map((word) =>
    expand(word, environment),
  );
  const stage = resolve('/stage');
  await mkdir(stage, { recursive: true });
  const all = [
    ...image.directories.map((path) => [path, path]),
    ...mounts.map((each) => [each.mountPath, each.directory]),
  ];
  const as = ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', '--pdeathsig', 'KILL', '--'];
  const running = startProcess({
    command: [
      ...['unshare', '--mount', '--pid', '--fork', '--kill-child', '--', '/bin/sh', '-c', CONTAINER, 'container'],
      ...[stage, `${user.uid}:${user.gid}`, address, all.map((pair) => `${pair.join('\n')}\n`).join(''), image.build],
      ...[...as, ...command, ...args],
    ],
    environment,
    cwd: '/',
    user: null,
    print,
  });
  let isKilled = false;
  return {
    ...running,
    // `unshare` of util-linux 2.38 reports no signal.
    ended: running.ended.then((end) => (isKilled ? endOfCode(137) : end)),
    // As a container runtime: to the first process alone.
    signal(name) {
      const first = firstProcess(running.pid);
      isKilled ||= name === 'SIGKILL' || first === null;
      if (first === null) running.signal('SIGKILL');
      else sendTo(first, name === 'SIGTERM' ? image.stopSignal : name);
    },
    startBeside: (words) => {
      const first = firstProcess(running.pid);
      if (first === null) return null;
      const inside = ['nsenter', `--target=${first}`, '--mount', '--pid', '--root', '--wd', '--', ...as];
      const how = { environment, cwd: '/', user: null };
      return startBeside([...inside, ...words.map((word) => atAddress(word, address))], how);
    },
  };
}

/** The process that `unshare` has forked: process 1 of the container. */
function firstProcess(pid: number | null): number | null {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]) || null;
  } catch {
    return null;
  }
}

function sendTo(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}
