import { describe, expect, test } from 'vitest';

import { podSchemas } from '../../../control/resources/pods/schema.ts';
import { writtenPodOf } from '../../../control/resources/pods/written-pod.ts';
import { type RuleContext, specOfNewPod, specOfUpdate } from '../../../control/resources/pods/rules.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { podSpec } from '../../support/pod-records.ts';
import { BAD_NEW_PODS, BAD_UPDATES } from './bad-pods.ts';
import { LIMITS } from './limits.ts';

const schemas = podSchemas(LIMITS);
const context: RuleContext = {
  place: { site: 'dev', tenant: 'default' },
  templates: createTemplateCatalog(),
  allowsImages: false,
  imageAllowList: ['nginx', 'org/tool:1.0', 'registry.example:5000/a/b'],
  defaultResources: LIMITS.defaultResources,
  mountProblem: null,
  mountsBy: (mounts) => mounts,
  sealEnvironment: (values) => values,
  mapSecrets: (references) =>
    Object.fromEntries(Object.entries(references).map(([key, reference]) => [key, { reference, by: 'alice' }])),
};
const GOOD = { pod_id: 'mypod', pod_template: 'podgate/process', command: ['node', 'server.js'] };

/** As it comes from the wire: what is undefined is not there. */
const sent = (body: object): unknown => JSON.parse(JSON.stringify(body));
const create = (body: object, change: Partial<RuleContext> = {}) =>
  specOfNewPod(writtenPodOf(schemas.NewPod, sent(body)), { ...context, ...change });
const specOf = (body: object, change: Partial<RuleContext> = {}) => {
  const ruled = create(body, change);
  if (ruled.kind === 'refused') throw new Error(ruled.problems.join('\n'));
  return ruled.value.spec;
};

function expectProblems(problems: readonly string[], beginnings: readonly string[]): void {
  for (const beginning of beginnings) {
    expect(
      problems.some((problem) => problem.startsWith(beginning)),
      `${beginning}\n${problems.join('\n')}`,
    ).toBe(true);
  }
  expect(problems, 'one sentence for each mistake, no follow-ups').toHaveLength(beginnings.length);
}

