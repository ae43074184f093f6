import { Configuration, CredentialsApi, LogsApi, MiscApi, PermissionsApi, PodsApi } from '@tapis/tapis-typescript-pods';
import { waitForStatus } from './wait-for-status.ts';

/**
 * Usage: tapis-client.ts ORIGIN, the token in PODS_TOKEN. Uses the generated client of the Tapis Pods API 1.6.0 as it is
 * published for one life of a pod, and prints what each operation answered, one JSON line each.
 */
const configuration = new Configuration({
  basePath: process.argv[2] ?? '',
  headers: { 'X-Tapis-Token': process.env['PODS_TOKEN'] ?? '' },
  fetchApi: fetch,
});
const pods = new PodsApi(configuration);
const permissions = new PermissionsApi(configuration);
const podId = 'viaclient';

async function say(operation: string, call: Promise<unknown>): Promise<void> {
  const answer = (await call.catch(async (error: unknown) => {
    if (!(error instanceof Response)) throw error;
    return { status: error.status, message: ((await error.json()) as { message: unknown }).message };
  })) as object;
  console.log(JSON.stringify({ operation, ...answer }));
}

const reaches = (status: string): Promise<void> =>
  waitForStatus(async () => ((await pods.getPod({ podId })).result as { status?: string } | undefined)?.status, status);

await say(
  'healthcheck',
  new MiscApi(configuration).healthcheck().then((text: string) => JSON.parse(text) as object),
);
await say('create', pods.createPod({ newPod: { pod_id: podId, pod_template: 'podgate/hello' } }));
await reaches('RUNNING');
await say('list', pods.getPods());
await say('update', pods.updatePod({ podId, updatePod: { description: 'changed' } }));
await say('credentials', new CredentialsApi(configuration).getPodCredentials({ podId }));
await say('logs', new LogsApi(configuration).getPodLogs({ podId }));
await say('setPermission', permissions.setPodPermission({ podId, setPermission: { user: 'bob', level: 'READ' } }));
await say('getPermissions', permissions.getPodPermissions({ podId }));
await say('deletePermission', permissions.deletePodPermission({ podId, user: 'bob' }));
await say('stop', pods.stopPod({ podId }));
await reaches('STOPPED');
await say('start', pods.startPod({ podId }));
await reaches('RUNNING');
await say('restart', pods.restartPod({ podId }));
await say('delete', pods.deletePod({ podId }));
await say('gone', pods.getPod({ podId }));
