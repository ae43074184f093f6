/**
 * The web interface of Tapis keeps its user's token in this cookie, for every host below the tenant's. A browser would send
 * it to each pod that its user visits, and so to the owner of that pod.
 */
const TOKEN_COOKIE = 'x-tapis-token';

/** Whether a Cookie field may hold it. */
export function mayHoldToken(value: string): boolean {
  return /x-tapis-token/i.test(value);
}

/** A Cookie field's value without it (RFC 6265, 4.2.1: pairs parted by semicolons); '' = nothing is left. */
export function withoutToken(value: string): string {
  return value
    .split(';')
    .filter((pair) => {
      const equals = pair.indexOf('=');
      return (equals < 0 ? pair : pair.slice(0, equals)).trim().toLowerCase() !== TOKEN_COOKIE;
    })
    .join(';')
    .trimStart();
}
