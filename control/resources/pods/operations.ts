import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import type { PodRecord, StatusNames } from '../../../core/pod.ts';
import type { TemplateCatalog } from '../../../core/template.ts';
import type { Caller } from '../../auth/authenticator.ts';
import type { ChangedPod } from './pod-objects.ts';
import type { PodService } from './pod-service.ts';
import { WAIT_MAX_MS } from './wait-routable.ts';
import { checkedBody } from '../../http/checked-body.ts';
import { flagOf } from '../../http/flag.ts';
import { preconditionOf } from '../../http/if-match.ts';
import { listPage, listParameters, listQueryOf } from '../../http/list-query.ts';
import { POD_LIST } from './pod-list.ts';
import { jsonList, jsonText } from '../../http/json-pieces.ts';
import type { AuthenticatedCall, JsonReply, Operation, QueryParameter, Reply } from '../../http/operation.ts';
import { outsideHosts, PodAnswer, podAnswer, type PublicPlace } from './response.ts';
import { quotaAnswer } from '../../objects/quota/quota-response.ts';
import type { PodSchemas } from './schema.ts';
import { writtenPodOf } from './written-pod.ts';

const ACTIONS_IN_ANSWER = 10;
/** A page of pods as they usually are, and its answers. */
const LIST_BYTES = 512 * 1024;
/** A record has its spec twice (as wanted, and as applied). */
const AS_OBJECTS = 2;
const TAIL_DEFAULT_BYTES = 1024 * 1024;
const TAIL_MAX_BYTES = 10 * 1024 * 1024;

type PodAnswerBody = z.output<typeof PodAnswer>;

export interface PodOperationParts {
  readonly pods: PodService;
  readonly schemas: PodSchemas;
  readonly templates: TemplateCatalog;
  readonly placeOf: (tenant: string) => PublicPlace;
  /** Where a call does not say which it wants. */
  readonly statusNames: StatusNames;
}

export const STATUS_NAMES: QueryParameter = {
  name: 'status_names',
  description: 'seed: RUNNING, CREATING_CONTAINER, ...; tapis: AVAILABLE, CREATING, ... Default: set by the operator.',
  schema: z.enum(['seed', 'tapis']),
};
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
const WAIT: QueryParameter = {
  name: 'wait',
  description: `routable: answers when every gateway routes to the pod; after ${WAIT_MAX_MS / 1000} s, 202.`,
  schema: z.enum(['routable']),
};
const NEWEST_TAG: QueryParameter = {
  name: 'grab_latest_template_tag',
  description: 'true: with the newest version of the tag of the template that the pod was made from.',
  schema: z.boolean(),
};
const NOT_ROUTABLE = { 202: 'Done, but the pod was not routable in time (wait=routable).' } as const;
const KEEP_VOLUME: QueryParameter = {
  name: 'keep_volume',
  description: 'true: the persistent volume stays.',
  schema: z.boolean(),
};
const TAIL_BYTES: QueryParameter = {
  name: 'tail_bytes',
  description: `How much of the end of the logs, in bytes: at most ${TAIL_MAX_BYTES}, ${TAIL_DEFAULT_BYTES} unless told.`,
  schema: z.int().min(1).max(TAIL_MAX_BYTES),
};

const PREVIOUS: QueryParameter = {
  name: 'previous',
  description:
    'true: the output from before the last restart of the program, or of the previous run; false unless told.',
  schema: z.boolean(),
};

const FOLLOW: QueryParameter = {
  name: 'follow',
  description: 'true: events with the end of the logs (tail_bytes), and then with what is printed from now on.',
  schema: z.boolean(),
};

