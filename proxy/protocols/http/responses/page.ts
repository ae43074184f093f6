import { escapeHtml } from '../../../../core/escape-html.ts';
import { STATUS_CODES } from 'node:http';
import { headText, statusLine } from '../wire/write-head.ts';
import type { Problem } from './problem.ts';

export interface RenderedResponse {
  readonly status: number;
  /** Flat name, value list, Content-Length included. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/**
 * An error page as HTML or JSON by what the client accepts (HTML only when it asks for it by name: programs mostly send
 * no Accept or any type). `version` is the API's, for its envelope.
 */
export function renderProblem(problem: Problem, accept: string, version: string | null): RenderedResponse {
  const html = problem.style === 'page' && /\btext\/html\b/i.test(accept);
  const body = Buffer.from(html ? htmlOf(problem) : jsonOf(problem, version), 'utf8');
  const headers = [
    'Content-Type',
    html ? 'text/html; charset=utf-8' : 'application/json; charset=utf-8',
    'Content-Length',
    String(body.length),
    'Cache-Control',
    'no-store',
    'X-Content-Type-Options',
    'nosniff',
    'X-Request-Id',
    problem.requestId,
  ];
  if (html) headers.push('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'");
  if (problem.style === 'page') headers.push('Vary', 'Accept');
  // RFC 9110 11.6.1: a 401 names a scheme. The token is not sent as one of those that are registered.
  if (problem.status === 401) headers.push('WWW-Authenticate', 'X-Tapis-Token');
  if (problem.retryAfterS !== null) headers.push('Retry-After', String(problem.retryAfterS));
  return { status: problem.status, headers, body };
}

/** A whole HTTP/1.1 response that ends its connection, for a socket that no HTTP server looks after. */
export function rawResponse({ status, headers, body }: RenderedResponse): Buffer {
  return Buffer.concat([
    Buffer.from(headText(statusLine(status), [...headers, 'Connection', 'close']), 'latin1'),
    body,
  ]);
}

function jsonOf(problem: Problem, version: string | null): string {
  const { status, code, message, hint, requestId } = problem;
  const value =
    problem.style === 'envelope'
      ? { message: `${message} ${hint}`, metadata: { request_id: requestId }, result: null, status: 'error', version }
      : { status, code, message, hint, request_id: requestId };
  return `${JSON.stringify(value)}\n`;
}

/** System fonts and colours, light and dark; nothing is fetched. */
const STYLE = `:root{--text:#1c2330;--soft:#5c6675;--line:#dde1e7;--back:#f6f7f9;--box:#fff;--mark:#b4540a}
@media(prefers-color-scheme:dark){:root{--text:#e8ebf0;--soft:#9aa4b3;--line:#333b47;--back:#14181e;--box:#1c2129;--mark:#f0a35e}}
body{margin:0;padding:14vh 1rem 2rem;font:16px/1.55 system-ui,sans-serif;color:var(--text);background:var(--back)}
main{max-width:38rem;margin:auto;padding:1.75rem 2rem 1.25rem;background:var(--box);border:1px solid var(--line);border-radius:10px}
h1{margin:.15rem 0 .75rem;font-size:1.4rem;line-height:1.3;text-wrap:balance}p{margin:.5rem 0}
h1,p{overflow-wrap:anywhere}.status{margin:0;color:var(--mark);font-weight:600;font-size:.875rem}
code{font:.9em ui-monospace,monospace;background:var(--back);border-radius:4px;padding:.1em .35em}
footer{margin-top:1.5rem;padding-top:.75rem;border-top:1px solid var(--line);color:var(--soft);font-size:.8125rem}`;

/** The hint, its calls set apart from the sentence, and what the page does by itself. */
function hintOf({ hint, refresh }: Problem): string {
  const calls = escapeHtml(hint).replaceAll(
    /GET https?:\/\/\S+?(?=\.?(?:\s|$))|podgate explain \w+ --id [\w-]+/g,
    '<code>$&</code>',
  );
  return refresh ? calls.replace('Try again in a few seconds.', 'This page reloads automatically.') : calls;
}

function htmlOf(problem: Problem): string {
  const title = `${problem.status} ${STATUS_CODES[problem.status] ?? ''}`;
  const refresh =
    problem.refresh && problem.retryAfterS !== null
      ? `<meta http-equiv="refresh" content="${String(problem.retryAfterS)}">`
      : '';
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">${refresh}
<style>${STYLE}</style></head>
<body><main><p class="status">${escapeHtml(title)}</p>
<h1>${escapeHtml(problem.message)}</h1>
<p>${hintOf(problem)}</p>
<footer>Podgate &middot; request <code>${escapeHtml(problem.requestId)}</code></footer></main></body></html>
`;
}
