import type { Middleware } from 'koa';

/** A file as it is sent; the encoded bodies are made once. */
export interface Page {
  /** Content-Type. */
  readonly type: string;
  /** A strong one, quotes included. */
  readonly etag: string;
  readonly bodies: { readonly identity: Buffer; readonly gzip: Buffer; readonly br: Buffer };
}

export interface Pages {
  /** By path. */
  readonly paths: ReadonlySet<string>;
  get(path: string): Promise<Page | null>;
}

/** No inline script or style, no script from text, nothing from elsewhere, in no frame. */
export const PAGE_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; " +
    "require-trusted-types-for 'script'; trusted-types 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'Referrer-Policy': 'no-referrer',
  'X-Frame-Options': 'DENY',
} as const;

/** Serves files at the root of the host, beside the operations of the API. */
export function servePages(pages: Pages): Middleware {
  return async (context, next) => {
    const path = (context.req.url ?? '').split('?', 1)[0] ?? '';
    const isRead = context.method === 'GET' || context.method === 'HEAD';
    const page = isRead && pages.paths.has(path) ? await pages.get(path) : null;
    if (page === null) {
      await next();
      return;
    }
    context.set(PAGE_HEADERS);
    context.set({ 'Cache-Control': 'no-cache', ETag: page.etag, Vary: 'Accept-Encoding' });
    context.status = 200;
    if (context.fresh) {
      context.status = 304;
      context.body = null;
      return;
    }
    const encoding = context.acceptsEncodings('br', 'gzip', 'identity');
    const coding = encoding === 'br' || encoding === 'gzip' ? encoding : 'identity';
    if (coding !== 'identity') context.set('Content-Encoding', coding);
    context.body = page.bodies[coding];
    context.set('Content-Type', page.type);
  };
}
