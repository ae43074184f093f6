import { expect, test } from 'vitest';

import { networkingProblems } from '../../../control/resources/pods/stanza-rules.ts';

const stanza = (clientCa?: string) => ({
  protocol: 'http' as const,
  port: 5000,
  ipAllowList: [],
  ...(clientCa === undefined ? {} : { clientCa }),
});

test('the bundles of all stanzas of a pod share one bound; equal bundles count once', () => {
  const bundle = (letter: string): string => letter.repeat(9_000);
  expect(networkingProblems({ default: stanza(bundle('x')), other: stanza(bundle('x')), third: stanza() })).toEqual([]);
  expect(networkingProblems({ default: stanza(bundle('x')), other: stanza(bundle('y')) })).toEqual([
    'networking: the client_ca of all stanzas must have at most 16384 bytes in all',
  ]);
});
