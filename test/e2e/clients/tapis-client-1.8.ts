import { Configuration, MiscApi, PermissionsApi, PodsApi } from 'tapis-pods-1.8';
import { waitForStatus } from './wait-for-status.ts';

/**
 * Usage: tapis-client-1.8.ts ORIGIN, the token in PODS_TOKEN. One life of a pod through the generated client of API 1.8.4, as
 * it is published. Prints a line of JSON for each call.
 */
const configuration = new Configuration({
  basePath: process.argv[2] ?? '',
  headers: { 'X-Tapis-Token': process.env['PODS_TOKEN'] ?? '' },
  fetchApi: fetch,
});
const pods = new PodsApi(configuration);
const permissions = new PermissionsApi(configuration);
const podId = 'viaeighteen';

async function say(operation: string, call: Promise<unknown>): Promise<void> {
  const response = await call.catch(async (error: unknown) => {
    if (!(error instanceof Response)) throw error;
    return { status: error.status };
  });
  console.log(JSON.stringify([operation, (response as { status: unknown }).status]));
}

const reaches = (status: string): Promise<void> =>
  waitForStatus(async () => (await pods.getPod({ podId })).result.status, status);

await say(
  'healthcheck',
  new MiscApi(configuration).healthcheck().then((text: string) => JSON.parse(text) as object),
);
await say('create', pods.createPod({ newPod: { pod_id: podId, image: 'podgate/hello' } }));
await reaches('AVAILABLE');
await say('list', pods.listPods());
await say('derived', pods.getDerivedPod({ podId }));
await say('update', pods.updatePod({ podId, updatePod: { description: 'changed' } }));
await say('logs', pods.getPodLogs({ podId }));
await say('credentials', pods.getPodCredentials({ podId }));
await say('setPermission', permissions.setPodPermission({ podId, setPermission: { user: 'bob', level: 'READ' } }));
await say('getPermissions', permissions.getPodPermissions({ podId }));
await say('deletePermission', permissions.deletePodPermission({ podId, user: 'bob' }));
await say('stop', pods.stopPod({ podId }));
await reaches('STOPPED');
await say('start', pods.startPod({ podId }));
await say('restart', pods.restartPod({ podId }));
await say('delete', pods.deletePod({ podId }));
await say('gone', pods.getPod({ podId }));
