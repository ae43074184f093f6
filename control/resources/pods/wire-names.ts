import type { StanzaLink, StanzaOptions } from '../../../core/pod.ts';
import { type SnakeCase, snakeCase } from '../../http/camel-fields.ts';

/** Fields of a record whose names are not those of the wire in camel case. */
const OTHER_NAMES = {
  sendProxyProtocol: 'proxy_protocol',
  uiUri: 'tapis_ui_uri',
  uiUriRedirect: 'tapis_ui_uri_redirect',
  uiUriDescription: 'tapis_ui_uri_description',
} as const satisfies { readonly [K in keyof (StanzaOptions & StanzaLink)]?: string };

type WireName<K extends string> = K extends keyof typeof OTHER_NAMES ? (typeof OTHER_NAMES)[K] : SnakeCase<K>;
type WireFields<T> = { [K in keyof T as WireName<K & string>]: T[K] };

/** There are as many as a record has fields. */
const known = new Map<string, string>(Object.entries(OTHER_NAMES));

/** What users call a field of a pod's record. */
export function wireName(field: string): string {
  let name = known.get(field);
  if (name === undefined) known.set(field, (name = snakeCase(field)));
  return name;
}

/** The fields of a part of a record under the names of the wire. */
export function wireFields<T extends object>(part: T): WireFields<T> {
  return Object.fromEntries(Object.entries(part).map(([field, value]) => [wireName(field), value])) as WireFields<T>;
}
