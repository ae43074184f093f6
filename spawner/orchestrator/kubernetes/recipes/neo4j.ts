import { DEFAULT_STANZA } from '../../../../core/ids.ts';
import { execProbe, fromSecret, POD_ADDRESS, type RecipeContext, type RecipeResult } from './recipe.ts';

/**
 * A Bolt handshake that offers versions 5.8 to 5.0 and 4.4 to 4.1 and is answered with one of them: no password, so that
 * a user who has changed it keeps a pod that is ready, and no new JVM every few seconds, which cypher-shell would be.
 * The image has bash. Source: Bolt protocol, Handshake.
 */
const BOLT_ANSWERS = [
  `exec 3<>"/dev/tcp/$${POD_ADDRESS}/7687"`,
  String.raw`printf '\x60\x60\xb0\x17\x00\x08\x08\x05\x00\x03\x04\x04\x00\x00\x00\x00\x00\x00\x00\x00' >&3`,
  `version=$(head -c 4 <&3 | od -An -tx1 | tr -d ' ')`,
  `[ -n "$version" ] && [ "$version" != 00000000 ]`,
].join(' && ');

/**
 * Until its first success: logs its user in and runs a query, since the first query of a Neo4j loads its planner, which takes
 * seconds. One that refuses the password (its user has changed it), or Bolt 5.1 to 5.4, is ready as well. Not asked again
 * later: refused logins in a row would lock the user out. The password is in no argument of any process.
 */
const LOGS_IN = String.raw`
export LC_ALL=C
hex() { od -An -v -tx1 | tr -d ' \n'; }
text() { local it; it=$(printf %s "$1" | hex); printf 'd1%04x%s' $((${'${'}#it} / 2)) "$it"; }
message() { printf '%04x%s0000' $((${'${'}#1} / 2)) "$1"; }
send() { printf "$(printf %s "$1" | sed 's/../\\x&/g')" >&3; }
exec 3<>"/dev/tcp/$${POD_ADDRESS}/7687" || exit 1
send 6060b01700030405000000000000000000000000
[ "$(head -c 4 <&3 | hex)" = 00000000 ] && exit 0
send "$(message "b101a2$(text user_agent)$(text podgate/0)$(text bolt_agent)a1$(text product)$(text podgate/0)")"
send "$(message "b16aa3$(text scheme)$(text basic)$(text principal)$(text "${'${'}NEO4J_AUTH%%/*}")$(text credentials)$(text "${'${'}NEO4J_AUTH#*/}")")"
send "$(message "b310$(text 'RETURN 1')a0a0")$(message "b13fa1$(text n)01")"
while size=$(head -c 2 <&3 | hex) && [ -n "$size" ]; do
  said=$(head -c $((16#$size)) <&3 | tr -d '\0')
  case "$said" in
    $'\xb1\x71'*) exit 0 ;;
    *Neo.ClientError.Database.*) exit 1 ;;
    *Neo.ClientError.*) exit 0 ;;
    $'\xb1\x7f'*) exit 1 ;;
  esac
done
exit 1
`;
/** Seconds; on a busy node the first query takes many. */
const LOGIN_TIMEOUT_SECONDS = 30;

/** The official image (docker.io/library/neo4j), community edition: settings are variables with __ for _ and _ for dots. */
export function neo4jRecipe({ workload, image, secretName }: RecipeContext): RecipeResult {
  const { credentials, hosts, publicHttpsPort } = workload;
  if (credentials === null) return { kind: 'refused', reason: 'A Neo4j needs credentials; this pod has none.' };
  const outside = (stanza: string, inside: string): string => {
    const host = hosts[stanza];
    return host === undefined ? inside : `${host}:${publicHttpsPort}`;
  };
  return {
    kind: 'recipe',
    recipe: {
      image,
      command: [],
      args: [],
      user: 7474,
      // Its start writes the settings below into its own directory.
      hasReadOnlyRoot: false,
      scratch: ['/logs'],
      dataPath: '/data',
      environment: [
        fromSecret('NEO4J_AUTH', secretName, 'neo4j-auth'),
        // What it tells drivers to dial (neo4j+s): the gateway, which ends TLS.
        { name: 'NEO4J_server_bolt_advertised__address', value: outside(DEFAULT_STANZA, 'localhost:7687') },
        { name: 'NEO4J_server_http_advertised__address', value: outside('browser', 'localhost:7474') },
        ...memoryOf(workload.spec.resources.memLimit),
        { name: 'NEO4J_dbms_usage__report_enabled', value: 'false' },
      ],
      secret: {
        username: credentials.username,
        password: credentials.password,
        'neo4j-auth': `${credentials.username}/${credentials.password}`,
      },
      probe: execProbe('bash', BOLT_ANSWERS),
      startProbe: { ...execProbe('bash', LOGS_IN), timeoutSeconds: LOGIN_TIMEOUT_SECONDS },
      startSeconds: 900,
      graceSeconds: 60,
      mayComplete: false,
      isRestricted: true,
    },
  };
}

/** By itself it takes the node's memory for its own, and is killed for it. */
function memoryOf(memLimitMiB: number): { readonly name: string; readonly value: string }[] {
  const heapMiB = Math.max(128, Math.floor(memLimitMiB * 0.4));
  const pageCacheMiB = Math.max(16, Math.floor(memLimitMiB * 0.25));
  return [
    { name: 'NEO4J_server_memory_heap_initial__size', value: `${heapMiB}m` },
    { name: 'NEO4J_server_memory_heap_max__size', value: `${heapMiB}m` },
    { name: 'NEO4J_server_memory_pagecache_size', value: `${pageCacheMiB}m` },
  ];
}
