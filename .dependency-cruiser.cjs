/** The direction of dependencies: core <- config, proxy, control, spawner, certs <- main, cli. The parts never import
 *  each other, and each SDK is imported by its own adapter folder only. */
const sdk = (name, npm, from) => ({
  name: `sdk-${name}`,
  severity: 'error',
  comment: `${npm} is imported by ${from} only`,
  from: { pathNot: from },
  to: { path: `^node_modules/(${npm})/` },
});
const part = (name) => ({
  name: `part-${name}`,
  severity: 'error',
  from: { path: `^${name}/` },
  to: { path: '^(main|cli|config|proxy|control|spawner|certs)/', pathNot: `^${name}/` },
});
/** The folders of proxy/ from the bottom up, as in ARCHITECTURE.md: each imports only from the layers before its own. */
const PROXY_LAYERS = [
  ['socket', 'tls', 'routes'],
  ['bytes', 'limits', 'policy', 'use'],
  ['connection', 'goodbye', 'dial'],
  ['proxy-protocol', 'telemetry'],
  ['sniff', 'session'],
  ['protocols/http/wire', 'protocols/postgres/cancel', 'protocols/postgres', 'protocols/bolt', 'protocols/tcp'],
  ['protocols/http/responses', 'protocols/passthrough', 'protocols/egress'],
  ['protocols/http/exchange'],
  ['protocols/http/http1', 'protocols/http/http2'],
  ['protocols/http'],
  ['listener'],
  ['.'],
];
/** The files of these folders, without those of the folders below them. */
const filesIn = (folders) =>
  `^proxy/(${folders.map((folder) => (folder === '.' ? '' : `${folder}/`)).join('|')})[^/]+$`;
const proxyLayers = [
  ...PROXY_LAYERS.flatMap((layer, index) =>
    layer.map((folder) => ({
      name: 'proxy-layers',
      severity: 'error',
      comment: `proxy/${folder} imports only from the layers before its own (see ARCHITECTURE.md)`,
      from: { path: filesIn([folder]) },
      to: { path: filesIn(PROXY_LAYERS.slice(index).flat()), pathNot: filesIn([folder]) },
    })),
  ),
  {
    name: 'proxy-folder-without-layer',
    severity: 'error',
    from: { path: '^proxy/', pathNot: filesIn(PROXY_LAYERS.flat()) },
    to: {},
  },
];
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-folder-cycles',
      severity: 'error',
      scope: 'folder',
      from: {},
      to: { circular: true },
    },
    ...proxyLayers,
    {
      name: 'core-imports-nothing',
      severity: 'error',
      from: { path: '^core/' },
      to: { pathNot: '^core/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'core-is-pure',
      severity: 'error',
      comment:
        'core decides; it opens no socket or file and reads no environment. (node:net is also what parses addresses.)',
      from: { path: '^core/', pathNot: '^core/address-range[.]ts$' },
      to: { dependencyTypes: ['core'], path: '^(node:)?(net|tls|http|https|fs|fs/promises|child_process|os|process)$' },
    },
    ...['config', 'proxy', 'control', 'spawner', 'certs'].map(part),
    {
      name: 'http-knows-no-resource',
      severity: 'error',
      comment: 'control/http serves operations, whatever they are about',
      from: { path: '^control/http/' },
      to: { path: '^control/', pathNot: '^control/(http|auth)/' },
    },
    {
      name: 'objects-know-no-resource',
      severity: 'error',
      comment: 'control/objects has what is the same for every kind of record',
      from: { path: '^control/objects/' },
      to: { path: '^control/(resources|workers|routes)/' },
    },
    {
      name: 'resources-are-independent',
      severity: 'error',
      comment: 'what resources share is in control/objects',
      from: { path: '^control/resources/([^/]+)/' },
      to: { path: '^control/resources/', pathNot: '^control/resources/$1/' },
    },
    {
      name: 'not-to-test',
      severity: 'error',
      from: { pathNot: '^(test|bench|scripts)/' },
      to: { path: '^(test|bench|scripts)/' },
    },
    {
      name: 'console-is-for-browsers',
      severity: 'error',
      comment: 'console/ is served as it is: nothing imports it, and it imports only what it is served with',
      from: { pathNot: '^(console|test)/' },
      to: { path: '^console/' },
    },
    sdk('console', 'preact|htm|@xterm/[a-z-]+', '^console/'),
    sdk('koa', 'koa|@koa/router|@koa/cors', '^control/http/'),
    sdk('zod', 'zod', '^(config|control/http|control/objects|control/resources)/'),
    sdk('yaml', 'yaml', '^(config|test)/'),
    sdk('xml', 'sax', '^config/'),
    sdk('x509', '@peculiar/[a-z0-9-]+', '^(certs|test)/'),
    sdk('jose', 'jose', '^(control/auth|test)/'),
    sdk('pino', 'pino', '^main/'),
    sdk('acme', 'acme-client', '^(certs|test)/'),
    sdk('public-suffix', 'tldts|tldts-core', '^certs/'),
    sdk('pg', 'pg', '^(cli|spawner/orchestrator/process|test|bench)/'),
    sdk('kubernetes', '@kubernetes/client-node|undici', '^(spawner/orchestrator/kubernetes|test)/'),
    sdk('command-line', 'commander|@clack/[a-z]+|neo4j-driver', '^(cli|test)/'),
    sdk('grpc', '@grpc/grpc-js', '^test/'),
    sdk('redis', 'redis|@redis/[a-z-]+', '^(control/store/redis|test)/'),
  ],
  options: {
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.js'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
