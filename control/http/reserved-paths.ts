import type { Middleware } from 'koa';

import { RESERVED_POD_IDS } from '../../core/ids.ts';
import { podNotFound } from '../pods/pod-access.ts';
import type { Operation } from './operation.ts';

/**
 * Keeps paths such as `/pods/volumes` from being taken for those of a pod: 404 where no operation of this release is there,
 * and the methods of those that are. Comes before the router, which would find `/pods/{pod_id}`.
 */
export function reservedPaths(operations: readonly Operation[]): Middleware {
  const served = operations
    .filter(({ path }) => RESERVED_POD_IDS.has(path.split('/')[2] ?? ''))
    .map(({ path, methods }) => ({
      pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`),
      methods: methods.flatMap((method) => (method === 'get' ? ['HEAD', 'GET'] : [method.toUpperCase()])),
    }));
  return async (context, next) => {
    const [, first, second] = context.path.split('/');
    const podId = first === 'pods' && second !== undefined ? decodeURIComponent(second) : '';
    if (!RESERVED_POD_IDS.has(podId)) {
      await next();
      return;
    }
    const allowed = served.filter(({ pattern }) => pattern.test(context.path)).flatMap(({ methods }) => methods);
    if (allowed.length === 0) throw podNotFound(podId);
    if (allowed.includes(context.method)) await next();
    else context.set('Allow', allowed.join(', '));
  };
}
