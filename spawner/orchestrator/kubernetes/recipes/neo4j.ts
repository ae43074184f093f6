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