/** Everything under /pods but permissions. */
export function podOperations(parts: PodOperationParts): readonly Operation[] {
  const { pods, schemas } = parts;

  const answer = async ({ caller, query }: AuthenticatedCall, record: PodRecord): Promise<PodAnswerBody> =>
    podAnswer(
      record,
      pods.environment(caller, record),
      parts.placeOf(record.tenant),
      await pods.actions(record, ACTIONS_IN_ANSWER),
      parts.templates.find(record.spec.template) === null,
      statusNamesOf(query, parts.statusNames),
    );
  /** Counted page by page: the pods of one page are held in memory until the client has taken the page before. */
  async function* answers(
    call: AuthenticatedCall,
    pages: AsyncIterable<readonly PodRecord[]> | Iterable<readonly PodRecord[]>,
  ): AsyncGenerator<PodAnswerBody> {
    for await (const page of pages) {
      call.reserve(Math.max(LIST_BYTES, bytesOf(page)));
      yield* await Promise.all(page.map((record) => answer(call, record)));
    }
  }
  const accessibleIds = async (caller: Caller): Promise<readonly string[]> => {
    const ids: string[] = [];
    for await (const page of pods.list(caller)) for (const { podId } of page) ids.push(podId);
    return ids;
  };
  const reply = async (
    call: AuthenticatedCall,
    record: PodRecord,
    message: string,
    more: Partial<PodAnswerBody> = {},
  ): Promise<JsonReply> => ({
    kind: 'json',
    message,
    result: { ...(await answer(call, record)), ...more },
    generation: record.generation,
  });
  /** The reply once the routes are live, when the caller asked for that. */
  const replyRoutable = async (call: AuthenticatedCall, record: PodRecord, message: string): Promise<Reply> => {
    if (!wantsRoutable(call)) return await reply(call, record, message);
    const waited = await pods.waitRoutable(record, WAIT_MAX_MS, call.signal);
    const now = await reply(call, waited.record ?? record, message);
    switch (waited.outcome.kind) {
      case 'routable':
        return { ...now, metadata: { routable: true } };
      case 'ended':
        return {
          ...now,
          status: 202,
          message: `${message} It is not routable: its status is ${waited.record?.status ?? 'deleted'}.`,
          metadata: { routable: false, laggards: [] },
        };
      case 'timeout':
        return {
          ...now,
          status: 202,
          message: `${message} Not routable yet; still waiting for: ${waited.outcome.laggards.join(', ')}.`,
          metadata: { routable: false, laggards: waited.outcome.laggards },
        };
    }
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
    {
      operationId: 'get_pod_logs',
      methods: ['get'],
      path: '/pods/{pod_id}/logs',
      tag: 'Logs',
      summary:
        'What the pod printed in its newest run, and all that was done to it. READ. With follow=true server-sent events, ' +
        'which go on with what it prints: docs/commands-and-files.md.',
      query: [TAIL_BYTES, PREVIOUS, FOLLOW],
      headers: ['Last-Event-ID'],
      result: z.object({ logs: z.string(), action_logs: z.array(z.string()) }),
      mayReplyEvents: z.object({ text: z.string() }).describe('Of the events output.'),
      access: 'token',
      handle: async (call) => {
        const request = { podId: podIdOf(call), tailBytes: tailBytesOf(call), signal: call.signal };
        if (flagOf(call, 'follow')) {
          if (isPreviousAsked(call))
            throw new PodgateError('api.invalid', { publicMessages: ['previous: cannot be combined with follow'] });
          const { caller, lastEventId } = call;
          return { kind: 'events', events: pods.followLogs(caller, { ...request, lastEventId }) };
        }
        const { output, actions, note } = await pods.logs(call.caller, {
          ...request,
          isPrevious: isPreviousAsked(call),
          reserve: (bytes) => call.reserve(bytes),
        });
        call.reserve(output.length + actions.reduce((sum, line) => sum + line.length, 0));
        return {
          kind: 'json-pieces',
          message: 'Pod logs retrieved successfully.',
          pieces: logsPieces(output, actions),
          ...(note === null ? {} : { metadata: { note } }),
        };
      },
    },
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

/** Every operation that returns a pod takes status_names, and refuses other values before it does anything. */
function withStatusNames(operation: Operation, otherwise: StatusNames): Operation {
  if (operation.access !== 'token') return operation;
  return {
    ...operation,
    query: [...(operation.query ?? []), STATUS_NAMES],
    handle: async (call: AuthenticatedCall) => {
      statusNamesOf(call.query, otherwise);
      return await operation.handle(call);
    },
  };
}

async function* logsPieces(output: Uint8Array, actions: readonly string[]): AsyncGenerator<string> {
  yield '{"logs":';
  yield* jsonText(output);
  yield ',"action_logs":';
  yield* jsonList(actions);
  yield '}';
}

/** Of what is held of them, and of the responses made from it. */
function bytesOf(page: readonly PodRecord[]): number {
  return AS_OBJECTS * page.reduce((sum, { spec }) => sum + lengthOfTexts(spec), 0);
}

/** About that of its JSON, which is not made for that: it can have 350 kB. */
function lengthOfTexts(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 1;
  let length = 0;
  for (const [name, part] of Object.entries(value)) length += name.length + lengthOfTexts(part);
  return length;
}

export function podIdOf(call: AuthenticatedCall): string {
  return call.params['pod_id'] ?? '';
}

/** Throws 'api.invalid'. */
export function statusNamesOf(query: URLSearchParams, otherwise: StatusNames): StatusNames {
  const names = query.get('status_names') ?? otherwise;
  if (names === 'seed' || names === 'tapis') return names;
  throw new PodgateError('api.invalid', { publicMessages: ['status_names: must be seed or tapis'] });
}

function wantsRoutable({ query }: AuthenticatedCall): boolean {
  const wait = query.get('wait');
  if (wait === null || wait === 'routable') return wait !== null;
  throw new PodgateError('api.invalid', { publicMessages: ['wait: must be routable'] });
}

function isPreviousAsked({ query }: AuthenticatedCall): boolean {
  const value = query.get('previous') ?? 'false';
  if (value === 'true' || value === 'false') return value === 'true';
  throw new PodgateError('api.invalid', { publicMessages: ['previous: must be true or false'] });
}

function tailBytesOf({ query }: AuthenticatedCall): number {
  const value = query.get('tail_bytes');
  if (value === null) return TAIL_DEFAULT_BYTES;
  const bytes = /^\d{1,9}$/.test(value) ? Number(value) : 0;
  if (bytes >= 1 && bytes <= TAIL_MAX_BYTES) return bytes;
  throw new PodgateError('api.invalid', {
    publicMessages: [`tail_bytes: must be a whole number from 1 to ${TAIL_MAX_BYTES}`],
  });
}
