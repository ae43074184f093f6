import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readMetricsToken } from '../../../config/api-section.ts';
import type { Config } from '../../../config/config.ts';
import { loadConfig } from '../../../config/load-config.ts';
import { readSecrets } from '../../../config/secrets.ts';
import { PodgateError } from '../../../core/errors.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-config-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const PUBLIC_PEM = publicKey.export({ type: 'spki', format: 'pem' });
const PRIVATE_PEM = privateKey.export({ type: 'pkcs8', format: 'pem' });
const EC_PEM = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' });
const indented = (pem: string): string => pem.trim().replaceAll('\n', '\n      ');

function load(env: NodeJS.ProcessEnv, yaml?: string): Config {
  if (yaml === undefined) return loadConfig(env, directory);
  writeFileSync(join(directory, 'podgate.yaml'), yaml);
  return loadConfig({ ...env, PODGATE_CONFIG: 'podgate.yaml' }, directory);
}

test('CORS is off by default, lists exact origins, and never combines a wildcard with credentials', () => {
  expect(load({}).cors).toBeNull();
  const origins = "cors: { origins: ['https://tacc.tapis.io'], credentials: true }";
  expect(load({}, origins).cors).toEqual({
    origins: ['https://tacc.tapis.io'],
    credentials: true,
    maxAgeSeconds: 600,
  });
  expect(problemsOf({}, "cors: { origins: ['*'], credentials: true }")).toEqual([
    expect.stringContaining('cors: credentials cannot be combined with the origin "*"'),
  ]);
  for (const origin of ['https://a.example/', 'a.example', 'ftp://a.example', 'https://a.example/x'])
    expect(problemsOf({}, `cors: { origins: ['${origin}'] }`)).toEqual([expect.stringContaining('must be an origin')]);
  expect(problemsOf({}, "cors: { origins: ['*', 'https://a.example'] }")).toEqual([
    expect.stringContaining('list it alone'),
  ]);
  expect([load({}).statusNames, load({}, 'status_names: tapis').statusNames]).toEqual(['seed', 'tapis']);
});

test('the tenant whose administrators manage the image allow list is the only tenant, or the named one', () => {
  const tenants = ['one', 'two'].map(
    (id) => `  - {id: ${id}, baseHost: ${id}.example, issuer: i, jwksUrl: 'https://${id}.example/keys'}`,
  );
  const [one = ''] = tenants;
  const both = tenants.join('\n');
  expect(load({}).siteAdminTenant).toBe('dev');
  expect(load({}, `tenants:\n${one}`).siteAdminTenant).toBe('one');
  expect(load({}, `tenants:\n${both}`).siteAdminTenant).toBeNull();
  expect(load({}, `tenants:\n${both}\nsiteAdminTenant: two`).siteAdminTenant).toBe('two');
  expect(problemsOf({}, `tenants:\n${both}\nsiteAdminTenant: three`)).toEqual([
    expect.stringContaining('siteAdminTenant: must be the id of one of tenants'),
  ]);
});

function problemsOf(env: NodeJS.ProcessEnv, yaml?: string): readonly string[] {
  try {
    load(env, yaml);
  } catch (error) {
    if (error instanceof PodgateError && error.code === 'config.invalid') return error.publicMessages;
    throw error;
  }
  return [];
}

