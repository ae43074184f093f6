/**
 * A Set-Cookie value without the Domain attributes that name anything but `host`: all pods share a parent domain, and a cookie
 * for that would reach every pod and the API. Read as browsers read it (RFC 6265 5.2): attributes parted by semicolons
 * whatever stands in quotes, names in any case, white space around them, an optional dot before the domain.
 */
export function withoutForeignDomain(value: string, host: string | null): string {
  const [pair = '', ...attributes] = value.split(';');
  const kept = attributes.filter((attribute) => {
    const equals = attribute.indexOf('=');
    const name = equals < 0 ? attribute : attribute.slice(0, equals);
    if (name.trim().toLowerCase() !== 'domain') return true;
    const domain = equals < 0 ? '' : attribute.slice(equals + 1);
    // Not `trim`, which takes off more than browsers do.
    return domain.toLowerCase().replace(/^[\t ]*\.?|[\t ]+$/g, '') === host;
  });
  return kept.length === attributes.length ? value : [pair, ...kept].join(';');
}

export function namesDomain(value: string): boolean {
  return /domain/i.test(value);
}