describe('a create', () => {
  for (const [what, change, ...fields] of BAD_NEW_PODS) {
    test(`with ${what} is refused, naming the field`, () => {
      const ruled = create({ ...GOOD, ...change });
      expect(ruled.kind).toBe('refused');
      expectProblems(ruled.kind === 'refused' ? ruled.problems : [], fields);
    });
  }

  test.each([[null], [[]], ['text'], [7], [true]])('whose body is %j is refused', (body) => {
    const ruled = specOfNewPod(writtenPodOf(schemas.NewPod, body), context);
    expect(ruled).toEqual({ kind: 'refused', problems: ['body: must be a JSON object'] });
  });

  test('accepts every field of the seed at its bounds', () => {
    expect(
      specOf({
        ...GOOD,
        description: 'x'.repeat(255),
        arguments: ['--flag'],
        environment_variables: { A: '', 'b.c-D_1': 'x' },
        data_requests: ['a'],
        roles_required: ['b'],
        status_requested: 'ON',
        volume_mounts: {},
        time_to_stop_default: -1,
        time_to_stop_instance: 300,
        networking: {
          default: { protocol: 'Postgres', port: 10, url: 'ignored' },
          second: { protocol: 'TCP', port: 65_535, ip_allow_list: ['10.1.2.3', '2001:db8::/32'] },
          abc: { protocol: 'local_only' },
        },
        persistent_volume: false,
        resources: { cpu_request: 250, cpu_limit: 250, mem_limit: 12_288, gpus: 1 },
      }),
    ).toEqual({
      template: 'podgate/process',
      writtenTemplate: 'podgate/process',
      description: 'x'.repeat(255),
      command: ['node', 'server.js'],
      arguments: ['--flag'],
      environmentVariables: { A: '', 'b.c-D_1': 'x' },
      networking: {
        default: { protocol: 'postgres', port: 10, ipAllowList: [] },
        second: { protocol: 'tcp', port: 65_535, ipAllowList: ['10.1.2.3', '2001:db8::/32'] },
        abc: { protocol: 'local_only', port: 5000, ipAllowList: [] },
      },
      persistentVolume: false,
      volumeMounts: [],
      resources: { cpuRequest: 250, cpuLimit: 250, memRequest: 256, memLimit: 12_288, gpus: 1 },
      dataRequests: ['a'],
      rolesRequired: ['b'],
      timeToStopDefault: -1,
    });
  });

  test.each(['neo4j', 'template/neo4j'])('takes pod_template %s with the networking of the template', (name) => {
    for (const field of ['pod_template', 'template', 'image']) {
      const spec = specOf({ pod_id: 'mygraph', [field]: name, persistent_volume: true, routing_port: 7687 });
      expect(spec).toMatchObject({ template: 'template/neo4j', writtenTemplate: name, persistentVolume: true });
      expect(Object.keys(spec.networking)).toEqual(['default', 'browser']);
    }
  });

  test('accepts access rules for a template with fixed ports', () => {
    const spec = specOf({
      pod_id: 'mypg',
      pod_template: 'postgres',
      networking: { default: { protocol: 'postgres', port: 5432, ip_allow_list: ['::1'] } },
    });
    expect(spec.networking).toEqual({ default: { protocol: 'postgres', port: 5432, ipAllowList: ['::1'] } });
  });

  test('keeps the fields of a stanza that differ from the defaults', () => {
    const networking = {
      default: { protocol: 'postgres', port: 5432, tls: 'passthrough', proxy_protocol: 'v2' },
      grpc: { port: 50_051, backend_protocol: 'h2c', proxy_protocol: 'none', tls: 'terminate' },
      web: { port: 8000, backend_protocol: 'http1', client_ca: '', speaks_first: 'client' },
    };
    expect(specOf({ ...GOOD, networking }).networking).toEqual({
      default: { protocol: 'postgres', port: 5432, ipAllowList: [], tls: 'passthrough', sendProxyProtocol: 'v2' },
      grpc: { protocol: 'http', port: 50_051, ipAllowList: [], backendProtocol: 'h2c' },
      web: { protocol: 'http', port: 8000, ipAllowList: [] },
    });
    const mail = { default: { protocol: 'tcp', port: 25, speaks_first: 'server' } };
    expect(specOf({ ...GOOD, networking: mail }).networking).toEqual({
      default: { protocol: 'tcp', port: 25, ipAllowList: [], speaksFirst: 'server' },
    });
  });

  test('accepts routing_port for networking.default', () => {
    expect(specOf({ ...GOOD, routing_port: 8000 }).networking).toEqual({
      default: { protocol: 'http', port: 8000, ipAllowList: [] },
    });
  });

  test('accepts the longest pod_id that fits', () => {
    expect(create({ ...GOOD, pod_id: 'a'.repeat(46) }).kind).toBe('accepted');
    expect(create({ ...GOOD, pod_id: 'a'.repeat(32), networking: { ['b'.repeat(30)]: {} } }).kind).toBe('accepted');
  });

  test.each([
    ['nginx', true],
    ['nginx:1.27', true],
    ['nginx@sha256:abc', true],
    ['org/tool:1.0', true],
    ['org/tool:2.0', false],
    ['org/tool', false],
    ['evil/nginx', false],
    ['nginx.evil.org/nginx', false],
    ['registry.example:5000/a/b:3', true],
    ['registry.example:5000/a', false],
  ])('of the image %s where images run: %s', (image, isAllowed) => {
    const ruled = create({ pod_id: 'mypod', image }, { allowsImages: true });
    expect(ruled.kind).toBe(isAllowed ? 'accepted' : 'refused');
    if (ruled.kind === 'accepted') expect(ruled.value.spec).toMatchObject({ template: image, writtenTemplate: image });
    else expectProblems(ruled.problems, ['image: ']);
  });

  test('with a template for processes is refused where pods are containers', () => {
    const ruled = create(GOOD, { allowsImages: true });
    expectProblems(ruled.kind === 'refused' ? ruled.problems : [], ['pod_template: podgate/process is for pods']);
  });
});

