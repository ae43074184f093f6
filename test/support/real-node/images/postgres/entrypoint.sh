#!/bin/bash
# What the official image's entrypoint does, in the same order, with the same variables and the same gap: a first start
# that is killed after initdb has written PG_VERSION is never completed.
set -eo pipefail

value_of() { # NAME DEFAULT: of the variable, or of the file that NAME_FILE names
  local file="$1_FILE"
  if [ -n "${!1:-}" ]; then printf %s "${!1}"; elif [ -n "${!file:-}" ]; then cat "${!file}"; else printf %s "${2:-}"; fi
}

# Options come without the program's name.
[ "${1:0:1}" = - ] && set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"

mkdir -p "$PGDATA"
chmod 00700 "$PGDATA" || :
if [ "$(id -u)" = 0 ]; then
  find "$PGDATA" \! -user postgres -exec chown postgres {} +
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

if [ -s "$PGDATA/PG_VERSION" ]; then
  printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
else
  POSTGRES_PASSWORD=$(value_of POSTGRES_PASSWORD)
  POSTGRES_USER=$(value_of POSTGRES_USER postgres)
  POSTGRES_DB=$(value_of POSTGRES_DB "$POSTGRES_USER")
  if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
    echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
    exit 1
  fi
  eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"${POSTGRES_INITDB_ARGS:-}"' --pgdata="$PGDATA"'
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$PGDATA/pg_hba.conf"

  # On a Unix socket alone, until everything is made.
  [ $# = 0 ] && set -- postgres
  NOTIFY_SOCKET='' PGUSER="${PGUSER:-$POSTGRES_USER}" pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432 -k /var/run/postgresql" -w start
  psql=(psql -v ON_ERROR_STOP=1 --no-psqlrc --host /var/run/postgresql --username "$POSTGRES_USER" --no-password)
  export PGPASSWORD="$POSTGRES_PASSWORD"
  exists=$("${psql[@]}" --dbname postgres --set db="$POSTGRES_DB" --tuples-only <<< "SELECT 1 FROM pg_database WHERE datname = :'db';")
  [ -n "${exists//[[:space:]]/}" ] || "${psql[@]}" --dbname postgres --set db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db";'
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) "${psql[@]}" --dbname "$POSTGRES_DB" -f "$file" ;;
    esac
  done
  PGUSER="${PGUSER:-$POSTGRES_USER}" pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
fi
exec "$@"