describe('the API', () => {
  test('has default limits, and its Service names in a cluster', () => {
    expect(load({}).api).toEqual({
      calls: {
        ...{ calls: 512, callsPerTenant: 256, callsPerUser: 64, callsPerAddress: 128 },
        ...{ bytes: 256 * 2 ** 20, bytesPerTenant: 128 * 2 ** 20, bytesPerUser: 64 * 2 ** 20 },
      },
      slowReaders: { graceMs: 30_000, minimumBytesPerSecond: 4_096 },
      failedLoginsPerMinute: 120,
      controlHosts: [],
      metricsTokenFile: null,
    });
    const cluster = { PODGATE_ORCHESTRATOR: 'kubernetes', PODGATE_NAMESPACE: 'pods', KUBECONFIG: '/nowhere' };
    const yaml = 'kubernetes: {gateway: {namespace: gates, labels: {a: b}}}';
    expect(load(cluster, yaml).api.controlHosts).toEqual([
      'podgate-control',
      'podgate-control.gates',
      'podgate-control.gates.svc',
      'podgate-control.gates.svc.cluster.local',
    ]);
    expect(load(cluster, `${yaml}\napi: {controlHosts: [control.example.org]}`).api.controlHosts).toEqual([
      'control.example.org',
    ]);
  });

  test('refuses contradictory limits, hosts with a port, and malformed tokens, and names the key of each', () => {
    writeFileSync(join(directory, 'short.token'), 'short\n');
    const problems = problemsOf(
      {},
      'api: {callsPerUser: 300, inFlightMiBPerTenant: 300, metricsTokenFile: short.token}',
    ).join('\n');
    expect(problems).toMatch(/PODGATE_CONFIG api: callsPerUser must not exceed callsPerTenant/);
    expect(problems).toMatch(/PODGATE_CONFIG api: inFlightMiBPerUser must not exceed inFlightMiBPerTenant/);
    expect(problems).toMatch(/PODGATE_CONFIG api.metricsTokenFile: the file must contain only a token/);
    expect(problems).not.toContain('short\n');
    expect(problemsOf({}, 'api: {controlHosts: ["a.example:8000"]}').join()).toMatch(
      /api.controlHosts\[0\]: must be a host name or an IP address, without a port/,
    );
    expect(problemsOf({}, 'api: {metricsTokenFile: nothing.there}').join()).toMatch(
      /api.metricsTokenFile: the file cannot be read \(ENOENT\)/,
    );
  });

  test('reads the token at every use, and returns null when its file is gone', () => {
    const path = join(directory, 'metrics.token');
    writeFileSync(path, 'a-token-of-some-length\n');
    expect(load({}, `api: {metricsTokenFile: ${path}}`).api.metricsTokenFile).toBe(path);
    expect(readMetricsToken(path)).toBe('a-token-of-some-length');
    writeFileSync(path, '');
    expect(readMetricsToken(path)).toBeNull();
    rmSync(path);
    expect(readMetricsToken(path)).toBeNull();
  });
});

describe('without any setting', () => {
  test('it uses the embedded defaults on loopback', () => {
    expect(load({})).toMatchObject({
      listenHosts: ['127.0.0.1', '::1'],
      httpsPort: 8443,
      httpPort: 8080,
      publicHttpsPort: 8443,
      publicHttpPort: 8080,
      controlPort: 8000,
      dataDir: join(directory, '.podgate'),
      site: 'dev',
      secretKeyFile: join(directory, '.podgate', 'secret.key'),
      tenants: [{ id: 'dev', baseHost: 'localhost', key: null }],
      pods: { cpu: { minimum: 250, maximum: 6000 }, minTimeToStopSeconds: 300 },
    });
  });

  test('an empty variable is an unset one', () => {
    expect(load({ PODGATE_HTTPS_PORT: '', PODGATE_SITE: '', PODGATE_CONFIG: '' })).toEqual(load({}));
  });
});

