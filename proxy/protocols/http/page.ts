import { STATUS_CODES } from 'node:http';
import type { Problem } from './problem.ts';

export interface RenderedProblem {
  readonly status: number;
  /** Flat name, value list, Content-Length included. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/**
 * An error page as HTML or JSON by what the client accepts (HTML only when it asks for it by name: programs mostly send
 * no Accept or any type). `version` is the API's, for its envelope.
 */
export function renderProblem(problem: Problem, accept: string, version: string | null): RenderedProblem {
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
  if (problem.retryAfterS !== null) headers.push('Retry-After', String(problem.retryAfterS));
  return { status: problem.status, headers, body };
}

/** A whole HTTP/1.1 response that ends its connection, for a socket that no HTTP server looks after. */
export function rawResponse({ status, headers, body }: RenderedProblem): Buffer {
  return Buffer.concat([rawHead(status, STATUS_CODES[status] ?? '', [...headers, 'Connection', 'close']), body]);
}

/** Status line and fields. Names and values must come from a strict parser or from us. */
export function rawHead(status: number, reason: string, headers: readonly string[]): Buffer {
  let head = `HTTP/1.1 ${status} ${reason}\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2)
    head += `${headers[index] ?? ''}: ${headers[index + 1] ?? ''}\r\n`;
  return Buffer.from(`${head}\r\n`, 'latin1');
}

function jsonOf(problem: Problem, version: string | null): string {
  const { status, code, message, hint, requestId } = problem;
  const value =
    problem.style === 'envelope'
      ? { message: `${message} ${hint}`, metadata: { request_id: requestId }, result: null, status: 'error', version }
      : { status, code, message, hint, request_id: requestId };
  return `${JSON.stringify(value)}\n`;
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
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}p{margin:.5rem 0}
small{opacity:.65}code{font-size:.9em}</style></head>
<body><h1>${escapeHtml(problem.message)}</h1><p>${escapeHtml(problem.hint)}</p>
<p><small>${escapeHtml(title)} &middot; request <code>${escapeHtml(problem.requestId)}</code></small></p></body></html>
`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
