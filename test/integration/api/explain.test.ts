import { afterEach, beforeEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(() => stand.close());

async function explained(query = ''): Promise<readonly unknown[]> {
  const { status, body } = await stand.call('alice', 'GET', `/v3/pods/mypod/explain${query}`);
  expect(status, JSON.stringify(body)).toBe(200);
  return (body.result as { readonly stanzas: readonly unknown[] }).stanzas;
}

test('explains a pod by the networking that the gateway serves now, if it was changed since the start', async () => {
  const before = { default: { protocol: 'http', port: 5000 }, old: { protocol: 'tcp', port: 7000 } };
  await stand.create('alice', 'mypod', { pod_template: 'podgate/process', command: ['true'], networking: before });
  const { spec } = await stand.record('mypod');
  await stand.overwrite('mypod', { applied: { generation: 1, run: 1, spec } });
  const networking = {
    default: { protocol: 'postgres', port: 5432, ip_allow_list: ['192.0.2.0/24'] },
    new: { protocol: 'tcp', port: 7001 },
  };
  expect((await stand.call('alice', 'PUT', '/v3/pods/mypod', { networking })).status).toBe(200);
  expect(await explained('?address=198.51.100.7')).toMatchObject([
    // The policy acts at once.
    { stanza: 'default', host: 'mypod.pods.localhost', protocol: 'http', is_address_admitted: false },
    { stanza: 'old', host: 'mypod-old.pods.localhost', protocol: 'tcp', is_address_admitted: true },
  ]);
  expect(await explained('?stanza=old')).toHaveLength(1);
  const { status, body } = await stand.call('alice', 'GET', '/v3/pods/mypod/explain?stanza=new');
  expect([status, body.message]).toEqual([400, ['stanza: the gateway serves default, old']]);
});
