import { z } from 'zod';

import { PodgateError } from '../../core/errors.ts';
import type { QueryParameter } from './operation.ts';

const LIMIT_MAX = 500;
const CURSOR_MAX_LENGTH = 512;

/** Which part of a list, in the order of ids. */
export interface ListRange {
  /** Null = all of it: what clients of the Tapis API expect. */
  readonly limit: number | null;
  readonly afterId: string | undefined;
}

export const LIST_RANGE: readonly QueryParameter[] = [
  {
    name: 'limit',
    description: `At most so many, 1 to ${LIMIT_MAX}; metadata.next_cursor then says where to go on. Default: all.`,
    schema: z.int().min(1).max(LIMIT_MAX),
  },
  { name: 'cursor', description: 'metadata.next_cursor of the page before.' },
];

/** Throws 'api.invalid'. */
export function listRangeOf(query: URLSearchParams): ListRange {
  const [limitText, cursor] = [query.get('limit'), query.get('cursor')];
  const limit = limitText === null ? null : /^\d{1,4}$/.test(limitText) ? Number(limitText) : 0;
  if (limit !== null && (limit < 1 || limit > LIMIT_MAX)) {
    throw new PodgateError('api.invalid', {
      publicMessages: [`limit: must be a whole number from 1 to ${LIMIT_MAX}`],
    });
  }
  if (cursor === null) return { limit, afterId: undefined };
  const afterId = cursor.length > CURSOR_MAX_LENGTH ? '' : Buffer.from(cursor, 'base64url').toString('utf8');
  if (afterId === '' || cursorOf(afterId) !== cursor) {
    throw new PodgateError('api.invalid', { publicMessages: ['cursor: must be the next_cursor of a page'] });
  }
  return { limit, afterId };
}

/** The cursor of the page behind this id. Opaque to clients. */
export function cursorOf(id: string): string {
  return Buffer.from(id).toString('base64url');
}
