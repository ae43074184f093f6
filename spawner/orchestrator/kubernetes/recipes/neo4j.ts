import { DEFAULT_STANZA } from '../../../../core/ids.ts';
import { execProbe, fromSecret, POD_ADDRESS, type RecipeContext, type RecipeResult } from './recipe.ts';
import { lockVolume, requireGroup } from './volume-lock.ts';

/** On the volume from before the first start until somebody has logged in: what is there beside it holds nothing of a user. */
const FIRST_START = '/data/podgate-first-start';
/** Of this start of the container: three refused logins lock the user out for seconds. */
const REFUSED = '/logs/podgate-login-refused';

/**
 * Runs the official entrypoint. A first start that was killed before anybody was let in is started over: its password may
 * not be set, or its system database may be half made. A volume of an earlier release has no such file, and is used as it is.
 * Killed before it wrote its server_id, Neo4j leaves an empty one, with which none starts again (EOFException).
 */
const START = `
${requireGroup('/data')}${lockVolume('/data')}
trap 'exit 143' TERM
rm -f ${REFUSED}
[ -s /data/server_id ] || rm -f /data/server_id
if [ -e ${FIRST_START} ]; then
  rm -rf /data/databases /data/transactions /data/dbms
elif [ ! -e /data/databases ] && [ ! -e /data/transactions ]; then
  : >${FIRST_START} && sync ${FIRST_START} || exit
fi
exec tini -g -- /startup/docker-entrypoint.sh neo4j
`;

/** A PackStream message of one chunk as escapes of printf. */
function boltMessage(...parts: readonly (string | { readonly text: string })[]): string {
  const body = Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'hex') : packedText(part.text))),
  );
  const head = Buffer.from([body.length >> 8, body.length & 0xff]);
  return escaped(Buffer.concat([head, body, Buffer.from([0, 0])]));
}

function packedText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([Buffer.from([0xd1, bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

const escaped = (bytes: Buffer): string => bytes.toString('hex').replaceAll(/../g, String.raw`\x$&`);

/** The first bytes of LOGON, up to the name of its user. */
const LOGON = Buffer.concat([
  Buffer.from('b16aa3', 'hex'),
  ...['scheme', 'basic', 'principal'].map((text) => packedText(text)),
]);
const CREDENTIALS = packedText('credentials');
const LENGTH_BYTES = 3;
const AGENT = [
  { text: 'user_agent' },
  { text: 'podgate/0' },
  { text: 'bolt_agent' },
  'a1',
  { text: 'product' },
  { text: 'podgate/0' },
];

/**
 * Ready: the pod's own user logs in and runs a query, in Bolt 5.1 to 5.4 at the address that gateways dial. cypher-shell
 * would start a JVM every few seconds; this is bash alone, without another process. The password is in no argument.
 *
 * A refusal is that of a user who has changed the password, unless nobody has logged in yet. From then on an answer to the
 * handshake is enough, and so it is for a server that speaks none of these versions.
 */
const IS_READY = String.raw`
export LC_ALL=C
u8() { IFS= read -r -d '' -n 1 -u 3 byte || exit 1; printf -v octet %d "'$byte"; octet=$((octet & 255)); }
u16() { local high; u8; high=$octet; u8; number=$((high * 256 + octet)); }
length() { local hex; printf -v hex %04x "$1"; printf "\\x${'${'}hex:0:2}\\x${'${'}hex:2}"; }
text() { printf '\xd1'; length "${'${'}#1}"; printf %s "$1"; }
user=${'${'}NEO4J_AUTH%%/*} password=${'${'}NEO4J_AUTH#*/}
exec 3<>"/dev/tcp/$${POD_ADDRESS}/7687" || exit 1
printf '${escaped(Buffer.from('6060b01700030405000404040000000000000000', 'hex'))}' >&3
u16; u16; version=$number
[ -e ${REFUSED} ] && exit $((version == 0))
if [ "$((version & 255))" != 5 ]; then rm -f ${FIRST_START}; exit; fi
{
  printf '${boltMessage('b101a2', ...AGENT)}'
  length $((${LOGON.length + CREDENTIALS.length + 2 * LENGTH_BYTES} + ${'${'}#user} + ${'${'}#password}))
  printf '${escaped(LOGON)}'; text "$user"
  printf '${escaped(CREDENTIALS)}'; text "$password"
  printf '\x00\x00${boltMessage('b310', { text: 'RETURN 1' }, 'a0a0')}${boltMessage('b13fa1', { text: 'n' }, '01')}'
} >&3
for ((messages = 0; messages < 20; messages += 1)); do
  said='' kind=0
  while u16; size=$number; [ "$size" -gt 0 ]; do
    for ((at = 0; at < size; at += 1)); do
      u8
      if [ "$at" = 1 ]; then kind=$octet; fi
      if [ "$octet" -gt 31 ] && [ "$octet" -lt 127 ]; then said+=$byte; fi
    done
  done
  case "$kind $said" in
    113*) rm -f ${FIRST_START}; exit ;;
    127*Neo.ClientError.Database.*) exit 1 ;;
    127*Neo.ClientError.*)
      if [ -e ${FIRST_START} ]; then exit 1; fi
      : >${REFUSED}
      exit 0 ;;
    127*) exit 1 ;;
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
      command: ['bash', '-c', START],
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
      probe: execProbe('bash', IS_READY),
      startProbe: { ...execProbe('bash', IS_READY), timeoutSeconds: LOGIN_TIMEOUT_SECONDS },
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
