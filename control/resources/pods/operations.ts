import { z } from 'zod';

import type { Caller } from '../../auth/authenticator.ts';
import type { ChangedPod } from './pod-objects.ts';
import { checkedBody } from '../../http/checked-body.ts';
import { flagOf } from '../../http/flag.ts';
import { preconditionOf } from '../../http/if-match.ts';
import { listPage, listParameters, listQueryOf } from '../../http/list-query.ts';
import { POD_LIST } from './pod-list.ts';
import { jsonList } from '../../http/json-pieces.ts';
import type { AuthenticatedCall, Operation, QueryParameter } from '../../http/operation.ts';
import { logsOperation } from './logs/logs-operation.ts';
import { NOT_ROUTABLE, podIdOf, WAIT, wantsRoutable, withStatusNames } from './pod-query.ts';
import { bytesOf, LIST_BYTES, podReplies, type PodReplyParts } from './pod-replies.ts';
import { outsideHosts, PodAnswer } from './response.ts';
import { quotaAnswer } from '../../objects/quota/quota-response.ts';
import type { PodSchemas } from './schema.ts';
import { writtenPodOf } from './written-pod.ts';

/** Of the newer API: nothing in a response depends on them here, and the reason. */
const NO_EFFECT = {
  derived_lite: {
    name: 'derived_lite',
    description: 'Accepted, without effect: pods are listed with what their templates add.',
    schema: z.boolean(),
  },
  include_configs: {
    name: 'include_configs',
    description: 'Accepted, without effect: volume mounts have no config_content.',
    schema: z.boolean(),
  },
} as const satisfies Record<string, QueryParameter>;
const CHECK_UNRESOLVED: QueryParameter = {
  name: 'check_unresolved',
  description:
    'false: without metadata.unresolved, the entries of secret_map that stand for nothing any more. Default: true.',
  schema: z.boolean(),
};

const RESOLVE_SECRETS: QueryParameter = {
  name: 'resolve_secrets',
  description: 'true: environment variables have the values of secrets, as the pod gets them. ADMIN.',
};
const NEWEST_TAG: QueryParameter = {
  name: 'grab_latest_template_tag',
  description: 'true: with the newest version of the tag of the template that the pod was made from.',
  schema: z.boolean(),
};
const KEEP_VOLUME: QueryParameter = {
  name: 'keep_volume',
  description: 'true: the persistent volume stays.',
  schema: z.boolean(),
};
export interface PodOperationParts extends PodReplyParts {
  readonly schemas: PodSchemas;
}

