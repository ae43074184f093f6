/**
 * What the pod pages of the Tapis web interface call, recorded from tapis-ui at commit 9e8f298 (2026-06-30): each file of
 * `packages/tapisui-api/src/pods`, the bodies that the pages under `src/app/Pods` make, and the fields of a response that
 * they read. In an order in which each call succeeds.
 */
export interface WebInterfaceCall {
  /** Name of the file. */
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** As it is sent. */
  readonly path: string;
  readonly body?: object;
  /** Content of the form's field `file`. */
  readonly file?: string;
  /** With X-Pods-Admin: true. */
  readonly isAdmin?: true;
  /** Paths in the response; `*` is every entry of a list or map, of which there is at least one. */
  readonly reads: readonly string[];
}

const POD_FIELDS = [
  ...['pod_id', 'image', 'template', 'description', 'status', 'status_requested', 'compute_queue', 'creation_ts'],
  ...['update_ts', 'start_instance_ts', 'resources.gpus', 'volume_mounts', 'networking.*.url'],
  'networking.*.protocol',
];
/** Of a pod that has them. */
const LINK_FIELDS = ['networking.*.tapis_ui_uri', 'networking.*.tapis_ui_uri_redirect'];
const onePod = [...POD_FIELDS, ...LINK_FIELDS].map((field) => `result.${field}`);

function permissionCalls(kind: string, path: string): readonly WebInterfaceCall[] {
  const reads = ['result.permissions'];
  const body = { user: 'bob', level: 'READ' };
  return [
    { name: `set${kind}Permission`, method: 'POST', path: `${path}/permissions`, body, reads },
    { name: `get${kind}Permissions`, method: 'GET', path: `${path}/permissions`, reads },
    { name: `delete${kind}Permission`, method: 'DELETE', path: `${path}/permissions/bob`, reads },
  ];
}

const DONE = ['message', 'status'];
const VOLUME = '/v3/pods/volumes/uivolume';
const SNAPSHOT = '/v3/pods/snapshots/uisnapshot';
const TEMPLATE = '/v3/pods/templates/uitemplate';
const IMAGE = '/v3/pods/images/example%2Fimage';
const POD = '/v3/pods/uipod';

