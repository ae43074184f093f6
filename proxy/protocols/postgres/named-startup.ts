import { match, reject, type Parsed } from '../../bytes/parsed.ts';
import { normalizeServerName } from '../../sniff/client-hello.ts';
import { takeEndpointOption } from './endpoint-option.ts';
import { parseStartupParameters, withParameters, type StartupParameter } from './startup-parameters.ts';

/** A StartupMessage that says by itself which pod is meant. */
export interface NamedStartup {
  /** In lower case, as in the route table. */
  readonly host: string;
  /** How much of what came it takes up. */
  readonly length: number;
  /** What the pod gets: the same without the name. */
  readonly packet: Buffer;
}

export type Unnamed =
  | 'malformed'
  /** Neither way of naming a pod was used. */
  | 'not-named'
  | 'named-twice'
  /** What was given as the endpoint is no host name. */
  | 'no-host-name'
  /** The user looks like `<host name>.<user>`, and begins with no name of the table. */
  | 'unknown-in-user';

/** A host name of a pod and a user have at least as many dots; first.last has one. */
const DOTS_OF_NAMED_USER = 3;
/** No host name is longer, its trailing dot included: a user of 9,000 dots shall not cost as many looks at the table. */
const HOST_NAME_MAX_LENGTH = 254;

/**
 * Which pod a StartupMessage names, for clients that send no server name: `options=-c endpoint=<host name>`, or else the
 * user `<host name>.<user>`. Both may have dots in either part, so that the longest beginning for which `isPostgres` holds
 * is the name. Libpq says the user's name for the database, too, when none is given: that is mended with it. All other
 * bytes of the packet stay as they came.
 */
export function parseNamedStartup(bytes: Buffer, isPostgres: (host: string) => boolean): Parsed<NamedStartup, Unnamed> {
  const parsed = parseStartupParameters(bytes);
  if (parsed.kind === 'need-more') return parsed;
  if (parsed.kind === 'reject') return reject('malformed');
  const { length, parameters } = parsed.value;
  const [options, users] = ['options', 'user'].map((name) => parameters.filter((one) => one.name === name));
  // A server uses the last of two; a reader that uses the first would disagree with it.
  if ((options?.length ?? 0) > 1 || users?.length !== 1) return reject('malformed');
  const named = nameByOptions(parameters, options?.[0]) ?? nameByUser(parameters, users[0]?.value ?? '', isPostgres);
  if (typeof named === 'string') return reject(named);
  return match({ host: named.host, length, packet: withParameters(bytes, named.parameters) });
}

interface Named {
  readonly host: string;
  readonly parameters: readonly StartupParameter[];
}

function nameByOptions(
  parameters: readonly StartupParameter[],
  options: StartupParameter | undefined,
): Named | Unnamed | null {
  if (options === undefined) return null;
  const { endpoints, rest } = takeEndpointOption(options.value);
  const [endpoint] = endpoints;
  if (endpoint === undefined) return null;
  if (endpoints.length > 1) return 'named-twice';
  const host = normalizeServerName(endpoint);
  if (host === null) return 'no-host-name';
  const left = parameters.flatMap((one) => (one !== options ? [one] : rest === '' ? [] : [{ ...one, value: rest }]));
  return { host, parameters: left };
}

function nameByUser(
  parameters: readonly StartupParameter[],
  user: string,
  isPostgres: (host: string) => boolean,
): Named | Unnamed {
  let dots = 0;
  for (let dot = user.lastIndexOf('.', HOST_NAME_MAX_LENGTH); dot > 0; dot = user.lastIndexOf('.', dot - 1)) {
    dots++;
    const host = normalizeServerName(user.slice(0, dot));
    const own = user.slice(dot + 1);
    if (host === null || own === '' || !isPostgres(host)) continue;
    const mended = parameters.map((one) =>
      one.name === 'user' || (one.name === 'database' && one.value === user) ? { ...one, value: own } : one,
    );
    return { host, parameters: mended };
  }
  return dots >= DOTS_OF_NAMED_USER ? 'unknown-in-user' : 'not-named';
}
