/** One operation of the Tapis Pods API: a method, a path below `/v3`, and the name its clients know it by. */
export interface TapisOperation {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  readonly path: string;
  readonly operationId: string;
  /** What it is about, in a sentence: "This release has no <subject>". */
  readonly subject: string;
  /** No token is sent with it. */
  readonly isOpen?: true;
}

type Row = readonly [method: TapisOperation['method'], path: string, operationId: string];

const of = (subject: string, rows: readonly Row[], isOpen?: true): readonly TapisOperation[] =>
  rows.map(([method, path, operationId]) => ({
    ...{ method, path, operationId, subject },
    ...(isOpen === undefined ? {} : { isOpen }),
  }));

const permissionRows = (noun: string): readonly Row[] => [
  ['get', `/pods/${noun}s/{${noun}_id}/permissions`, `get_${noun}_permissions`],
  ['post', `/pods/${noun}s/{${noun}_id}/permissions`, `set_${noun}_permission`],
  ['delete', `/pods/${noun}s/{${noun}_id}/permissions/{user}`, `delete_${noun}_permission`],
];

/**
 * The 74 operations of API 26Q1.1. Those of 1.6.0 are among them, under the same methods and paths; three had other
 * names (get_pods, get_volumes, get_snapshots).
 */
export const TAPIS_OPERATIONS: readonly TapisOperation[] = [
  ...of(
    'configuration for Traefik: the gateway is part of Podgate',
    [['get', '/traefik-config', 'traefik_config']],
    true,
  ),
  ...of(
    'health check',
    [
      ['get', '/healthcheck', 'healthcheck'],
      ['get', '/error-handler/{status}', 'error_handler'],
    ],
    true,
  ),
  ...of('templates made by users', [
    ['get', '/pods/templates', 'list_templates'],
    ['post', '/pods/templates', 'add_template'],
    ['get', '/pods/templates/tags', 'list_templates_and_tags'],
    ['get', '/pods/templates/{template_id}', 'get_template'],
    ['put', '/pods/templates/{template_id}', 'update_template'],
    ['delete', '/pods/templates/{template_id}', 'delete_template'],
    ['get', '/pods/templates/{template_id}/tags', 'list_template_tags'],
    ['post', '/pods/templates/{template_id}/tags', 'add_template_tag'],
    ['get', '/pods/templates/{template_id}/tags/{tag_id}', 'get_template_tag'],
    ['delete', '/pods/templates/{template_id}/tags/{tag_id}', 'delete_template_tag'],
    ...permissionRows('template'),
    ['post', '/pods/{pod_id_net}/save_pod_as_template_tag', 'save_pod_as_template_tag'],
  ]),
  ...of('list of images that the API can change', [
    ['get', '/pods/images', 'get_images'],
    ['post', '/pods/images', 'add_image'],
    ['post', '/pods/images/bulk', 'add_images'],
    ['get', '/pods/images/{image_id}', 'get_image'],
    ['put', '/pods/images/{image_id}', 'update_image'],
    ['delete', '/pods/images/{image_id}', 'delete_image'],
  ]),
  ...of('snapshots', [
    ['get', '/pods/snapshots', 'list_snapshots'],
    ['post', '/pods/snapshots', 'create_snapshot'],
    ['get', '/pods/snapshots/{snapshot_id}', 'get_snapshot'],
    ['put', '/pods/snapshots/{snapshot_id}', 'update_snapshot'],
    ['delete', '/pods/snapshots/{snapshot_id}', 'delete_snapshot'],
    ['get', '/pods/snapshots/{snapshot_id}/list', 'list_snapshot_files'],
    ['get', '/pods/snapshots/{snapshot_id}/contents/{path}', 'get_snapshot_contents'],
    ['get', '/pods/snapshots/{snapshot_id}/download/{path}', 'download_snapshot_file'],
    ...permissionRows('snapshot'),
  ]),
  ...of('volumes beside those of a pod', [
    ['get', '/pods/volumes', 'list_volumes'],
    ['post', '/pods/volumes', 'create_volume'],
    ['get', '/pods/volumes/{volume_id}', 'get_volume'],
    ['put', '/pods/volumes/{volume_id}', 'update_volume'],
    ['delete', '/pods/volumes/{volume_id}', 'delete_volume'],
    ['get', '/pods/volumes/{volume_id}/list', 'list_volume_files'],
    ['get', '/pods/volumes/{volume_id}/contents/{path}', 'get_volume_contents'],
    ['post', '/pods/volumes/{volume_id}/upload/{path}', 'upload_to_volume'],
    ['get', '/pods/volumes/{volume_id}/download/{path}', 'download_volume_file'],
    ...permissionRows('volume'),
  ]),
  ...of('Jupyter pods made on demand', [
    ['get', '/pods/jupyter/ensure', 'ensure_jupyter_pod'],
    ['post', '/pods/jupyter/{pod_id}/upload', 'upload_to_jupyter'],
  ]),
  ...of('secrets', [
    ['get', '/pods/secrets', 'list_secrets'],
    ['post', '/pods/secrets', 'create_secret'],
    ['get', '/pods/secrets/{secret_id}', 'get_secret'],
    ['put', '/pods/secrets/{secret_id}', 'update_secret'],
    ['delete', '/pods/secrets/{secret_id}', 'delete_secret'],
    ['get', '/pods/secrets/{secret_id}/value', 'get_secret_value'],
  ]),
  ...of('pods', [
    ['get', '/pods', 'list_pods'],
    ['post', '/pods', 'create_pod'],
    ['get', '/pods/{pod_id}', 'get_pod'],
    ['put', '/pods/{pod_id}', 'update_pod'],
    ['delete', '/pods/{pod_id}', 'delete_pod'],
    ['get', '/pods/{pod_id}/derived', 'get_derived_pod'],
    ['get', '/pods/{pod_id}/credentials', 'get_pod_credentials'],
    ['get', '/pods/{pod_id}/logs', 'get_pod_logs'],
    ['get', '/pods/{pod_id}/permissions', 'get_pod_permissions'],
    ['post', '/pods/{pod_id}/permissions', 'set_pod_permission'],
    ['delete', '/pods/{pod_id}/permissions/{user}', 'delete_pod_permission'],
    ['get', '/pods/{pod_id}/start', 'start_pod'],
    ['get', '/pods/{pod_id}/stop', 'stop_pod'],
    ['get', '/pods/{pod_id}/restart', 'restart_pod'],
  ]),
  ...of('commands in running pods', [['post', '/pods/{pod_id}/exec', 'exec_pod_commands']]),
  ...of('file transfer to and from running pods', [
    ['post', '/pods/{pod_id}/upload_to_pod', 'upload_to_pod'],
    ['get', '/pods/{pod_id}/list_files{url_path}', 'list_files_in_pod'],
    ['get', '/pods/{pod_id}/download_from_pod{url_path}', 'download_from_pod'],
  ]),
  ...of(
    'login in front of a pod (tapis_auth)',
    [
      ['get', '/pods/{pod_id_net}/auth', 'pod_auth'],
      ['get', '/pods/{pod_id_net}/auth/callback', 'pod_auth_callback'],
    ],
    true,
  ),
];
