import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { POD_STATUSES } from '../../../core/pod.ts';
import { ApiStand } from './api-stand.ts';

/** What clients of the newer Tapis Pods API, its web interface above all, send and read. */
let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(async () => {
  await stand.close();
});

/** Every field of the newer API, as a web form sends it: digits in strings, and what is not asked for at its default. */
const FORM = {
  pod_id: 'viaform',
  template: 'podgate/process',
  image: '',
  description: 'made by a form',
  command: ['true'],
  arguments: null,
  environment_variables: {},
  secret_map: {},
  status_requested: 'OFF',
  volume_mounts: {},
  time_to_stop_default: '43200',
  time_to_stop_instance: '600',
  networking: {
    default: {
      protocol: 'http',
      port: 5000,
      url: '',
      ip_allow_list: [],
      tapis_auth: false,
      tapis_auth_response_headers: {},
      tapis_auth_allowed_users: ['*'],
      tapis_auth_return_path: '/',
      tapis_auth_excluded_paths: [],
      tapis_auth_excluded_path_regex: [],
      cors_allow_origins: [],
      cors_allow_methods: [],
      cors_allow_headers: [],
      cors_allow_credentials: false,
      cors_max_age: 100,
      tapis_ui_uri: '/lab',
      tapis_ui_uri_redirect: true,
      tapis_ui_uri_description: 'the notebook',
      proxy_compression: true,
      proxy_compression_encodings: ['zstd', 'br', 'gzip'],
      proxy_compression_excluded_content_types: [],
      proxy_compression_min_response_body_bytes: 1024,
    },
  },
  resources: { cpu_request: '250', cpu_limit: '500', mem_request: '256', mem_limit: '512', gpus: '0' },
  compute_queue: 'default',
  template_overrides: null,
};

test('a form with every field is accepted, and the response has its values', async () => {
  const created = await stand.call('alice', 'POST', '/v3/pods', FORM);
  expect(created.body.message).toBe('Pod created successfully.');
  const result = created.body.result as Record<string, unknown>;
  expect(result).toMatchObject({
    resources: { cpu_request: 250, cpu_limit: 500, mem_request: 256, mem_limit: 512, gpus: 0 },
    time_to_stop_default: 43_200,
    time_to_stop_instance: 600,
    secret_map: {},
    compute_queue: 'default',
  });
  expect(result['networking']).toEqual({
    default: {
      ...{ protocol: 'http', port: 5000, url: 'viaform.pods.localhost', public_port: 8443, ip_allow_list: [] },
      ...{ tapis_ui_uri: '/lab', tapis_ui_uri_redirect: true, tapis_ui_uri_description: 'the notebook' },
    },
  });
  // The same form again, as an update: nulls and the template are no change.
  const form = { ...FORM, pod_id: undefined, description: null, resources: null };
  const same = await stand.call('alice', 'PUT', '/v3/pods/viaform', form);
  expect([same.status, same.body.status]).toEqual([200, 'error']);
  const link = { default: { ...FORM.networking.default, tapis_ui_uri: '/tree' } };
  const linked = await stand.call('alice', 'PUT', '/v3/pods/viaform', { networking: link });
  expect(linked.body.metadata).toEqual({ note: ['In effect at once: networking (tapis_ui_uri).'] });
});

test('status_names selects the names of statuses, per call or for the installation', async () => {
  await stand.create('alice', 'mypod');
  const names: string[] = [];
  for (const status of POD_STATUSES) {
    await stand.overwrite('mypod', { status });
    const [one, list] = await Promise.all([
      stand.call('alice', 'GET', '/v3/pods/mypod?status_names=tapis'),
      stand.call('alice', 'GET', '/v3/pods?status_names=tapis'),
    ]);
    const { status: name } = one.body.result as { status: string };
    expect((list.body.result as { status: string }[])[0]?.status).toBe(name);
    names.push(name);
    expect((await stand.call('alice', 'GET', '/v3/pods/mypod')).body.result).toMatchObject({ status });
  }
  expect(names).toEqual([
    ...['STOPPED', 'REQUESTED', 'SPAWNER SETUP', 'CREATING', 'AVAILABLE', 'ERROR', 'COMPLETE', 'DELETING', 'AVAILABLE'],
  ]);
  // Refused before anything is done.
  const refused = await stand.call('alice', 'POST', '/v3/pods?status_names=both', { ...FORM, pod_id: 'never' });
  expect([refused.status, refused.body.message]).toEqual([400, ['status_names: must be seed or tapis']]);
  expect((await stand.call('alice', 'GET', '/v3/pods/never')).status).toBe(404);

  const other = await ApiStand.start({ statusNames: 'tapis' });
  try {
    await other.create('alice', 'mypod');
    await other.overwrite('mypod', { status: 'RUNNING' });
    expect((await other.call('alice', 'GET', '/v3/pods/mypod')).body.result).toMatchObject({ status: 'AVAILABLE' });
    const seed = await other.call('alice', 'GET', '/v3/pods/mypod?status_names=seed');
    expect(seed.body.result).toMatchObject({ status: 'RUNNING' });
  } finally {
    await other.close();
  }
});

