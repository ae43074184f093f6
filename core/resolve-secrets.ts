import { openEnvironment, sealEnvironment } from './environment.ts';
import { podKey } from './ids.ts';
import { fillPlaceholders, parseSecretReference, type Placeholder } from './placeholders.ts';
import type { PodSpec } from './pod.ts';
import { maySecretBeUsed, secretContext, type SecretRecord } from './secret.ts';
import { type MappedSecret, mappedSecretContext } from './secret-map.ts';
import type { Store } from './store.ts';
import type { Vault } from './vault.ts';

/** Of all variables and words once secrets are in them: a Secret of Kubernetes holds 1 MiB. */
const RESOLVED_MAX_BYTES = 256 * 1024;
/** Variables that carry secrets into commands and arguments: both orchestrators put `$(NAME)` in place. */
const SECRET_VARIABLE = 'PODGATE_SECRET_';

export interface SecretParts {
  readonly store: Pick<Store, 'get'>;
  readonly vault: Vault;
}

/** Whose secrets are opened. */
export interface SecretUser {
  readonly tenant: string;
  readonly podId: string;
  readonly uid: string;
}

/** A reason is a sentence for the user of the pod; it names references, never values. */
export type Failed = { readonly kind: 'failed'; readonly reason: string };
export interface OpenedSecret {
  readonly value: string;
  /** The API may show it. */
  readonly isReadable: boolean;
}
export type OpenedSecrets =
  { readonly kind: 'opened'; readonly values: Readonly<Record<string, OpenedSecret>> } | Failed;

/** The values behind a pod's secret map, as they are now. Throws when the store does not answer. */
export async function openSecrets(parts: SecretParts, pod: SecretUser, spec: PodSpec): Promise<OpenedSecrets> {
  const values: Record<string, OpenedSecret> = {};
  for (const [key, mapped] of Object.entries(spec.secretMap ?? {})) {
    const opened = await openMapped(parts, pod, key, mapped);
    if (typeof opened === 'string') return { kind: 'failed', reason: `secret_map.${key}: ${opened}` };
    values[key] = opened;
  }
  return { kind: 'opened', values };
}

async function openMapped(
  { store, vault }: SecretParts,
  pod: SecretUser,
  key: string,
  { reference, by, sealed }: MappedSecret,
): Promise<OpenedSecret | string> {
  const parsed = parseSecretReference(reference);
  const open = (text: string, context: string, isReadable: boolean): OpenedSecret | string => {
    try {
      return { value: vault.open(text, context), isReadable };
    } catch {
      return 'no configured key can decrypt its value; set it again, or ask the operator to restore the keyring.';
    }
  };
  switch (parsed?.kind) {
    case 'default':
      return { value: parsed.value, isReadable: true };
    case 'random':
      return open(sealed ?? '', mappedSecretContext(pod.uid, key), true);
    case 'secret': {
      const secret = await secretOf({ store }, pod, { ...parsed, by });
      return typeof secret === 'string' ? secret : open(secret.sealed, secretContext(secret), secret.readable);
    }
    case 'required':
    case undefined:
      return `${reference} has no value.`;
  }
}

/** The secret that a reference names, or a sentence on why it cannot be used. */
async function secretOf(
  { store }: Pick<SecretParts, 'store'>,
  pod: SecretUser,
  { name, owner, by }: { readonly name: string; readonly owner: string | null; readonly by: string },
): Promise<SecretRecord | string> {
  const stored = await store.get('secret', podKey(pod.tenant, name));
  if (stored === null) return `there is no secret ${name} any more.`;
  return useProblem(stored.value, { by, owner, podId: pod.podId }) ?? stored.value;
}

/** Entries of a pod's secret map that stand for nothing any more, each with the reason. Opens no secret. */
export async function unresolvedReferences(
  parts: Pick<SecretParts, 'store'>,
  pod: SecretUser,
  { secretMap = {} }: Pick<PodSpec, 'secretMap'>,
): Promise<readonly string[]> {
  const unresolved: string[] = [];
  for (const [key, { reference, by }] of Object.entries(secretMap)) {
    const parsed = parseSecretReference(reference);
    const found = parsed?.kind === 'secret' ? await secretOf(parts, pod, { ...parsed, by }) : null;
    if (typeof found === 'string') unresolved.push(`secret_map.${key}: ${found}`);
  }
  return unresolved;
}

type Use = { readonly by: string; readonly owner: string | null; readonly podId: string };

/** A sentence on why that user may not put the secret into that pod, or null. */
export function useProblem(
  secret: Parameters<typeof maySecretBeUsed>[0] & {
    readonly secretId: string;
    readonly createdBy: string;
    readonly podId: string | null;
  },
  { by, owner, podId }: Use,
): string | null {
  if (!maySecretBeUsed(secret, by) || (owner !== null && owner !== secret.createdBy)) {
    return `there is no secret ${owner === null ? '' : `${owner}:`}${secret.secretId} on which ${by} has USER.`;
  }
  if (secret.podId !== null && secret.podId !== podId) return `secret ${secret.secretId} is for another pod.`;
  return null;
}

/** Where a pod is reached, for the placeholders of networking. */
export interface PodPlace {
  /** Outside host name of each routed stanza. */
  readonly hosts: Readonly<Record<string, string>>;
}

