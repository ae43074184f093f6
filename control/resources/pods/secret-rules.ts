import { parseSecretReference, placeholderParts } from '../../../core/placeholders.ts';
import type { PodSpec } from '../../../core/pod.ts';
import type { SecretMap } from '../../../core/secret-map.ts';
import { wireName } from './wire-names.ts';
import type { PodFields, WrittenPod } from './written-pod.ts';

/** The secret map of a spec: pure. */
export function secretMapOf(
  { secretMap: written }: PodFields,
  present: PodSpec | null,
  context: {
    readonly mapSecrets: (references: Readonly<Record<string, string>>, present: SecretMap) => SecretMap;
  },
): Pick<PodSpec, 'secretMap'> {
  const secretMap = written === undefined ? present?.secretMap : context.mapSecrets(written, present?.secretMap ?? {});
  return secretMap === undefined || Object.keys(secretMap).length === 0 ? {} : { secretMap };
}

/** What was written and has placeholders that stand for nothing: pure. */
export function placeholderProblems(
  fields: PodFields,
  spec: PodSpec,
  refused: WrittenPod['refused'],
): readonly string[] {
  const problems: string[] = [];
  for (const [key, { reference }] of Object.entries(spec.secretMap ?? {})) {
    const parsed = parseSecretReference(reference);
    if (parsed?.kind === 'required') {
      problems.push(`secret_map.${key}: needs a value${parsed.description === '' ? '' : `: ${parsed.description}`}`);
    }
  }
  if (refused.has('secretMap') || refused.has('networking')) return problems;
  const texts = [
    ...Object.entries(fields.environmentVariables ?? {}).map(
      ([name, text]) => [`${wireName('environmentVariables')}.${name}`, text] as const,
    ),
    ...(fields.command ?? []).map((text) => ['command', text] as const),
    ...(fields.arguments ?? []).map((text) => ['arguments', text] as const),
  ];
  for (const [where, text] of texts) {
    const problem = problemOf(text, spec);
    if (problem !== null) problems.push(`${where}: ${problem}`);
  }
  return problems;
}

/** The first, or null. */
function problemOf(text: string, spec: PodSpec): string | null {
  for (const part of placeholderParts(text)) {
    if (part.kind === 'text') continue;
    if (part.kind === 'unknown') {
      return `${JSON.stringify(part.text.slice(0, 128))} is no placeholder; there are \${pods:secrets:KEY}, \${pods:url} and \${pods:networking:NAME:url}, :hostname, :port and :protocol`;
    }
    const { placeholder } = part;
    if (placeholder.kind === 'secret' && !Object.hasOwn(spec.secretMap ?? {}, placeholder.key)) {
      return `secret_map has no ${placeholder.key}`;
    }
    if (placeholder.kind === 'networking' && !Object.hasOwn(spec.networking, placeholder.stanza)) {
      return `networking has no ${placeholder.stanza}`;
    }
  }
  return null;
}