describe('variables', () => {
  test('each one takes effect', () => {
    const config = load({
      PODGATE_HOST: '127.0.0.2',
      PODGATE_HTTPS_PORT: '1443',
      PODGATE_HTTP_PORT: '1080',
      PODGATE_PUBLIC_HTTPS_PORT: '443',
      PODGATE_CONTROL_PORT: '0',
      PODGATE_DATA_DIR: 'state',
      PODGATE_SITE: 'site1',
      PODGATE_BASE_HOST: 'pods.example.org',
      PODGATE_SECRET_KEY_FILE: '/etc/podgate.key',
      PODGATE_ORCHESTRATOR: 'process',
      PODGATE_WORKERS: '0',
      PODGATE_ROLES: 'all',
      NEO4J_HOME: '/opt/neo4j',
    });
    expect(config).toMatchObject({
      listenHosts: ['127.0.0.2'],
      httpsPort: 1443,
      httpPort: 1080,
      publicHttpsPort: 443,
      publicHttpPort: 1080,
      controlPort: 0,
      dataDir: join(directory, 'state'),
      site: 'site1',
      secretKeyFile: '/etc/podgate.key',
      workers: 0,
      neo4jHome: '/opt/neo4j',
    });
    expect(config.tenants[0]).toMatchObject({
      baseHost: 'pods.example.org',
      issuer: 'https://pods.example.org/v3/tokens',
    });
  });

  test.each([
    ['PODGATE_HOST', 'example.org'],
    ['PODGATE_HTTPS_PORT', '65536'],
    ['PODGATE_HTTP_PORT', '-1'],
    ['PODGATE_PUBLIC_HTTPS_PORT', '8443x'],
    ['PODGATE_CONTROL_PORT', '1e3'],
    ['PODGATE_SITE', 'Site'],
    ['PODGATE_SITE', 'a-site-that-is-too-long'],
    ['PODGATE_BASE_HOST', 'localhost:8443'],
    ['PODGATE_BASE_HOST', '127.0.0.1'],
    ['PODGATE_WORKERS', '257'],
    ['PODGATE_ROLES', 'gatekeeper'],
    ['PODGATE_ORCHESTRATOR', 'docker'],
    ['PODGATE_ALLOW_REMOTE_PROCESS_PODS', 'true'],
  ])('%s=%s is refused by name', (name, value) => {
    expect(problemsOf({ [name]: value })).toEqual([expect.stringMatching(new RegExp(`^${name}: .+\\.$`))]);
  });

  test('a Redis URL selects Redis as the store, and is not passed to child processes', () => {
    expect(load({}).store).toBe('sqlite');
    const config = load({ PODGATE_REDIS_URL: 'rediss://us%40er:geheim@redis.example.org:6380/1' });
    expect(config.store).toBe('redis');
    expect(JSON.stringify(config)).not.toContain('geheim');
  });

  test.each(['localhost:6379', 'http://h', 'redis://', 'redis://h/x', 'redis://h?a=b', 'redis://:%zz@h'])(
    'the Redis URL %s is refused, and not repeated',
    (url) => {
      const problems = problemsOf({ PODGATE_REDIS_URL: url });
      expect(problems).toEqual([expect.stringMatching(/^PODGATE_REDIS_URL: must have the form/)]);
      expect(() => readSecrets({ PODGATE_REDIS_URL: url })).toThrow('PODGATE_REDIS_URL: must have the form');
    },
  );

  test('the certificate authority of Redis must be valid, and requires TLS', () => {
    const name = fileURLToPath(new URL('../../../package.json', import.meta.url));
    const [plain, tls] = ['redis://h', 'rediss://h'].map((url) => ({ PODGATE_REDIS_URL: url }));
    expect(problemsOf({ ...plain, PODGATE_REDIS_CA_FILE: name })).toEqual([
      expect.stringMatching(/^PODGATE_REDIS_CA_FILE: is used with TLS only/),
    ]);
    expect(problemsOf({ ...tls, PODGATE_REDIS_CA_FILE: name })).toEqual([
      'PODGATE_REDIS_CA_FILE: the file contains no certificate in PEM format.',
    ]);
    expect(problemsOf({ ...tls, PODGATE_REDIS_CA_FILE: '/none/such' })).toEqual([
      'PODGATE_REDIS_CA_FILE: the file cannot be read (ENOENT).',
    ]);
    expect(() => readSecrets({ ...tls, PODGATE_REDIS_CA_FILE: '/none/such' })).toThrow('PODGATE_REDIS_CA_FILE');
  });

  test('an unknown PODGATE_ variable is an error; other variables are ignored', () => {
    expect(problemsOf({ PODGATE_HTTPS_PROT: '1', PODGATE_X: '1', OTHER: '1' })).toEqual([
      expect.stringMatching(/^PODGATE_HTTPS_PROT, PODGATE_X: unknown setting.*PODGATE_HTTPS_PORT/),
    ]);
  });

  test('duplicate ports are refused, except port 0', () => {
    expect(problemsOf({ PODGATE_HTTPS_PORT: '8000' })).toHaveLength(1);
    expect(problemsOf({ PODGATE_HTTPS_PORT: '0', PODGATE_HTTP_PORT: '0', PODGATE_CONTROL_PORT: '0' })).toEqual([]);
  });

  test('a non-loopback address requires the explicit setting', () => {
    expect(problemsOf({ PODGATE_HOST: '0.0.0.0' })).toEqual([
      expect.stringContaining('PODGATE_ALLOW_REMOTE_PROCESS_PODS=yes'),
    ]);
    expect(load({ PODGATE_HOST: '0.0.0.0', PODGATE_ALLOW_REMOTE_PROCESS_PODS: 'yes' }).listenHosts).toEqual([
      '0.0.0.0',
    ]);
  });

  test('all errors are reported at once, in variables and in the file', () => {
    const problems = problemsOf({ PODGATE_SITE: '!', PODGATE_WORKERS: 'x' }, 'images: 1\nacme: {}\nnobody: 1\n');
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'PODGATE_SITE',
      'PODGATE_WORKERS',
      'PODGATE_CONFIG images',
      'PODGATE_CONFIG acme.directoryUrl',
      'PODGATE_CONFIG acme.termsOfServiceAgreed',
      'PODGATE_CONFIG',
    ]);
  });

  test('errors never quote the value of a refused setting', () => {
    const secret = 'geheim';
    const names = [
      ...['HOST', 'HTTPS_PORT', 'SITE', 'BASE_HOST', 'REDIS_URL', 'ORCHESTRATOR', 'NAMESPACE', 'WORKERS', 'ROLES'],
      ...['ALLOW_REMOTE_PROCESS_PODS', 'CONFIG', 'NOBODY_KNOWS'],
    ];
    const problems = problemsOf(Object.fromEntries(names.map((name) => [`PODGATE_${name}`, `${secret} ${secret}`])));
    expect(problems).toHaveLength(names.length);
    expect(problems.join('\n')).not.toContain(secret);
  });
});

