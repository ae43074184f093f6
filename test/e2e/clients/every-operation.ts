/** One call of a generated client; parameters and fields have the names of the OpenAPI document. */
export interface ClientCall {
  readonly operation: string;
  readonly params?: Readonly<Record<string, string | boolean>>;
  /** Name of the body's schema in snake case, by which generated clients name their argument, and its content. */
  readonly body?: readonly [schema: string, content: unknown];
  /** Text of the field `file` of a form. */
  readonly file?: string;
  /** Before the call: the pod that is named in `params`, or else POD, has this status. */
  readonly when?: 'AVAILABLE' | 'STOPPED';
}

const POD = { pod_id: 'everypod' };
/** Which ensure_jupyter_pod creates. */
const JUPYTER = { pod_id: 'adminjupyter' };
const VOLUME = { volume_id: 'everyvolume' };
const SNAPSHOT = { snapshot_id: 'everysnapshot' };
const TEMPLATE = { template_id: 'everytemplate' };
const IMAGE = { image_id: 'example/every' };

const permissionCalls = (noun: string, id: Record<string, string>): readonly ClientCall[] => [
  { operation: `set_${noun}_permission`, params: id, body: ['set_permission', { user: 'bob', level: 'READ' }] },
  { operation: `get_${noun}_permissions`, params: id },
  { operation: `delete_${noun}_permission`, params: { ...id, user: 'bob' } },
];

/**
 * A call of every operation that API 1.6.0, 1.8.4 or 1.9.0 has, in an order in which each succeeds. `pod`: how the API
 * names what the pod is made from.
 */
export function everyCall(pod: Readonly<Record<string, string>>): readonly ClientCall[] {
  return [
    { operation: 'healthcheck' },
    { operation: 'error_handler', params: { status: '503' } },
    { operation: 'traefik_config' },
    { operation: 'ensure_jupyter_pod' },
    { operation: 'upload_to_jupyter', params: { ...JUPYTER, path: 'a.txt' }, file: 'notes', when: 'AVAILABLE' },
    { operation: 'pod_auth', params: { pod_id_net: POD.pod_id } },
    { operation: 'pod_auth_callback', params: { pod_id_net: POD.pod_id } },

    { operation: 'create_volume', body: ['new_volume', { ...VOLUME, description: 'of a client' }] },
    { operation: 'list_volumes' },
    { operation: 'get_volume', params: VOLUME },
    { operation: 'update_volume', params: VOLUME, body: ['update_volume', { description: 'changed' }] },
    ...permissionCalls('volume', VOLUME),
    { operation: 'upload_to_volume', params: { ...VOLUME, path: 'notes.txt' }, file: 'notes' },
    { operation: 'list_volume_files', params: VOLUME },
    { operation: 'get_volume_contents', params: { ...VOLUME, path: 'notes.txt' } },

    {
      operation: 'create_snapshot',
      body: [
        'new_snapshot',
        {
          ...SNAPSHOT,
          source_volume_id: VOLUME.volume_id,
          source_volume_path: '/notes.txt',
          destination_path: '/kept',
        },
      ],
    },
    { operation: 'list_snapshots' },
    { operation: 'get_snapshot', params: SNAPSHOT },
    { operation: 'update_snapshot', params: SNAPSHOT, body: ['update_snapshot', { description: 'changed' }] },
    ...permissionCalls('snapshot', SNAPSHOT),
    { operation: 'list_snapshot_files', params: SNAPSHOT },
    { operation: 'get_snapshot_contents', params: { ...SNAPSHOT, path: 'kept' } },

    { operation: 'add_image', body: ['new_image', { image: IMAGE.image_id, description: 'of a client' }] },
    { operation: 'add_images', body: ['new_image', [{ image: 'example/more' }]] },
    { operation: 'get_images' },
    { operation: 'get_image', params: IMAGE },
    { operation: 'delete_image', params: IMAGE },

    { operation: 'add_template', body: ['new_template', { ...TEMPLATE, description: 'of a client' }] },
    { operation: 'list_templates' },
    { operation: 'get_template', params: TEMPLATE },
    { operation: 'update_template', params: TEMPLATE, body: ['update_template', { description: 'changed' }] },
    ...permissionCalls('template', TEMPLATE),
    {
      operation: 'add_template_tag',
      params: TEMPLATE,
      body: [
        'new_template_tag',
        { pod_definition: { template: 'template/postgres' }, commit_message: 'first', tag: 'one' },
      ],
    },
    { operation: 'list_template_tags', params: { ...TEMPLATE, full: true } },
    { operation: 'get_template_tag', params: { ...TEMPLATE, tag_id: 'one' } },
    { operation: 'list_templates_and_tags', params: { full: false } },

    { operation: 'create_pod', body: ['new_pod', { ...POD, ...pod, description: 'of a client' }] },
    { operation: 'list_pods', when: 'AVAILABLE' },
    { operation: 'get_pods_pods_head' },
    { operation: 'get_pod', params: POD },
    { operation: 'get_derived_pod', params: POD },
    { operation: 'get_pod_credentials', params: POD },
    { operation: 'get_pod_logs', params: POD },
    { operation: 'update_pod', params: POD, body: ['update_pod', { description: 'changed' }] },
    ...permissionCalls('pod', POD),
    { operation: 'exec_pod_commands', params: POD, body: ['execute_pod_commands', { commands: ['id', 'pwd'] }] },
    { operation: 'upload_to_pod', params: { ...POD, dest_path: 'notes.txt' }, file: 'notes' },
    {
      operation: 'save_pod_as_template_tag',
      params: { pod_id_net: POD.pod_id },
      body: ['new_template_tag_from_pod', { ...TEMPLATE, commit_message: 'from a pod', tag: 'two' }],
    },
    { operation: 'stop_pod', params: POD },
    { operation: 'start_pod', params: POD, when: 'STOPPED' },
    { operation: 'restart_pod', params: POD, when: 'AVAILABLE' },
    { operation: 'delete_pod', params: POD },
    { operation: 'delete_template', params: TEMPLATE },
    { operation: 'delete_snapshot', params: SNAPSHOT },
    { operation: 'delete_volume', params: VOLUME },
  ];
}
