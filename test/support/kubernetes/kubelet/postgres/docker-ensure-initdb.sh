#!/bin/bash
# Stand-in for the command of this name in the image docker.io/library/postgres: makes the database of an empty PGDATA from
# POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_HOST_AUTH_METHOD and POSTGRES_INITDB_ARGS, and runs what is in
# /docker-entrypoint-initdb.d. As in the image, PGDATA counts as made once initdb has written PG_VERSION, which it does
# first, and nothing passes a signal on to what runs here: those are the gaps that Podgate's own start has to close.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -g postgres -m 0700 "$PGDATA"
  exec gosu postgres "$0" "$@"
fi
if [ "${1:-}" = postgres ]; then shift; fi
if [ -s "$PGDATA/PG_VERSION" ]; then
  echo "$PGDATA already contains a database" >&2
  exit 0
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
password=${POSTGRES_PASSWORD:-}
if [ -z "$password" ] && [ "$method" != trust ]; then
  echo 'The database has no password yet: set POSTGRES_PASSWORD.' >&2
  exit 1
fi

mkdir -p "$PGDATA"
chmod 0700 "$PGDATA"
read -r -a initdb_arguments <<<"${POSTGRES_INITDB_ARGS:-}"
if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then initdb_arguments+=("--waldir=$POSTGRES_INITDB_WALDIR"); fi
if [ -n "$password" ]; then initdb_arguments+=("--pwfile=/dev/fd/3"); fi
initdb --pgdata="$PGDATA" --username="$user" "${initdb_arguments[@]}" 3<<<"$password"
printf 'host all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"

# Nobody but this script reaches the server yet: a Unix socket, and no address.
pg_ctl --pgdata="$PGDATA" --wait --options="$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")" start
as_user() { PGPASSWORD=$password psql --no-psqlrc --no-password --quiet --set=ON_ERROR_STOP=1 --username="$user" "$@"; }
if [ "$database" != postgres ]; then
  as_user --dbname=postgres --set=name="$database" <<<'CREATE DATABASE :"name";'
fi
for file in /docker-entrypoint-initdb.d/*; do
  case "$file" in
    *.sh) bash "$file" ;;
    *.sql) as_user --dbname="$database" --file="$file" ;;
  esac
done
pg_ctl --pgdata="$PGDATA" --wait --mode=fast stop
