import type { Middleware } from 'koa';

import type { PodgateError } from '../../core/errors.ts';
import type { Operation } from './operation.ts';
import { pathPattern } from './path-patterns.ts';

export interface ReservedIds {
  /** The first segment of the paths, such as `pods`. */
  readonly collection: string;
  /** Ids that no object of the collection has. */
  readonly ids: ReadonlySet<string>;
  readonly notFound: (id: string) => PodgateError;
}

/**
 * Keeps paths such as `/pods/volumes` from being taken for those of a pod: 404 where no operation of this release is there,
 * and the methods of those that are. Comes before the router, which would find `/pods/{pod_id}`.
 */
export function reservedPaths(
  operations: readonly Operation[],
  { collection, ids, notFound }: ReservedIds,
): Middleware {
  const served = operations
    .filter(({ path }) => ids.has(path.split('/')[2] ?? ''))
    .map(({ path, methods, getActs }) => ({
      pattern: pathPattern(path),
      methods: methods.flatMap((method) =>
        method === 'get' && getActs !== true ? ['HEAD', 'GET'] : [method.toUpperCase()],
      ),
    }));
  return async (context, next) => {
    const [, first, second] = context.path.split('/');
    const id = first === collection && second !== undefined ? decodeURIComponent(second) : '';
    if (!ids.has(id)) {
      await next();
      return;
    }
    const allowed = served.filter(({ pattern }) => pattern.test(context.path)).flatMap(({ methods }) => methods);
    if (allowed.length === 0) throw notFound(id);
    if (allowed.includes(context.method)) await next();
    else context.set('Allow', allowed.join(', '));
  };
}
