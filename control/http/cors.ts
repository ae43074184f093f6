import cors from '@koa/cors';
import type { Middleware } from 'koa';

export interface CorsOptions {
  /** `https://host[:port]`, or `*` alone. */
  readonly origins: readonly string[];
  readonly credentials: boolean;
  readonly maxAgeSeconds: number;
}

const METHODS = 'GET,HEAD,POST,PUT,DELETE';
const REQUEST_HEADERS = [
  ...[
    'Authorization',
    'Content-Type',
    'If-Match',
    'If-None-Match',
    'If-Range',
    'Last-Event-ID',
    'Range',
    'X-Pods-Admin',
    'X-Request-Id',
  ],
  ...['X-Tapis-Tenant', 'X-Tapis-Token', 'X-Tapis-Tracking-ID', 'X-Tapis-User'],
];
const RESPONSE_HEADERS = ['Accept-Ranges', 'Content-Range', 'ETag', 'Retry-After', 'X-Request-Id'];

/**
 * Lets web pages of the listed origins read responses of the API, and answers their preflight requests, which carry no
 * token. Pages of other origins get no header that allows anything (Fetch standard, section "CORS protocol").
 */
export function corsFor({ origins, credentials, maxAgeSeconds }: CorsOptions): Middleware {
  const allowed = new Set(origins);
  return cors({
    origin: (context) => (allowed.has('*') ? '*' : allowed.has(context.get('Origin')) ? context.get('Origin') : ''),
    allowMethods: METHODS,
    allowHeaders: REQUEST_HEADERS,
    exposeHeaders: RESPONSE_HEADERS,
    credentials,
    maxAge: maxAgeSeconds,
  });
}