export const WEB_INTERFACE_CALLS: readonly WebInterfaceCall[] = [
  {
    name: 'createVolume',
    method: 'POST',
    path: '/v3/pods/volumes',
    body: { volume_id: 'uivolume', description: '', size_limit: 100 },
    reads: ['result.volume_id'],
  },
  { name: 'listVolumes', method: 'GET', path: '/v3/pods/volumes', reads: ['result.*.volume_id', 'result.*.status'] },
  {
    name: 'getVolume',
    method: 'GET',
    path: VOLUME,
    reads: ['result.volume_id', 'result.description', 'result.size_limit', 'result.status'],
  },
  { name: 'updateVolume', method: 'PUT', path: VOLUME, body: { description: 'changed' }, reads: DONE },
  { name: 'uploadToVolume', method: 'POST', path: `${VOLUME}/upload/a%2Fb.txt`, file: 'text', reads: DONE },
  {
    name: 'listVolumeFiles',
    method: 'GET',
    path: `${VOLUME}/list`,
    reads: ['result.*.name', 'result.*.path', 'result.*.size', 'result.*.type', 'result.*.lastModified'],
  },
  ...permissionCalls('Volume', VOLUME),

  {
    name: 'createSnapshot',
    method: 'POST',
    path: '/v3/pods/snapshots',
    body: {
      snapshot_id: 'uisnapshot',
      source_volume_id: 'uivolume',
      source_volume_path: '/',
      destination_path: '/',
      description: '',
    },
    reads: ['result.snapshot_id'],
  },
  {
    name: 'listSnapshots',
    method: 'GET',
    path: '/v3/pods/snapshots',
    reads: ['result.*.snapshot_id', 'result.*.status'],
  },
  {
    name: 'getSnapshot',
    method: 'GET',
    path: SNAPSHOT,
    reads: ['result.snapshot_id', 'result.source_volume_id', 'result.status'],
  },
  { name: 'updateSnapshot', method: 'PUT', path: SNAPSHOT, body: { description: 'changed' }, reads: DONE },
  { name: 'listSnapshotFiles', method: 'GET', path: `${SNAPSHOT}/list`, reads: ['result'] },
  ...permissionCalls('Snapshot', SNAPSHOT),

  {
    name: 'createImage',
    method: 'POST',
    path: '/v3/pods/images',
    body: { image: 'example/image', description: '', tenants: [] },
    isAdmin: true,
    reads: ['result.image'],
  },
  { name: 'listImages', method: 'GET', path: '/v3/pods/images', reads: ['result.*.image', 'result.*.tenants'] },
  {
    name: 'getImage',
    method: 'GET',
    path: IMAGE,
    reads: ['result.image', 'result.description', 'result.added_by', 'result.creation_ts'],
  },
  {
    name: 'updateImage',
    method: 'PUT',
    path: IMAGE,
    body: { description: 'changed', tenants: [] },
    isAdmin: true,
    reads: DONE,
  },
  { name: 'deleteImage', method: 'DELETE', path: IMAGE, isAdmin: true, reads: DONE },

  {
    name: 'createTemplate',
    method: 'POST',
    path: '/v3/pods/templates',
    body: { template_id: 'uitemplate', description: '', metatags: [], archive_message: '' },
    reads: ['result.template_id'],
  },
  {
    name: 'listTemplates',
    method: 'GET',
    path: '/v3/pods/templates',
    reads: ['result.*.template_id', 'result.*.description'],
  },
  { name: 'getTemplate', method: 'GET', path: TEMPLATE, reads: ['result.template_id', 'result.description'] },
  { name: 'updateTemplate', method: 'PUT', path: TEMPLATE, body: { description: 'changed' }, reads: DONE },
  ...permissionCalls('Template', TEMPLATE),
  {
    name: 'createTemplateTag',
    method: 'POST',
    path: `${TEMPLATE}/tags`,
    body: {
      tag: 'one',
      commit_message: 'first',
      pod_definition: { template: 'podgate/process', command: ['sleep', '1'] },
    },
    reads: ['result.tag'],
  },
  {
    name: 'listTemplateTags',
    method: 'GET',
    path: `${TEMPLATE}/tags?full=true&include_configs=true&include_dependencies=false`,
    reads: [
      'result.*.tag',
      'result.*.tag_timestamp',
      'result.*.pod_definition',
      'result.*.commit_message',
      'result.*.creation_ts',
    ],
  },
  { name: 'getTemplateTag', method: 'GET', path: `${TEMPLATE}/tags?full=true`, reads: ['result.*.tag_timestamp'] },
  {
    name: 'listTemplatesAndTags',
    method: 'GET',
    path: '/v3/pods/templates/tags?full=true',
    reads: ['result.uitemplate.tags.*.tag_timestamp', 'result.uitemplate.tags.*.creation_ts'],
  },

  {
    ...{ name: 'createPod', method: 'POST', path: '/v3/pods' },
    body: {
      ...{ pod_id: 'uipod', description: '', image: '', template: 'uitemplate:one', time_to_stop_default: '43200' },
      ...{ time_to_stop_instance: '600', environment_variables: { GREETING: 'hello' }, secret_map: {} },
      networking: {
        default: {
          protocol: 'http',
          port: 5000,
          tapis_auth: false,
          tapis_ui_uri: '/lab',
          tapis_ui_uri_redirect: true,
          tapis_ui_uri_description: 'the notebook',
        },
      },
      volume_mounts: {},
      resources: { cpu_request: '250', cpu_limit: '500', mem_request: '256', mem_limit: '512', gpus: '0' },
      ...{ compute_queue: 'default', template_overrides: null },
    },
    reads: onePod,
  },
  {
    name: 'listPods',
    method: 'GET',
    path: '/v3/pods?derived_lite=true',
    reads: POD_FIELDS.map((field) => `result.*.${field}`),
  },
  {
    name: 'listPods',
    method: 'GET',
    path: '/v3/pods?derived_lite=true',
    isAdmin: true,
    reads: ['metadata.admin_context.user_accessible_ids'],
  },
  { name: 'getPod', method: 'GET', path: POD, reads: onePod },
  {
    name: 'getPodDerived',
    method: 'GET',
    path: `${POD}/derived?include_configs=true&resolve_secrets=false`,
    reads: onePod,
  },
  {
    name: 'updatePod',
    method: 'PUT',
    path: POD,
    body: { description: 'changed', resources: { mem_limit: '1024' } },
    reads: onePod,
  },
  { name: 'getPodLogs', method: 'GET', path: `${POD}/logs`, reads: ['result.logs', 'result.action_logs'] },
  {
    name: 'getPodSecrets',
    method: 'GET',
    path: '/v3/pods/uidatabase/credentials',
    reads: ['result.user_username', 'result.user_password'],
  },
  ...permissionCalls('Pod', POD),
  {
    name: 'savePodAsTag',
    method: 'POST',
    path: `${POD}/save_pod_as_template_tag`,
    body: { template_id: 'uitemplate', tag: 'two', commit_message: 'saved' },
    reads: ['result.tag'],
  },
  { name: 'stopPod', method: 'GET', path: `${POD}/stop`, reads: ['result.status_requested'] },
  { name: 'startPod', method: 'GET', path: `${POD}/start`, reads: ['result.status_requested'] },
  {
    name: 'restartPod',
    method: 'GET',
    path: `${POD}/restart?grab_latest_template_tag=false`,
    reads: ['result.status_requested'],
  },
  { name: 'deletePod', method: 'DELETE', path: POD, reads: DONE },

  { name: 'deleteTemplateTag', method: 'DELETE', path: `${TEMPLATE}/tags/one?force=true`, reads: DONE },
  { name: 'deleteTemplate', method: 'DELETE', path: TEMPLATE, reads: DONE },
  { name: 'deleteSnapshot', method: 'DELETE', path: SNAPSHOT, reads: DONE },
  { name: 'deleteVolume', method: 'DELETE', path: VOLUME, reads: DONE },
];
