import { getDomain } from 'tldts';

/**
 * The name that was bought (`example.co.uk` of `mypg.pods.example.co.uk`): issuers count by it. By the public suffix
 * list with its private part, as issuers do; a name that is a public suffix itself, or below none, stands for itself.
 */
export function registeredDomain(host: string): string {
  const name = host.startsWith('*.') ? host.slice(2) : host;
  return getDomain(name, { allowPrivateDomains: true }) ?? name;
}