describe('a cluster', () => {
  const CLUSTER = { PODGATE_ORCHESTRATOR: 'kubernetes', KUBECONFIG: 'kube/config' };

  test('is off by default', () => {
    expect(load({}).kubernetes).toBeNull();
  });

  test('has defaults that need no file, and lets the gateways of deploy/ reach pods', () => {
    expect(load(CLUSTER)).toMatchObject({
      orchestrator: 'kubernetes',
      kubernetes: {
        namespace: 'podgate-pods',
        kubeconfig: join(directory, 'kube', 'config'),
        storageClass: null,
        volumeSizeMiB: 10_240,
        ephemeralStorage: { requestMiB: 128, limitMiB: 2_048 },
        volumeAccessMode: 'ReadWriteOnce',
        namedVolumes: { storageClass: null, accessMode: 'ReadWriteOnce' },
        podSecurity: 'restricted',
        templateImages: {},
        gateway: {
          namespace: 'podgate',
          labels: { 'app.kubernetes.io/name': 'podgate', 'app.kubernetes.io/component': 'gateway' },
        },
      },
    });
  });

  test('uses the service account of its own pod when there is no kubeconfig', () => {
    const env = { PODGATE_ORCHESTRATOR: 'kubernetes', KUBERNETES_SERVICE_HOST: '10.0.0.1' };
    expect(load(env).kubernetes?.kubeconfig).toBeNull();
  });

  test('lets the gateway bind to any address', () => {
    expect(load({ ...CLUSTER, PODGATE_HOST: '0.0.0.0' }).listenHosts).toEqual(['0.0.0.0']);
  });

  test('reads its section of the file', () => {
    const config = load(
      { ...CLUSTER, PODGATE_NAMESPACE: 'users' },
      `kubernetes:
  storageClass: fast
  volumeSizeMiB: 512
  ephemeralStorage: {limitMiB: 4096}
  volumeAccessMode: ReadWriteOncePod
  namedVolumes: {storageClass: shared, accessMode: ReadWriteMany}
  podSecurity: baseline
  templateImages: {template/neo4j: mirror.example/neo4j:5}
  imagePullSecrets: [mirror]
  nodeSelector: {pool: users}
  tolerations: [{key: users, operator: Exists}]
  gateway: {namespace: edge, labels: {app: podgate}}
  egressExcept: [203.0.113.0/24, '::ffff:198.51.100.0/120', 2001:DB8::/32]
  nameServers: [10.96.0.10/32]
`,
    );
    expect(config.kubernetes).toEqual({
      namespace: 'users',
      kubeconfig: join(directory, 'kube', 'config'),
      storageClass: 'fast',
      volumeSizeMiB: 512,
      ephemeralStorage: { requestMiB: 128, limitMiB: 4_096 },
      volumeAccessMode: 'ReadWriteOncePod',
      namedVolumes: { storageClass: 'shared', accessMode: 'ReadWriteMany' },
      podSecurity: 'baseline',
      templateImages: { 'template/neo4j': 'mirror.example/neo4j:5' },
      imagePullSecrets: ['mirror'],
      nodeSelector: { pool: 'users' },
      tolerations: [{ key: 'users', operator: 'Exists' }],
      gateway: { namespace: 'edge', labels: { app: 'podgate' } },
      egressExcept: ['203.0.113.0/24', '198.51.100.0/24', '2001:db8::/32'],
      nameServers: ['10.96.0.10/32'],
    });
  });

  test.each([
    [
      'no way to it',
      { PODGATE_ORCHESTRATOR: 'kubernetes' },
      '',
      'PODGATE_ORCHESTRATOR: kubernetes requires KUBECONFIG',
    ],
    ['two kubeconfigs', { ...CLUSTER, KUBECONFIG: 'a:b' }, '', 'KUBECONFIG: must be the path of a single file'],
    ['a bad namespace', { ...CLUSTER, PODGATE_NAMESPACE: 'a.b' }, '', 'PODGATE_NAMESPACE: '],
    ['a namespace without it', { PODGATE_NAMESPACE: 'pods' }, '', 'PODGATE_NAMESPACE: requires'],
    ['a section without it', {}, 'kubernetes: {}', 'PODGATE_CONFIG kubernetes: requires'],
    [
      'gateways that are every pod',
      CLUSTER,
      'kubernetes: {gateway: {labels: {}}}',
      'PODGATE_CONFIG kubernetes.gateway.labels: ',
    ],
    [
      'an address without length',
      CLUSTER,
      'kubernetes: {egressExcept: [10.0.0.1]}',
      'PODGATE_CONFIG kubernetes.egressExcept[0]: ',
    ],
    [
      'a name server without length',
      CLUSTER,
      'kubernetes: {nameServers: [10.96.0.10]}',
      'PODGATE_CONFIG kubernetes.nameServers[0]: ',
    ],
    [
      'an image of no template',
      CLUSTER,
      'kubernetes: {templateImages: {nginx: x}}',
      'PODGATE_CONFIG kubernetes.templateImages',
    ],
    [
      'seconds of an effect that has none',
      CLUSTER,
      'kubernetes: {tolerations: [{key: a, effect: NoSchedule, tolerationSeconds: 5}]}',
      'PODGATE_CONFIG kubernetes.tolerations[0]: tolerationSeconds requires the effect NoExecute',
    ],
    ['no size', CLUSTER, 'kubernetes: {volumeSizeMiB: 0}', 'PODGATE_CONFIG kubernetes.volumeSizeMiB: '],
    [
      'a request above its limit',
      CLUSTER,
      'kubernetes: {ephemeralStorage: {requestMiB: 200, limitMiB: 100}}',
      'PODGATE_CONFIG kubernetes.ephemeralStorage: ',
    ],
  ])('with %s is refused by the name of the key', (_what, env, yaml, begin) => {
    const problems = problemsOf(env, yaml);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.startsWith(begin), problems[0]).toBe(true);
  });
});

