import type { z } from 'zod';

import type { Resources } from '../../../core/pod.ts';
import type { PodFields, WrittenPod, WrittenStanza, WrittenVolumeMount } from './written-pod.ts';
import { checkFields } from '../../http/field-checks.ts';
import type { PodSchemas } from './schema.ts';

type NewPodBody = Partial<z.output<PodSchemas['NewPod']>>;

/** A body of create, or of update, in the words of the use cases. */
export function writtenPodOf(schema: PodSchemas['NewPod'] | PodSchemas['UpdatePod'], body: unknown): WrittenPod {
  const { values, problems, refused } = checkFields(schema as PodSchemas['NewPod'], body);
  return { fields: fieldsOf(values), problems, refused };
}

function fieldsOf(body: NewPodBody): PodFields {
  const fields = {
    podId: body.pod_id,
    podTemplate: body.pod_template,
    template: body.template,
    image: body.image,
    description: body.description,
    command: body.command,
    arguments: body.arguments,
    environmentVariables: body.environment_variables,
    dataRequests: body.data_requests,
    rolesRequired: body.roles_required,
    statusRequested: body.status_requested,
    timeToStopDefault: body.time_to_stop_default,
    // 0 means nothing was set, as in the seed.
    timeToStopInstance: body.time_to_stop_instance === 0 ? null : body.time_to_stop_instance,
    networking:
      body.networking === undefined
        ? undefined
        : Object.fromEntries(Object.entries(body.networking).map(([name, stanza]) => [name, stanzaOf(stanza)])),
    routingPort: body.routing_port,
    persistentVolume: body.persistent_volume,
    volumeMounts:
      body.volume_mounts === undefined
        ? undefined
        : Object.fromEntries(Object.entries(body.volume_mounts).map(([key, mount]) => [key, volumeMountOf(mount)])),
    resources: body.resources === undefined ? undefined : resourcesOf(body.resources),
  };
  return written(fields);
}

function stanzaOf(stanza: NonNullable<NewPodBody['networking']>[string]): WrittenStanza {
  return written({
    protocol: stanza.protocol,
    port: stanza.port,
    ipAllowList: stanza.ip_allow_list,
    tls: stanza.tls,
    backendProtocol: stanza.backend_protocol,
    sendProxyProtocol: stanza.proxy_protocol,
    clientCa: stanza.client_ca,
    uiUri: stanza.tapis_ui_uri,
    uiUriRedirect: stanza.tapis_ui_uri_redirect,
    uiUriDescription: stanza.tapis_ui_uri_description,
  });
}

function volumeMountOf(mount: NonNullable<NewPodBody['volume_mounts']>[string]): WrittenVolumeMount {
  return {
    type: mount.type,
    ...written({
      mountPath: mount.mount_path,
      sourceId: mount.source_id,
      subPath: mount.sub_path,
      readOnly: mount.read_only,
    }),
  };
}

function resourcesOf(resources: NonNullable<NewPodBody['resources']>): Partial<Resources> {
  return written({
    cpuRequest: resources.cpu_request,
    cpuLimit: resources.cpu_limit,
    memRequest: resources.mem_request,
    memLimit: resources.mem_limit,
    gpus: resources.gpus,
  });
}

/** Without the fields that were not written. */
function written<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
