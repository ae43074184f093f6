import { responseHeaders, trailerFields } from '../exchange/headers.ts';
import type { RequestHead, ResponseHead } from '../wire/head.ts';

/** The status and fields of an answer to `request` as HTTP/2 has them: a flat name, value list, names in lower case. */
export function responseFields({ status, rawHeaders }: ResponseHead, request: RequestHead): string[] {
  const fields = [':status', String(status)];
  const passed = responseHeaders(rawHeaders, request);
  for (let index = 0; index + 1 < passed.length; index += 2) {
    const name = (passed[index] ?? '').toLowerCase();
    // No body follows, whatever its length says (RFC 9110 8.6).
    if (name === 'content-length' && (status === 204 || status < 200)) continue;
    fields.push(name, passed[index + 1] ?? '');
  }
  return fields;
}

/** As node:http2 wants the fields of interim answers and trailers. */
export function fieldsObject(fields: readonly string[]): Record<string, string | string[]> {
  const object: Record<string, string | string[]> = {};
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = (fields[index] ?? '').toLowerCase();
    const value = fields[index + 1] ?? '';
    const before = object[name];
    object[name] = before === undefined ? value : [...(typeof before === 'string' ? [before] : before), value];
  }
  return object;
}

/** The trailers that pass (see trailerFields). */
export function trailersObject(trailers: readonly string[]): Record<string, string | string[]> {
  return fieldsObject(trailerFields(trailers));
}
