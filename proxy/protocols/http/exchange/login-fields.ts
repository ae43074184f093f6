/** Header fields of the login in front of a pod. Flat name, value lists. */
import type { Visitor } from './request-policy.ts';

export const SESSION_COOKIE = '__Host-podgate-login';
/** Of a login under way. */
export const START_COOKIE = '__Host-podgate-login-start';
/** In lower case. */
export const TOKEN_FIELD = 'x-tapis-token';

/** The value of a cookie, or null. A browser that has two of a name sends the one that counts first (RFC 6265 5.4). */
export function cookieOf(fields: readonly string[], name: string): string | null {
  for (let index = 0; index + 1 < fields.length; index += 2) {
    if ((fields[index] ?? '').toLowerCase() !== 'cookie') continue;
    for (const pair of (fields[index + 1] ?? '').split(';')) {
      const trimmed = pair.trim();
      if (trimmed.startsWith(name) && trimmed[name.length] === '=') return trimmed.slice(name.length + 1);
    }
  }
  return null;
}

/** The fields for the pod: neither cookie nor token of the login, and what it is to be told of its visitor. */
export function withVisitor(fields: readonly string[], visitor: Visitor): string[] {
  return [...withoutTold(fields, visitor), ...visitor.headers];
}

/** Also of trailers, which some servers take for header fields. */
export function withoutTold(fields: readonly string[], { withheld }: Visitor): string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const plain = alike(name);
    if (plain === TOKEN_FIELD || withheld.has(plain)) continue;
    const value = fields[index + 1] ?? '';
    const rest = plain === 'cookie' ? withoutLogin(value) : value;
    if (rest !== '' || value === '') kept.push(name, rest);
  }
  return kept;
}

function withoutLogin(value: string): string {
  return value
    .split(';')
    .filter((pair) => {
      const name = pair.split('=', 1)[0]?.trim();
      return name !== SESSION_COOKIE && name !== START_COOKIE;
    })
    .join(';')
    .trimStart();
}

/** WSGI and CGI turn `-` and `_` into the same variable. */
export function alike(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}
