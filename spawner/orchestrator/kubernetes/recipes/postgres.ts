import { POSTGRES_USE } from '../../postgres-use.ts';
import { execProbe, fromSecret, POD_ADDRESS, type RecipeContext, type RecipeResult } from './recipe.ts';
import { lockVolume, requireGroup } from './volume-lock.ts';

const DATA = '/var/lib/postgresql';
/** Names that no role can have, however quoted. */
const IMPOSSIBLE_ROLES = new Set(['public', 'none']);

/** Made by the first login that succeeds: from then on it is its user's doing when one does not. */
const MARKER = 'podgate-login';
/** Of this start of the container: do not try again with a password that its user has changed, which fills the log. */
const REFUSED = '/tmp/podgate-login-refused';

/**
 * Ready: the pod's own user logs in to its own database over the address that gateways dial, so that pg_hba.conf counts.
 * A wrong password is that of a user who has changed it. Any other refusal (no line in pg_hba.conf, no such database) is
 * a set-up that is not complete, until somebody has logged in once. The user's variables, PGOPTIONS for one, stay out.
 */
const IS_READY = String.raw`
marker="$PGDATA/${MARKER}"
if [ ! -e ${REFUSED} ]; then
  said=$(env -i PATH="$PATH" LC_ALL=C PGPASSWORD="$POSTGRES_PASSWORD" PGCONNECT_TIMEOUT=3 PGSSLMODE=disable \
    psql -X -q -A -t -w -h "$${POD_ADDRESS}" -p 5432 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c 'SELECT 1' 2>&1)
  if [ "$said" = 1 ]; then
    [ -e "$marker" ] || : >"$marker" || :
    exit 0
  fi
  case "$said" in
    *'password authentication failed'*) ;;
    *) if [ ! -e "$marker" ]; then printf '%s\n' "$said"; exit 1; fi ;;
  esac
fi
pg_isready --quiet --timeout=3 --host="$${POD_ADDRESS}" --port=5432 --username="$POSTGRES_USER" || exit 1
: >${REFUSED}
`;

/**
 * Runs the official entrypoint. That skips the set-up once there is a PG_VERSION, which initdb writes first, so a first
 * start that was killed would stay unusable. Here the set-up gets a directory of its own, whose server lets nobody in, and
 * takes the place of PGDATA when it is complete. Earlier releases set up in place: what one of them has left without the
 * pod's database is set aside. A data directory of another major is left to the entrypoint, which explains it.
 *
 * SIGINT (the image's STOPSIGNAL) or SIGTERM ends a set-up at once, as the end of a container's first process does to all
 * others. A server is asked again and again, since the shell before it ignores the signal.
 */
const START = String.raw`
${requireGroup(DATA)}${lockVolume(DATA)}
new="$PGDATA.new"
rm -f ${REFUSED} /dev/shm/PostgreSQL.*

has() { compgen -G "$1" >/dev/null; }
is_unfinished() {
  [ -e "$PGDATA/PG_VERSION" ] && [ ! -e "$PGDATA/${MARKER}" ] || return 1
  ! has "$PGDATA/base/[1-9][0-9][0-9][0-9][0-9]*" && ! has "$PGDATA/pg_tblspc/*" || return 1
  case "$POSTGRES_DB" in postgres | template0 | template1) [ ! -e "$PGDATA/base/5" ] ;; esac
}
is_new() {
  [ ! -e "$PGDATA/PG_VERSION" ] && [ -z "${'${'}POSTGRES_INITDB_WALDIR:-}" ] || return 1
  for old in /var/lib/postgresql /var/lib/postgresql/data '/var/lib/postgresql/*/docker'; do
    ! has "$old/PG_VERSION" || return 1
  done
  command -v docker-ensure-initdb.sh >/dev/null
}
set_up() {
  trap 'exit 143' TERM INT
  rm -rf "$new"
  mkdir -p "${'${'}PGDATA%/*}"
  PGDATA="$new" docker-ensure-initdb.sh "$@" &
  wait "$!" || exit
  if [ -e "$PGDATA" ]; then rmdir "$PGDATA" || exit; fi
  mv -T "$new" "$PGDATA" || exit
  sync "${'${'}PGDATA%/*}"
}
serve() {
  docker-entrypoint.sh postgres "$@" &
  server=$!
  stop() {
    while kill -INT "$server" 2>/dev/null; do sleep 0.1; done
    wait "$server"
    exit
  }
  trap stop TERM INT
  wait "$server"
}

if is_unfinished; then
  aside="$PGDATA.unfinished-$(date +%s)"
  echo "The first start of this Postgres was interrupted before its database was made. It starts over; what there was is in $aside." >&2
  mv -T "$PGDATA" "$aside" || exit
fi
if is_new; then set_up "$@"; fi
serve "$@"
`;

/**
 * Over the socket first, where the image trusts its user, then with the pod's password. The user's variables stay out, and
 * a database that they have dropped does not matter.
 */
const USE = String.raw`
for host in /var/run/postgresql "$${POD_ADDRESS}"; do
  for database in postgres "$POSTGRES_DB"; do
    env -i PATH="$PATH" LC_ALL=C PGPASSWORD="$POSTGRES_PASSWORD" PGCONNECT_TIMEOUT=2 PGSSLMODE=disable \
      psql -X -q -A -t -w -h "$host" -p 5432 -U "$POSTGRES_USER" -d "$database" -c "$1" && exit 0
  done
done
exit 1
`;

/** What uses it beside gateways: see core/use-inside.ts. */
export const POSTGRES_USE_COMMAND = ['sh', '-c', USE, 'podgate-use', POSTGRES_USE] as const;

/**
 * The official image (docker.io/library/postgres), major 18 and later: data below /var/lib/postgresql, in a directory
 * of the major. While it makes its database, its server listens on a Unix socket alone.
 */
export function postgresRecipe({ workload, image, secretName }: RecipeContext): RecipeResult {
  const { credentials } = workload;
  if (credentials === null) return { kind: 'refused', reason: 'A Postgres needs credentials; this pod has none.' };
  const { username, password } = credentials;
  if (IMPOSSIBLE_ROLES.has(username)) {
    return { kind: 'refused', reason: `Postgres does not allow a user named "${username}": choose another pod_id.` };
  }
  return {
    kind: 'recipe',
    recipe: {
      image,
      command: ['bash', '-c', START, 'podgate-start'],
      args: [],
      user: 999,
      hasReadOnlyRoot: true,
      scratch: ['/tmp', '/var/run/postgresql'],
      dataPath: DATA,
      environment: [
        { name: 'POSTGRES_USER', value: username },
        { name: 'POSTGRES_DB', value: username },
        fromSecret('POSTGRES_PASSWORD', secretName, 'password'),
      ],
      secret: { username, password },
      probe: execProbe('sh', IS_READY),
      startSeconds: 900,
      // A checkpoint of much unwritten data takes its time.
      graceSeconds: 60,
      mayComplete: false,
      isRestricted: true,
    },
  };
}