test('the derived pod and derived lists work and accept the flags of their clients', async () => {
  await stand.create('alice', 'mypod');
  const derived = await stand.call('alice', 'GET', '/v3/pods/mypod/derived?resolve_secrets=true&include_configs=false');
  expect(derived.body.result).toMatchObject({ pod_id: 'mypod' });
  expect((await stand.call('bob', 'GET', '/v3/pods/mypod/derived')).status).toBe(403);
  const list = await stand.call('alice', 'GET', '/v3/pods?derived_lite=true');
  expect(list.body.result).toMatchObject([{ pod_id: 'mypod' }]);
});

test('X-Pods-Admin shows administrators every pod of the tenant, and marks their own', async () => {
  await stand.create('alice', 'hers');
  await stand.create('root', 'mine');
  const idsOf = (result: unknown) => (result as { pod_id: string }[]).map(({ pod_id: id }) => id);
  const asAdmin = { 'X-Pods-Admin': 'true' };
  const all = await stand.call('root', 'GET', '/v3/pods', undefined, asAdmin);
  expect(idsOf(all.body.result)).toEqual(['hers', 'mine']);
  expect(all.body.metadata).toMatchObject({ admin_context: { user_accessible_ids: ['mine'] } });
  const own = await stand.call('root', 'GET', '/v3/pods');
  expect(idsOf(own.body.result)).toEqual(['mine']);
  expect(own.body.metadata).not.toHaveProperty('admin_context');
  const refused = await stand.call('alice', 'GET', '/v3/pods', undefined, asAdmin);
  expect([refused.status, refused.body.message]).toEqual([403, expect.stringContaining('X-Pods-Admin is for')]);
});

describe('CORS', () => {
  const ORIGIN = 'https://tacc.tapis.io';
  const preflight = (at: ApiStand, origin: string): Promise<Response> =>
    fetch(`${at.url}/v3/pods`, {
      method: 'OPTIONS',
      headers: {
        ...{ Origin: origin, 'Access-Control-Request-Method': 'PUT' },
        'Access-Control-Request-Headers': 'x-tapis-token',
      },
    });

  test('is off by default', async () => {
    const response = await preflight(stand, ORIGIN);
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    const read = await stand.call('alice', 'GET', '/v3/pods', undefined, { Origin: ORIGIN });
    expect(read.headers.get('access-control-allow-origin')).toBeNull();
  });

  test('lets only listed origins read responses, including errors, and answers their preflight requests', async () => {
    const open = await ApiStand.start({ cors: { origins: [ORIGIN], credentials: true, maxAgeSeconds: 60 } });
    try {
      const allowed = await preflight(open, ORIGIN);
      expect(allowed.status).toBe(204);
      expect(Object.fromEntries(allowed.headers)).toMatchObject({
        'access-control-allow-origin': ORIGIN,
        'access-control-allow-credentials': 'true',
        'access-control-allow-methods': 'GET,HEAD,POST,PUT,DELETE',
        'access-control-allow-headers': expect.stringContaining('X-Tapis-Token') as string,
        'access-control-max-age': '60',
        vary: 'Origin',
      });
      for (const user of ['alice', null]) {
        const response = await open.call(user, 'GET', '/v3/pods', undefined, { Origin: ORIGIN });
        expect(response.status).toBe(user === null ? 401 : 200);
        expect(response.headers.get('access-control-allow-origin')).toBe(ORIGIN);
        expect(response.headers.get('vary')).toContain('Origin');
      }
      for (const origin of ['https://evil.example.org', `${ORIGIN}.evil.example.org`, 'null']) {
        expect((await preflight(open, origin)).headers.get('access-control-allow-origin')).toBeNull();
        const read = await open.call('alice', 'GET', '/v3/pods', undefined, { Origin: origin });
        expect(read.headers.get('access-control-allow-origin')).toBeNull();
      }
    } finally {
      await open.close();
    }
  });

  test('"*" allows every origin, without credentials', async () => {
    const open = await ApiStand.start({ cors: { origins: ['*'], credentials: false, maxAgeSeconds: 60 } });
    try {
      const { headers } = await preflight(open, 'https://anywhere.example.org');
      expect(headers.get('access-control-allow-origin')).toBe('*');
      expect(headers.get('access-control-allow-credentials')).toBeNull();
    } finally {
      await open.close();
    }
  });
});
