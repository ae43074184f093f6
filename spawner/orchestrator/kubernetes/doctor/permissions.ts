import { type JsonRecord, listAt } from '../api/json.ts';

export interface Permission {
  readonly group: string;
  readonly resource: string;
  readonly verb: string;
}

const of = (group: string, resource: string, verbs: readonly string[]): readonly Permission[] =>
  verbs.map((verb) => ({ group, resource, verb }));

/** What Podgate needs in the namespace of the pods: the Role in deploy/base/account.yaml, as a test compares. */
export const NEEDED: readonly Permission[] = [
  ...of('', 'pods', ['get', 'list', 'watch', 'create', 'delete']),
  ...of('', 'pods/log', ['get']),
  ...of('', 'pods/exec', ['get', 'create']),
  ...of('', 'services', ['get', 'list', 'watch', 'create', 'delete']),
  ...of('', 'secrets', ['get', 'create', 'delete']),
  ...of('', 'persistentvolumeclaims', ['get', 'list', 'create', 'patch', 'delete']),
  ...of('', 'events', ['list']),
  ...of('networking.k8s.io', 'networkpolicies', ['get', 'list', 'create', 'delete']),
  ...of('metrics.k8s.io', 'pods', ['list']),
];

/** Everybody who has an account may ask what he may do. */
const EVERYBODYS: ReadonlySet<string> = new Set(['authorization.k8s.io', 'authentication.k8s.io']);

export function permissionName({ group, resource, verb }: Permission): string {
  return `${verb} ${resource}${group === '' ? '' : `.${group}`}`;
}

/** What the rules of a SelfSubjectRulesReview give beyond what is needed. Pure. */
export function surplusOf(status: JsonRecord): readonly Permission[] {
  const needed = new Set(NEEDED.map(permissionName));
  const given = listAt(status, 'resourceRules').flatMap((rule) =>
    textsAt(rule, 'apiGroups').flatMap((group) =>
      textsAt(rule, 'resources').flatMap((resource) => of(group, resource, textsAt(rule, 'verbs'))),
    ),
  );
  return given.filter((permission) => !EVERYBODYS.has(permission.group) && !needed.has(permissionName(permission)));
}

function textsAt(of: JsonRecord, key: string): readonly string[] {
  const value = of[key];
  return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
}