/** Environment variables with all placeholders replaced. `secrets`: by key of the secret map. */
export function filledEnvironment(
  environment: Readonly<Record<string, string>>,
  spec: PodSpec,
  place: PodPlace,
  secrets: Readonly<Record<string, string>>,
): { readonly kind: 'filled'; readonly values: Readonly<Record<string, string>> } | Failed {
  const values: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of Object.entries(environment)) {
    const filled = fillPlaceholders(value, (placeholder) => valueOf(placeholder, spec, place, secrets));
    if (filled.kind === 'unresolved') {
      return { kind: 'failed', reason: `environment_variables.${name}: ${filled.placeholder} has no value.` };
    }
    bytes += Buffer.byteLength(filled.text);
    if (bytes > RESOLVED_MAX_BYTES) return tooLarge();
    values[name] = filled.text;
  }
  return { kind: 'filled', values };
}

/**
 * The spec that a workload is made from: placeholders are replaced, and what was replaced is sealed in its environment as
 * all variables are. Commands and arguments refer to secrets by variables, so that no value appears where they are kept.
 * A spec without placeholders is returned as it is. Throws when the store does not answer.
 */
export async function resolveSpec(
  parts: SecretParts,
  pod: SecretUser,
  spec: PodSpec,
  place: PodPlace,
): Promise<{ readonly kind: 'resolved'; readonly spec: PodSpec } | Failed> {
  const opened = await openSecrets(parts, pod, spec);
  if (opened.kind === 'failed') return opened;
  const secrets = Object.fromEntries(Object.entries(opened.values).map(([key, { value }]) => [key, value]));
  let environment: Readonly<Record<string, string>>;
  try {
    environment = openEnvironment(parts.vault, pod.uid, spec.environmentVariables);
  } catch {
    // The orchestrator says so in its own words.
    return { kind: 'resolved', spec };
  }
  const filled = filledEnvironment(environment, spec, place, secrets);
  if (filled.kind === 'failed') return filled;
  const used = new Set<string>();
  const command = filledWords('command', spec.command, spec, place, secrets, used);
  const words = filledWords('arguments', spec.arguments, spec, place, secrets, used);
  if (command.kind === 'failed') return command;
  if (words.kind === 'failed') return words;
  const variables = Object.fromEntries([...used].map((key) => [`${SECRET_VARIABLE}${key}`, secrets[key] ?? '']));
  if (Buffer.byteLength(Object.values({ ...filled.values, ...variables }).join('')) > RESOLVED_MAX_BYTES) {
    return tooLarge();
  }
  return {
    kind: 'resolved',
    spec: {
      ...spec,
      command: command.words,
      arguments: words.words,
      environmentVariables: sealEnvironment(
        parts.vault,
        pod.uid,
        { ...filled.values, ...variables },
        spec.environmentVariables,
      ),
    },
  };
}

function filledWords(
  field: string,
  words: readonly string[] | null,
  spec: PodSpec,
  place: PodPlace,
  secrets: Readonly<Record<string, string>>,
  used: Set<string>,
): { readonly kind: 'filled'; readonly words: readonly string[] | null } | Failed {
  if (words === null) return { kind: 'filled', words };
  const result: string[] = [];
  for (const word of words) {
    const filled = fillPlaceholders(word, (placeholder) => {
      if (placeholder.kind !== 'secret') return valueOf(placeholder, spec, place, secrets);
      if (!Object.hasOwn(secrets, placeholder.key)) return null;
      used.add(placeholder.key);
      return `$(${SECRET_VARIABLE}${placeholder.key})`;
    });
    if (filled.kind === 'unresolved') {
      return { kind: 'failed', reason: `${field}: ${filled.placeholder} has no value.` };
    }
    result.push(filled.text);
  }
  return { kind: 'filled', words: result };
}

/** What is `$(PODGATE_SECRET_KEY)` in a word of a command, replaced: pure. Kubernetes does the same by itself. */
export function expandSecretVariables(word: string, environment: Readonly<Record<string, string>>): string {
  if (!word.includes(`$(${SECRET_VARIABLE}`)) return word;
  return word.replaceAll(/\$\((PODGATE_SECRET_[A-Za-z0-9_]{1,128})\)/g, (whole, name: string) =>
    Object.hasOwn(environment, name) ? (environment[name] ?? whole) : whole,
  );
}

function valueOf(
  placeholder: Placeholder,
  { networking }: PodSpec,
  { hosts }: PodPlace,
  secrets: Readonly<Record<string, string>>,
): string | null {
  if (placeholder.kind === 'secret') {
    return Object.hasOwn(secrets, placeholder.key) ? (secrets[placeholder.key] ?? null) : null;
  }
  const { stanza: name, field } = placeholder;
  const stanza = Object.hasOwn(networking, name) ? networking[name] : undefined;
  if (stanza === undefined) return null;
  switch (field) {
    case 'url':
    case 'hostname':
      return Object.hasOwn(hosts, name) ? (hosts[name] ?? null) : null;
    case 'port':
      return String(stanza.port);
    case 'protocol':
      return stanza.protocol;
  }
}

function tooLarge(): Failed {
  return {
    kind: 'failed',
    reason: `environment_variables: more than ${RESOLVED_MAX_BYTES} bytes once secrets are in.`,
  };
}
