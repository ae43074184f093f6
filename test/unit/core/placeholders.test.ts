import { describe, expect, it } from 'vitest';
import { fillPlaceholders, parseSecretReference, placeholderParts } from '../../../core/placeholders.ts';
import { expandSecretVariables } from '../../../core/resolve-secrets.ts';

describe('a value of a secret map', () => {
  it.each([
    ['${secret:db-pass}', { kind: 'secret', owner: null, name: 'db-pass' }],
    ['${secret:alice:db_pass}', { kind: 'secret', owner: 'alice', name: 'db_pass' }],
    ['${pods:default:a:b}', { kind: 'default', value: 'a:b', description: '' }],
    ['${pods:default:}', { kind: 'default', value: '', description: '' }],
    ['${pods:default:a:?what it is}', { kind: 'default', value: 'a', description: 'what it is' }],
    ['${:?the password}', { kind: 'required', description: 'the password' }],
    ['${pods:random:8}', { kind: 'random', length: 8 }],
    ['${pods:random:128}', { kind: 'random', length: 128 }],
  ])('%s is understood', (text, parsed) => {
    expect(parseSecretReference(text)).toEqual(parsed);
  });

  it.each([
    ...['', 'plain', '${}', '${secret:}', '${secret:a b}', '${secret:a:b:c}', '${secret::name}', 'x${secret:name}'],
    ...['${pods:random:7}', '${pods:random:129}', '${pods:random:1e1}', '${pods:secrets:KEY}', '${secret:name'],
  ])('%s is none', (text) => {
    expect(parseSecretReference(text)).toBeNull();
  });
});

describe('a text with placeholders', () => {
  it('is filled in one pass: what a value contains is not looked at', () => {
    const filled = fillPlaceholders('a${pods:secrets:A}${HOME}$(X)${pods:networking:web:port}b', (placeholder) =>
      placeholder.kind === 'secret' ? '${pods:secrets:B}' : '80',
    );
    expect(filled).toEqual({ kind: 'filled', text: 'a${pods:secrets:B}${HOME}$(X)80b' });
  });

  it.each(['${pods:secrets:A}', '${pods:networking:web:url}', '${pods:what}', '${pods:secrets:A:url}', '${pods:}'])(
    '%s without a value is named',
    (text) => {
      expect(fillPlaceholders(`x ${text} y`, () => null)).toEqual({ kind: 'unresolved', placeholder: text });
    },
  );

  it.each(['', '${pods:', '${pods:secrets:A', '$', '}${pods:url}{'])('%j is its parts again', (text) => {
    const shown = placeholderParts(text).map((part) => (part.kind === 'placeholder' ? '${pods:url}' : part.text));
    expect(shown.join('')).toBe(text);
  });
});

it('variables of secrets in words of a command are replaced, others are left', () => {
  const environment = { PODGATE_SECRET_A: '$(PODGATE_SECRET_B)', PODGATE_SECRET_B: 'b', HOME: '/' };
  expect(expandSecretVariables('x$(PODGATE_SECRET_A)$(HOME)$(PODGATE_SECRET_NONE)', environment)).toBe(
    'x$(PODGATE_SECRET_B)$(HOME)$(PODGATE_SECRET_NONE)',
  );
});
