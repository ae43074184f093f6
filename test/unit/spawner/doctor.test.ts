import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { judgeNetworkPrograms, judgeProbe } from '../../../spawner/orchestrator/kubernetes/doctor/network.ts';
import { NEEDED, permissionName, surplusOf } from '../../../spawner/orchestrator/kubernetes/doctor/permissions.ts';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

describe('what the doctor knows of permissions', () => {
  it('are those of the Role in deploy/, no more and no fewer', () => {
    const text = readFileSync(join(import.meta.dirname, '../../../deploy/base/account.yaml'), 'utf8');
    const objects = parseAllDocuments(text).map((document) => document.toJS() as { kind: string; rules?: Rule[] });
    const rules = objects.find(({ kind }) => kind === 'Role')?.rules ?? [];
    const given = rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => permissionName({ group, resource, verb }))),
      ),
    );
    expect(given.toSorted()).toEqual(NEEDED.map(permissionName).toSorted());
  });

  it('tells what an account has beyond them, and not what everybody has', () => {
    const rule = (apiGroups: string[], resources: string[], verbs: string[]) => ({ apiGroups, resources, verbs });
    const everybodys = rule(['authorization.k8s.io'], ['selfsubjectaccessreviews'], ['create']);
    const needed = NEEDED.map(({ group, resource, verb }) => rule([group], [resource], [verb]));
    expect(surplusOf({ resourceRules: [everybodys, ...needed] })).toEqual([]);
    const more = rule(['', 'apps'], ['secrets'], ['list', 'get']);
    expect(surplusOf({ resourceRules: [more] }).map(permissionName)).toEqual([
      'list secrets',
      'list secrets.apps',
      'get secrets.apps',
    ]);
    expect(surplusOf({ resourceRules: [rule(['*'], ['*'], ['*'])] }).map(permissionName)).toEqual(['* *.*']);
    expect(surplusOf({})).toEqual([]);
  });
});

describe('what the doctor says of network policies', () => {
  it.each([
    [['kube-proxy', 'calico-node'], 'ok'],
    [['cilium'], 'ok'],
    [['kube-flannel-ds', 'kube-proxy'], 'fail'],
    // Calico's policies beside flannel's network.
    [['canal'], 'ok'],
    [['aws-node'], 'warn'],
    [[], 'warn'],
    [null, 'warn'],
  ] as const)('by the programs %j: %s', (names, level) => {
    expect(judgeNetworkPrograms(names).level).toBe(level);
  });

  it.each([
    ['reached \n', 'ok'],
    ['some warning\nreached \n', 'ok'],
    ['reached pod\n', 'fail'],
    ['reached pod,api,metadata\n', 'fail'],
    ['', 'warn'],
    ['Error: cannot find module', 'warn'],
  ])('by what a pod printed, %j: %s', (log, level) => {
    expect(judgeProbe(log).level).toBe(level);
  });

  it('names what was reached', () => {
    expect(judgeProbe('reached pod,api\n').message).toBe(
      'They do not hold: a pod reaches another pod, the API server.',
    );
  });
});
