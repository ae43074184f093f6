import type { z } from 'zod';

import type { PodRecord, StatusNames } from '../../../core/pod.ts';
import type { TemplateCatalog } from '../../../core/template.ts';
import type { AuthenticatedCall, JsonReply, Reply } from '../../http/operation.ts';
import { statusNamesOf, wantsRoutable } from './pod-query.ts';
import type { PodService } from './pod-service.ts';
import { type PodAnswer, podAnswer, type PublicPlace } from './response.ts';
import { WAIT_MAX_MS } from './wait-routable.ts';

const ACTIONS_IN_ANSWER = 10;
/** A page of pods as they usually are, and its answers. */
export const LIST_BYTES = 512 * 1024;
/** A record has its spec twice (as wanted, and as applied). */
const AS_OBJECTS = 2;

type PodAnswerBody = z.output<typeof PodAnswer>;

export interface PodReplyParts {
  readonly pods: PodService;
  readonly templates: TemplateCatalog;
  readonly placeOf: (tenant: string) => PublicPlace;
  /** Where a call does not say which it wants. */
  readonly statusNames: StatusNames;
}

/** How operations return pods. */
export function podReplies(parts: PodReplyParts) {
  const { pods } = parts;

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
  return { answer, answers, reply, replyRoutable };
}

/** Of what is held of them, and of the responses made from it. */
export function bytesOf(page: readonly PodRecord[]): number {
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