describe('the file', () => {
  test('defines tenants with their keys, bounds, quotas and limits', () => {
    const config = load(
      {},
      `tenants:
  - id: one
    baseHost: one.example.org
    administrators: [alice]
    services: [files, jobs@two]
  - id: two
    baseHost: two.example.org
    issuer: https://idp.example.org
    key: |
      ${indented(PUBLIC_PEM)}
  - id: three
    baseHost: three.example.org
    jwks: { keys: [{ kty: RSA, n: AQAB, e: AQAB }] }
images: [nginx]
resources: { cpu: { minimum: 1, maximum: 9000 }, default: { cpuLimit: 9000 } }
quotas: { podsPerUser: 3, cpuPerUser: null, recordKiBPerUser: 2 }
minTimeToStopSeconds: 10
limits: { connections: 7 }
proxyProtocol: { from: [10.0.0.0/8, '2001:db8::/32', 192.0.2.1], policy: use }
`,
    );
    expect(config.tenants.map(({ id }) => id)).toEqual(['one', 'two', 'three']);
    expect(config.tenants[0]).toMatchObject({ key: null, administrators: ['alice'] });
    expect(config.tenants[0].services).toEqual([
      { name: 'files', tenant: 'one' },
      { name: 'jobs', tenant: 'two' },
    ]);
    expect(config.tenants[1]).toMatchObject({ key: PUBLIC_PEM, issuer: 'https://idp.example.org' });
    expect(config.tenants[2]).toMatchObject({ key: { keys: [{ kty: 'RSA' }] } });
    expect(config.images).toEqual(['nginx']);
    expect(config.pods).toMatchObject({
      cpu: { minimum: 1, maximum: 9000 },
      memory: { minimum: 256, maximum: 12_288 },
      minTimeToStopSeconds: 10,
      defaultResources: { cpuRequest: 250, cpuLimit: 9000 },
    });
    expect(config.quotas.perUser).toMatchObject({ pods: 3, cpu: null, memory: 307_200, recordBytes: 2_048 });
    expect(config.quotas.perTenant).toMatchObject({ pods: 5_000, connections: 20_000 });
    expect(config.gateway).toEqual({ connections: 7 });
    expect(config.proxyProtocol).toEqual({ from: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'], policy: 'use' });
  });

  test.each([
    ['a private key', `key: |\n      ${indented(PRIVATE_PEM)}`, 'tenants[0].key: is a private key'],
    ['a key that is not RSA', `key: |\n      ${indented(EC_PEM)}`, 'tenants[0].key: must be an RSA'],
    ['no key at all', 'key: nothing', 'tenants[0].key: must be an RSA'],
    [
      'key and jwks',
      `jwks: { keys: [{}] }\n    key: |\n      ${indented(PUBLIC_PEM)}`,
      'tenants[0]: must have only one of key, jwks, jwksFile and jwksUrl',
    ],
    ['two sources of keys', 'jwksFile: a.json\n    jwksUrl: https://b.org', 'tenants[0]: must have only one of'],
    ['keys without TLS', 'jwksUrl: http://idp.example.org/jwks', 'tenants[0].jwksUrl: must be an https URL'],
    ['keys of a name like loopback', 'jwksUrl: http://127.example.org/', 'tenants[0].jwksUrl: must be an https URL'],
    ['keys with a password', 'jwksUrl: https://a:b@idp.example.org/', 'tenants[0].jwksUrl: must be an https URL'],
    ['a key it does not know', 'color: red', 'tenants[0]: unknown key: color'],
    ['a service of no tenant', 'services: [jobs@none]', 'tenants[0].services: jobs is signed by the tenant none'],
    ['a service that is no name', 'services: ["a b"]', 'tenants[0].services[0]: must be the name of a service'],
  ])('a tenant with %s is refused', (_, line, problem) => {
    expect(problemsOf({}, `tenants:\n  - id: one\n    baseHost: a.org\n    ${line}\n`)).toEqual([
      expect.stringContaining(`PODGATE_CONFIG ${problem}`),
    ]);
  });

  test.each(['10.0.0.0/33', 'lb.example.org', '10.0.0.0/8/8', '10.0.0.0/', '::1/129', 'fe80::1%eth0', '*'])(
    'a load balancer at %j is refused, and nobody is trusted without one',
    (range) => {
      expect(load({}).proxyProtocol).toEqual({ from: [], policy: 'require' });
      expect(problemsOf({}, `proxyProtocol: { from: ['${range}'] }`)).toEqual([
        expect.stringContaining('PODGATE_CONFIG proxyProtocol.from[0]: must be an IP address or a network'),
      ]);
    },
  );

  test('the access log is a file in the data directory, standard output in a cluster, or what the setting says', () => {
    const file = join(directory, '.podgate', 'access.log');
    expect(load({}).accessLog).toEqual({ to: 'file', file, maxFileBytes: 64 * 1024 * 1024, keepFiles: 3 });
    const cluster = { PODGATE_ORCHESTRATOR: 'kubernetes', KUBERNETES_SERVICE_HOST: '10.0.0.1' };
    expect(load(cluster).accessLog.to).toBe('stdout');
    expect(load(cluster, 'accessLog: { file: log/a.log }').accessLog).toMatchObject({
      to: 'file',
      file: join(directory, 'log/a.log'),
    });
    expect(load({}, 'accessLog: { to: off }').accessLog.to).toBe('off');
    expect(problemsOf({}, 'accessLog: { to: syslog, maxFileMiB: 0 }')).toHaveLength(2);
    expect(load({}, 'trustedProxies: [10.0.0.0/8]').trustedProxies).toEqual(['10.0.0.0/8']);
    expect(problemsOf({}, 'trustedProxies: [example.org, 10.0.0.0/08, fe80::1%eth0]')).toHaveLength(3);
  });

  test('sessions get one second to end, or the configured time', () => {
    expect(load({}).drain).toEqual({ readinessDelayMs: 0, sessionsMs: 1_000, replacedMs: 3_600_000 });
    expect(load({}, 'drain: { readinessDelayMs: 10000, sessionsMs: 40000 }').drain).toEqual({
      readinessDelayMs: 10_000,
      sessionsMs: 40_000,
      replacedMs: 3_600_000,
    });
    expect(problemsOf({}, 'drain: { sessionsMs: -1 }')).toHaveLength(1);
    expect(load({}).sessions).toEqual({ onRouteGone: 'drain', onClientRefused: 'cut', drainMs: 30_000 });
    expect(load({}, 'sessions: { onRouteGone: cut }').sessions.onRouteGone).toBe('cut');
    expect(problemsOf({}, 'sessions: { onRouteGone: now }')).toHaveLength(1);
  });

  test('the control port is on loopback, and in a cluster on an address that probes reach', () => {
    expect(load({ PODGATE_HOST: '127.0.0.2' }).controlHost).toBe('127.0.0.1');
    const inCluster = { PODGATE_ORCHESTRATOR: 'kubernetes', PODGATE_HOST: '0.0.0.0', KUBECONFIG: 'kubeconfig' };
    expect(load(inCluster).controlHost).toBe('0.0.0.0');
  });

  test('tenants whose host names would collide are refused', () => {
    const tenant = (id: string, baseHost: string): string =>
      `  - { id: ${id}, baseHost: ${baseHost}, jwks: { keys: [{}] } }\n`;
    const yaml = (second: string): string => `tenants:\n${tenant('one', 'a.org')}${second}`;
    expect(problemsOf({}, yaml(tenant('one', 'b.org')))).toEqual([
      expect.stringContaining('tenants[1].id: is already used'),
    ]);
    expect(problemsOf({}, yaml(tenant('two', 'a.org')))).toHaveLength(1);
    expect(problemsOf({}, yaml(tenant('two', 'x.pods.a.org')))).toHaveLength(1);
    expect(problemsOf({}, yaml(tenant('two', 'x.a.org')))).toEqual([]);
  });

  test('a tenant publishes its keys in a file or at a URL', () => {
    const yaml =
      'tenants:\n  - { id: one, baseHost: a.org, jwksFile: keys/jwks.json }\n' +
      '  - { id: two, baseHost: b.org, jwksUrl: "https://idp.example.org/jwks" }\n';
    expect(load({}, yaml).tenants.map(({ key }) => key)).toEqual([
      { file: expect.stringMatching(/^\/.*\/keys\/jwks\.json$/) as string },
      { url: 'https://idp.example.org/jwks' },
    ]);
  });

  test('only the first tenant may leave the signing to this installation', () => {
    const yaml = 'tenants:\n  - { id: one, baseHost: a.org }\n  - { id: two, baseHost: b.org }\n';
    expect(problemsOf({}, yaml)).toEqual([
      expect.stringContaining('tenants[1]: has no key (key, jwks, jwksFile or jwksUrl)'),
    ]);
  });

  test('keys of later releases are unknown keys', () => {
    expect(problemsOf({}, 'extraListeners: []\nsecrets: {}\n')).toEqual([
      expect.stringContaining('unknown key: extraListeners, secrets'),
    ]);
  });

  test('defaults out of bounds are refused', () => {
    expect(problemsOf({}, 'resources: { cpu: { minimum: 5000, maximum: 6000 } }\n')).toHaveLength(1);
    expect(problemsOf({}, 'resources: { memory: { minimum: 2, maximum: 1 } }\n')).toHaveLength(1);
    expect(problemsOf({}, 'resources: { gpusMaximum: 0, default: { gpus: 1 } }\n')).toHaveLength(1);
  });

  test('invalid YAML is reported with its line, and never quoted', () => {
    const problems = problemsOf({}, 'images: [a\npassword: "geheim\n');
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) {
      expect(problem).toMatch(/^PODGATE_CONFIG line \d+ column \d+: invalid YAML/);
      expect(problem).not.toContain('geheim');
    }
  });

  test('a missing file is an error', () => {
    expect(problemsOf({ PODGATE_CONFIG: 'nowhere.yaml' })).toEqual([
      expect.stringContaining('PODGATE_CONFIG: the file cannot be read (ENOENT)'),
    ]);
  });

  test('PODGATE_BASE_HOST and the first tenant must agree', () => {
    const yaml = 'tenants:\n  - { id: one, baseHost: a.org }\n';
    expect(problemsOf({ PODGATE_BASE_HOST: 'b.org' }, yaml)).toHaveLength(1);
    expect(problemsOf({ PODGATE_BASE_HOST: 'a.org' }, yaml)).toEqual([]);
  });
});

describe('listeners', () => {
  test('add ports, each of them unique', () => {
    expect(load({}, 'listeners: [{port: 5432}, {port: 7687}]').listeners).toEqual([{ port: 5432 }, { port: 7687 }]);
    expect(load({}).listeners).toEqual([]);
    expect(problemsOf({}, 'listeners: [{port: 8443}, {port: 5432}, {port: 5432}]')).toEqual([
      'PODGATE_CONFIG listeners[0].port: 8443 is already used; use a different port for each.',
      'PODGATE_CONFIG listeners[2].port: 5432 is already used; use a different port for each.',
    ]);
  });

  test.each([
    ['no port', 'listeners: [{}]', 'PODGATE_CONFIG listeners[0].port: '],
    ['a port of chance', 'listeners: [{port: 0}]', 'PODGATE_CONFIG listeners[0].port: '],
    [
      'a protocol, which the first bytes decide',
      'listeners: [{port: 5432, protocol: postgres}]',
      'PODGATE_CONFIG listeners[0]',
    ],
    [
      'too many',
      `listeners: [${Array.from({ length: 9 }, (_, at) => `{port: ${9000 + at}}`).join()}]`,
      'PODGATE_CONFIG listeners: ',
    ],
  ])('are refused with %s', (_what, yaml, problem) => {
    expect(problemsOf({}, yaml)).toEqual([expect.stringContaining(problem)]);
  });
});

test('accepts the OAuth client of a Tapis tenant with the file of its key, for the browser alone', () => {
  writeFileSync(join(directory, 'key'), 'secret\n');
  writeFileSync(join(directory, 'not-a-key'), 'two words\n');
  const at = 'tokenEndpoint: "https://t.example.org/tokens", authorizationEndpoint: "https://t.example.org/authorize"';
  const yaml = (rest: string) =>
    `tenants:\n  - {id: one, baseHost: one.example.org, oauth: {clientId: podgate, ${at}${rest}}}`;
  const [one] = load({}, yaml(`, type: tapis, clientKeyFile: ${directory}/key`)).tenants;
  expect(one.oauth?.tapis).toEqual({ clientKeyFile: join(directory, 'key') });
  for (const [rest, problem] of [
    [', type: tapis', 'must have clientKeyFile with type: tapis'],
    [`, clientKeyFile: ${directory}/key`, 'must have clientKeyFile with type: tapis, and only then'],
    [`, type: tapis, clientKeyFile: ${directory}/key, scope: pods`, 'neither deviceAuthorizationEndpoint nor scope'],
    [`, type: tapis, clientKeyFile: ${directory}/not-a-key`, 'oauth.clientKeyFile: the file must contain the key'],
    [`, type: tapis, clientKeyFile: ${directory}/none`, 'oauth.clientKeyFile: the file cannot be read'],
  ] as const) {
    expect(problemsOf({}, yaml(rest))).toEqual([expect.stringContaining(problem)]);
  }
});

test("accepts a tenant's OAuth client over https or loopback, with at least one way to log in", () => {
  const tenant = 'tenants:\n  - {id: one, baseHost: one.example.org, oauth: {clientId: podgate, ';
  const token = 'tokenEndpoint: "https://login.example.org/token"';
  const [one] = load({}, `${tenant}${token}, authorizationEndpoint: "https://login.example.org/auth"}}`).tenants;
  expect(one.oauth).toEqual({
    ...{ clientId: 'podgate', tokenEndpoint: 'https://login.example.org/token', scope: null },
    ...{ authorizationEndpoint: 'https://login.example.org/auth', deviceAuthorizationEndpoint: null, tapis: null },
  });
  expect(load({}, 'tenants:\n  - {id: one, baseHost: one.example.org}').tenants[0].oauth).toBeNull();
  expect(problemsOf({}, `${tenant}${token}}}`)).toEqual([
    expect.stringContaining('must have authorizationEndpoint or deviceAuthorizationEndpoint, or both'),
  ]);
  const plain = 'tokenEndpoint: "http://login.example.org/token", authorizationEndpoint: "http://127.0.0.1/auth"}}';
  expect(problemsOf({}, `${tenant}${plain}`)).toEqual([expect.stringContaining('tokenEndpoint: must be an https URL')]);
});
