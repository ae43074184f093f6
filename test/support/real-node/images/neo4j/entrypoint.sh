#!/bin/bash
# What the official image's entrypoint does with its variables: NEO4J_AUTH for a new data directory, and settings as
# NEO4J_server_memory_heap_max__size.
set -euo pipefail
[ "$1" = neo4j ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
  chown -R neo4j:neo4j /data /logs
  exec setpriv --reuid neo4j --regid neo4j --init-groups "$0" "$@"
fi
conf="$NEO4J_HOME/conf/neo4j.conf"
declare -A settings=(
  [server.default_listen_address]=0.0.0.0 [server.directories.data]=/data [server.directories.logs]=/logs
  [server.directories.import]=/import [server.directories.plugins]=/plugins [server.https.enabled]=false
  [dbms.usage_report.enabled]=false [server.memory.pagecache.size]=512M
)
for variable in "${!NEO4J_@}"; do
  case "$variable" in NEO4J_AUTH|NEO4J_EDITION|NEO4J_HOME|NEO4J_PLUGINS|NEO4J_DEBUG|NEO4J_ACCEPT_LICENSE_AGREEMENT) continue ;; esac
  name=${variable#NEO4J_}
  name=${name//__/$'\1'}
  name=${name//_/.}
  settings[${name//$'\1'/_}]=${!variable}
done
auth=${NEO4J_AUTH:-}
if [ "$auth" = none ]; then
  settings[dbms.security.auth_enabled]=false
elif [ -n "$auth" ]; then
  [ "${auth%%/*}" = neo4j ] || { echo "Invalid value for NEO4J_AUTH: '${auth%%/*}/...'" >&2; exit 1; }
fi
for name in "${!settings[@]}"; do printf '%s=%s\n' "$name" "${settings[$name]}"; done > "$conf"
# Of no effect once there is a database.
if [ -n "$auth" ] && [ "$auth" != none ]; then neo4j-admin dbms set-initial-password "${auth#*/}" || true; fi
exec java -cp "$NEO4J_HOME/lib/*" -XX:+UseG1GC -Dfile.encoding=UTF-8 \
  --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.io=ALL-UNNAMED \
  --add-opens=java.base/sun.nio.ch=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED \
  ${settings[server.memory.heap.initial_size]:+-Xms${settings[server.memory.heap.initial_size]}} \
  ${settings[server.memory.heap.max_size]:+-Xmx${settings[server.memory.heap.max_size]}} \
  org.neo4j.server.CommunityEntryPoint --home-dir="$NEO4J_HOME" --config-dir="$NEO4J_HOME/conf" --console-mode
