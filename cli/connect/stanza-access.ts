import { lookup } from 'node:dns/promises';
import { resolve } from 'node:path';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { nearestTo } from '../output/nearest.ts';
import { BOLT_PORT, credentialsOf, placeOf } from '../pods/pod-access.ts';
import type { Pod, Stanza } from '../pods/pod.ts';
import type { Target } from '../target/target.ts';
import type { StanzaAccess, StanzaKind } from './connection-strings.ts';

const LOOKUP_DEADLINE_MS = 1_000;

/** How a stanza of a pod is reached, credentials included where the caller may read them. */
export async function stanzaAccessOf(target: Target, pod: Pod, name: string | undefined): Promise<StanzaAccess> {
  const stanza = chooseStanza(pod, name);
  const place = placeOf(target, stanza);
  const credentials = await credentialsOf(target, pod.pod_id);
  return {
    ...place,
    // What clients dial, which need not be the port that the gateway listens on.
    port: stanza.public_port,
    kind: kindOf(stanza),
    username: credentials?.username ?? null,
    password: credentials?.password ?? null,
    caPath: target.caPath === null ? null : resolve(target.caPath),
    resolves: place.address === null || (await isKnown(place.host)),
  };
}

/** The stanza of that name; without a name the default one, or the first that the gateway reaches. */
export function chooseStanza({ pod_id: podId, networking }: Pod, name: string | undefined): Stanza {
  const reached = Object.entries(networking).filter(([, { url }]) => url !== '');
  const names = reached.map(([each]) => each);
  const wanted = name ?? (names.includes('default') ? 'default' : names[0]);
  if (wanted === undefined) throw new CliError(EXIT_FAILED, `pod ${podId} is not reached through the gateway`);
  const stanza = reached.find(([each]) => each === wanted)?.[1];
  if (stanza !== undefined) return stanza;
  const near = nearestTo(wanted, names);
  throw new CliError(
    EXIT_USAGE,
    `pod ${podId} has no networking entry ${wanted}; ${near === null ? `it has: ${names.join(', ')}` : `did you mean ${near}?`}`,
  );
}

function kindOf({ protocol, port }: Stanza): StanzaKind {
  if (protocol === 'postgres' || protocol === 'http') return protocol;
  return port === BOLT_PORT ? 'bolt' : 'tcp';
}

async function isKnown(host: string): Promise<boolean> {
  const late = new Promise<boolean>((done) => setTimeout(done, LOOKUP_DEADLINE_MS, false).unref());
  const found = lookup(host).then(
    () => true,
    () => false,
  );
  return await Promise.race([found, late]);
}
