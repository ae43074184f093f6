import type { Operation } from './operation.ts';

/**
 * Parameters that stand for the rest of the path, slashes included, sent as they are or as `%2F`. The value is how the
 * router and a regular expression write one.
 */
const REST_PARAMETERS: ReadonlyMap<string, readonly [router: string, pattern: string]> = new Map([
  ['path', ['*path', '.+']],
  ['image_id', ['*image_id', '.+']],
  // May be empty: the path is then in the query.
  ['url_path', ['{*url_path}', '.*']],
]);
const PARAMETER = /\{(\w+)\}/g;

/** The path of an operation (`/pods/{pod_id}`) as the router writes it (`/pods/:pod_id`). */
export function routerPath(path: string): string {
  return path.replaceAll(PARAMETER, (_, name: string) => REST_PARAMETERS.get(name)?.[0] ?? `:${name}`);
}

/** Matches the request paths of an operation. */
export function pathPattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(PARAMETER, (_, name: string) => REST_PARAMETERS.get(name)?.[1] ?? '[^/]+')}$`);
}

/**
 * Sorts operations so that the router, which takes the first that matches, finds `/pods/volumes` before `/pods/{pod_id}`
 * and `/pods/templates/tags` before `/pods/templates/{template_id}`, in whatever order they are given.
 */
export function bySpecificity(a: Operation, b: Operation): number {
  return rankOf(a.path).localeCompare(rankOf(b.path));
}

/** One digit for each segment: parameters come after words, the rest of a path after both. */
function rankOf(path: string): string {
  return path
    .split('/')
    .map((segment) => {
      const [, name] = /\{(\w+)\}/.exec(segment) ?? [];
      if (name === undefined) return '0';
      return REST_PARAMETERS.has(name) ? '2' : '1';
    })
    .join('');
}