describe('an update', () => {
  const present = podSpec({ template: 'podgate/process', writtenTemplate: 'podgate/process', command: ['node'] });
  const update = (body: unknown) => specOfUpdate(writtenPodOf(schemas.UpdatePod, body), 'mypod', present, context);

  test('with a volume for what keeps no data is refused, naming the field', () => {
    const hello = podSpec({ template: 'podgate/hello', writtenTemplate: 'podgate/hello' });
    const written = writtenPodOf(schemas.UpdatePod, { persistent_volume: true });
    const ruled = specOfUpdate(written, 'mypod', hello, context);
    expectProblems(ruled.kind === 'refused' ? ruled.problems : [], ['persistent_volume: podgate/hello keeps no data']);
  });

  for (const [what, change, ...fields] of BAD_UPDATES) {
    test(`with ${what} is refused, naming the field`, () => {
      const ruled = update(sent(change));
      expect(ruled.kind).toBe('refused');
      expectProblems(ruled.kind === 'refused' ? ruled.problems : [], fields);
    });
  }

  test('changes the given fields and nothing else', () => {
    expect(update({})).toEqual({ kind: 'accepted', value: present });
    expect(update({ resources: { cpu_limit: 3000 }, arguments: null, command: ['sh'] })).toEqual({
      kind: 'accepted',
      value: { ...present, command: ['sh'], resources: { ...present.resources, cpuLimit: 3000 } },
    });
  });
});

describe('sleep', () => {
  const policy = { after_seconds: 900 };
  const SLEEPER = { pod_id: 'mypod', pod_template: 'postgres', sleep: policy };

  test('has defaults for all but its time, and is not there for a pod that never sleeps', () => {
    expect(specOf(SLEEPER).sleep).toEqual({ afterSeconds: 900, holdSeconds: 60, probePaths: [] });
    const full = { after_seconds: 60, hold_seconds: 120, probe_paths: ['/healthz', '/'] };
    expect(specOf({ ...SLEEPER, sleep: full }).sleep).toEqual({
      ...{ afterSeconds: 60, holdSeconds: 120, probePaths: ['/healthz', '/'] },
    });
    expect(specOf({ ...SLEEPER, sleep: null })).not.toHaveProperty('sleep');
    expect(specOf(GOOD)).not.toHaveProperty('sleep');
  });

  test.each([
    [{ after_seconds: 59 }],
    [{ ...policy, hold_seconds: 121 }],
    [{ ...policy, probe_paths: ['healthz'] }],
    [{ ...policy, probe_paths: Array.from({ length: 11 }, () => '/') }],
    [{ ...policy, more: 1 }],
    [15],
  ])('beyond its bounds, %j, is refused', (sleep) => {
    const ruled = create({ ...SLEEPER, sleep });
    expect(ruled.kind === 'refused' && ruled.problems.every((problem) => problem.startsWith('sleep'))).toBe(true);
  });

  test('is refused in a cluster for a pod whose data would not outlive it, saying what to set', () => {
    const cluster = { allowsImages: true };
    const ruled = create(SLEEPER, cluster);
    expectProblems(ruled.kind === 'refused' ? ruled.problems : [], [
      'sleep: the data of this pod would not outlive its sleep; set persistent_volume to true',
    ]);
    const image = { pod_id: 'mypod', image: 'nginx', sleep: policy };
    const ofImage = create(image, cluster);
    expectProblems(ofImage.kind === 'refused' ? ofImage.problems : [], [
      'sleep: the data of this pod would not outlive its sleep; mount a volume (volume_mounts)',
    ]);
    const mounted = { ...image, volume_mounts: { data: { type: 'pvc', mount_path: '/data' } } };
    expect(specOf(mounted, cluster).sleep).toBeDefined();
    expect(specOf({ ...SLEEPER, persistent_volume: true }, cluster).sleep).toBeDefined();
    // It keeps nothing that could get lost.
    expect(specOf({ ...SLEEPER, pod_template: 'podgate/hello' }, cluster).sleep).toBeDefined();
  });

  test('is refused for a pod that no connection can wake', () => {
    const local = { ...GOOD, sleep: policy, networking: { default: { protocol: 'local_only', port: 5000 } } };
    const ruled = create(local);
    expectProblems(ruled.kind === 'refused' ? ruled.problems : [], ['sleep: nothing could wake this pod']);
  });

  test('stays as it is in an update that does not name it, and goes with null', () => {
    const present = podSpec({ sleep: { afterSeconds: 900, holdSeconds: 60, probePaths: [] } });
    const update = (body: object) =>
      specOfUpdate(writtenPodOf(schemas.UpdatePod, sent(body)), 'mypod', present, context);
    expect(update({ description: 'x' })).toMatchObject({ kind: 'accepted', value: { sleep: present.sleep } });
    const gone = update({ sleep: null });
    expect(gone.kind === 'accepted' && 'sleep' in gone.value).toBe(false);
  });
});