/** Pods themselves, their state, logs and credentials. */
export function podOperations(parts: PodOperationParts): readonly Operation[] {
  const { pods, schemas } = parts;
  const { answer, answers, reply, replyRoutable } = podReplies(parts);

  const accessibleIds = async (caller: Caller): Promise<readonly string[]> => {
    const ids: string[] = [];
    for await (const page of pods.list(caller)) for (const { podId } of page) ids.push(podId);
    return ids;
  };
  const wishOperation = (
    name: 'start' | 'stop' | 'restart',
    summary: string,
    message: string,
    act: (caller: Caller, podId: string, call: AuthenticatedCall) => Promise<ChangedPod>,
  ): Operation => ({
    operationId: `${name}_pod`,
    methods: ['get', 'post'],
    path: `/pods/{pod_id}/${name}`,
    getActs: true,
    tag: 'Pods',
    summary,
    ...(name === 'stop' ? {} : { query: name === 'start' ? [WAIT] : [WAIT, NEWEST_TAG], otherStatuses: NOT_ROUTABLE }),
    result: PodAnswer,
    access: 'token',
    handle: async (call) => {
      const waits = name !== 'stop' && wantsRoutable(call);
      const { record } = await act(call.caller, podIdOf(call), call);
      return waits ? await replyRoutable(call, record, message) : await reply(call, record, message);
    },
  });

  const operations: readonly Operation[] = [
    {
      operationId: 'get_pods',
      methods: ['get'],
      path: '/pods',
      tag: 'Pods',
      summary:
        'The pods on which you have READ or more; with X-Pods-Admin, all of the tenant. metadata.quota says what the pods ' +
        'you created use, and your limits.',
      query: [...listParameters(POD_LIST), NO_EFFECT.derived_lite],
      headers: ['X-Pods-Admin'],
      result: z.array(PodAnswer),
      access: 'token',
      limits: { responseBytes: LIST_BYTES },
      handle: async (call) => {
        flagOf(call, NO_EFFECT.derived_lite.name);
        const { parts: pages, metadata } = await listPage(listQueryOf(call.query, POD_LIST), {
          read: (afterId) =>
            pods.list(call.caller, { all: call.isAdminView, ...(afterId === undefined ? {} : { afterId }) }),
          isInOrder: true,
          bytesOf: (record) => bytesOf([record]),
          hold: (bytes) => call.reserve(Math.max(LIST_BYTES, bytes)),
        });
        return {
          kind: 'json-pieces',
          message: 'Pods retrieved successfully.',
          metadata: {
            quota: quotaAnswer(await pods.quota(call.caller)),
            ...metadata,
            ...(call.isAdminView && { admin_context: { user_accessible_ids: await accessibleIds(call.caller) } }),
          },
          pieces: jsonList(answers(call, pages)),
        };
      },
    },
    {
      operationId: 'create_pod',
      methods: ['post'],
      path: '/pods',
      tag: 'Pods',
      summary: 'Creates a pod, of which you become ADMIN, and starts it unless status_requested is OFF.',
      query: [WAIT],
      otherStatuses: NOT_ROUTABLE,
      body: schemas.NewPod,
      result: PodAnswer,
      access: 'token',
      handle: async (call) => {
        wantsRoutable(call);
        const record = await pods.create(call.caller, writtenPodOf(schemas.NewPod, call.body));
        return await replyRoutable(call, record, 'Pod created successfully.');
      },
    },
    {
      operationId: 'clone_pod',
      methods: ['post'],
      path: '/pods/{pod_id}/clone',
      tag: 'Pods',
      summary:
        'Creates a pod like this one, with a consistent copy of its data, or with a snapshot of it, and starts it. You ' +
        'become its ADMIN. It has the same user name and its own password. USER on this one, by a permission of ' +
        'your own. docs/clones.md.',
      query: [WAIT],
      otherStatuses: NOT_ROUTABLE,
      alsoRefuses: ['api.not-available'],
      body: schemas.ClonePod,
      result: PodAnswer,
      access: 'token',
      handle: async (call) => {
        wantsRoutable(call);
        const { podId: newPodId, at = null, snapshotId = null } = checkedBody(schemas.ClonePod, call.body);
        const record = await pods.clone(call.caller, { podId: podIdOf(call), newPodId, at, snapshotId });
        return await replyRoutable(call, record, 'Pod cloned successfully.');
      },
    },
    {
      operationId: 'get_pod',
      methods: ['get'],
      path: '/pods/{pod_id}',
      tag: 'Pods',
      summary: 'A pod. READ.',
      query: [NO_EFFECT.include_configs, CHECK_UNRESOLVED],
      result: PodAnswer,
      access: 'token',
      handle: async (call) => {
        flagOf(call, NO_EFFECT.include_configs.name);
        const isChecked = flagOf(call, CHECK_UNRESOLVED.name, true);
        const record = await pods.get(call.caller, podIdOf(call));
        const [unresolved, use] = await Promise.all([isChecked ? pods.unresolved(record) : [], pods.use(record)]);
        const now = await reply(call, record, 'Pod retrieved successfully.', use ?? {});
        return unresolved.length === 0 ? now : { ...now, metadata: { unresolved } };
      },
    },
    {
      operationId: 'get_derived_pod',
      alsoRefuses: ['api.conflict'],
      methods: ['get'],
      path: '/pods/{pod_id}/derived',
      tag: 'Pods',
      summary:
        'A pod with what its template adds. In this release a pod shows that already: the same as get_pod. READ.',
      query: [NO_EFFECT.include_configs, RESOLVE_SECRETS],
      result: PodAnswer,
      access: 'token',
      handle: async (call) => {
        flagOf(call, NO_EFFECT.include_configs.name);
        const record = await pods.get(call.caller, podIdOf(call));
        const derived = await reply(call, record, 'Final derived pod retrieved successfully.');
        if (!flagOf(call, 'resolve_secrets')) return derived;
        const { baseHost } = parts.placeOf(record.tenant);
        const variables = await pods.resolvedEnvironment(call.caller, record, outsideHosts(record, baseHost));
        return { ...derived, result: { ...(await answer(call, record)), environment_variables: variables } };
      },
    },
    {
      operationId: 'update_pod',
      methods: ['put'],
      path: '/pods/{pod_id}',
      tag: 'Pods',
      summary:
        'Changes the fields that are sent. USER. metadata.note says what acts at once and what at the next start.',
      headers: ['If-Match'],
      body: schemas.UpdatePod,
      result: PodAnswer,
      access: 'token',
      handle: async (call) => {
        const written = writtenPodOf(schemas.UpdatePod, call.body);
        const updated = await pods.update(call.caller, podIdOf(call), written, preconditionOf(call.ifMatch));
        if (updated.isChanged) {
          const now = await reply(call, updated.record, 'Pod updated successfully.');
          return { ...now, metadata: { note: updated.notes } };
        }
        const same = await reply(
          call,
          updated.record,
          'Incoming data made no changes to pod. Is incoming data equal to current data?',
        );
        return { ...same, outcome: 'error' };
      },
    },
    {
      operationId: 'delete_pod',
      methods: ['delete'],
      path: '/pods/{pod_id}',
      tag: 'Pods',
      summary: 'Deletes a pod and its data. ADMIN. The id is free again once everything is gone.',
      query: [KEEP_VOLUME],
      headers: ['If-Match'],
      result: z.string(),
      access: 'token',
      handle: async (call) => {
        await pods.delete(call.caller, podIdOf(call), {
          keepVolume: flagOf(call, 'keep_volume'),
          precondition: preconditionOf(call.ifMatch),
        });
        return { kind: 'json', message: 'Pod successfully deleted.', result: '' };
      },
    },
    wishOperation(
      'start',
      'Starts a pod. ADMIN.',
      "Updated pod's status_requested to ON and requested pod.",
      (caller, podId) => pods.start(caller, podId),
    ),
    wishOperation('stop', 'Stops a pod. ADMIN.', "Updated pod's status_requested to OFF.", (caller, podId) =>
      pods.stop(caller, podId),
    ),
    wishOperation(
      'restart',
      'Stops a pod and starts it again. ADMIN.',
      "Updated pod's status_requested to RESTART.",
      (caller, podId, call) => pods.restart(caller, podId, { takesNewestTag: flagOf(call, NEWEST_TAG.name) }),
    ),
    logsOperation(pods),
    {
      operationId: 'get_pod_credentials',
      methods: ['get'],
      path: '/pods/{pod_id}/credentials',
      tag: 'Credentials',
      summary: 'User name and password made for the pod. USER.',
      result: z.object({ user_username: z.string(), user_password: z.string() }),
      access: 'token',
      handle: async (call) => {
        const { username, password } = await pods.credentials(call.caller, podIdOf(call));
        return {
          kind: 'json',
          message: 'The request was successful',
          result: { user_username: username, user_password: password },
        };
      },
    },
  ];
  return operations.map((operation) => withStatusNames(operation, parts.statusNames));
}
