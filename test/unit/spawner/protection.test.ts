import { describe, expect, it } from 'vitest';
import { judgeProtection } from '../../../cli/doctor/examine-process-pods.ts';
import { protectionOf, protectionText } from '../../../spawner/orchestrator/process/separation.ts';

const NONE = { hasNamespaces: false, hasUserNamespaces: false, hasSetpriv: true, canMount: false };
const ALL_LIMITS = ['memory', 'cpu', 'processes'] as const;

describe('what separates process pods', () => {
  const asRoot = protectionOf({ ...NONE, hasNamespaces: true }, true, ALL_LIMITS);
  const rootOnly = protectionOf(NONE, true, []);
  const userNamespace = protectionOf({ ...NONE, hasUserNamespaces: true }, false, []);
  const nothing = protectionOf(NONE, false, []);

  it('is reported at the start, in one line', () => {
    for (const each of [asRoot, rootOnly, userNamespace, nothing]) expect(protectionText(each)).not.toContain('\n');
    expect(protectionText(asRoot)).toMatch(
      /^Pods run .* with its own user ID, each with its own network .* only the gateway\.$/,
    );
    expect(protectionText(rootOnly)).toMatch(
      /checked on each dial\. Limits that are not enforced on this machine: memory, CPU, processes\.$/,
    );
    expect(protectionText(userNamespace)).toContain('except that they cannot see');
    expect(protectionText(nothing)).toMatch(/^Pods are not isolated on this machine:/);
  });

  it('is judged by doctor: what separates nothing fails, what is weaker warns', () => {
    const levels = (protection: typeof asRoot) => [...judgeProtection(protection)].map(({ level }) => level);
    expect(levels(asRoot)).toEqual(['ok', 'ok', 'ok']);
    expect(levels(rootOnly)).toEqual(['warn', 'ok', 'warn']);
    expect(levels(userNamespace)).toEqual(['warn', 'ok', 'warn']);
    expect(levels(nothing)).toEqual(['warn', 'fail', 'warn']);
  });
});
