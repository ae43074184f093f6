#!/bin/bash
# Stand-in for the entrypoint of the image docker.io/library/postgres: makes the database of an empty PGDATA, then becomes
# the server, as the user postgres.
set -euo pipefail

case "${1:-}" in -*) set -- postgres "$@" ;; esac
if [ "${1:-}" = postgres ]; then
  if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 0700 "$PGDATA"
    exec gosu postgres "$0" "$@"
  fi
  if [ -s "$PGDATA/PG_VERSION" ]; then
    echo "$PGDATA already contains a database; Skipping initialization"
  else
    docker-ensure-initdb.sh "$@"
    echo 'The database is made; the server starts.'
  fi
fi
exec "$@"
