import { describe, expect, it } from 'vitest';
import { podSchemas } from '../../../control/resources/pods/schema.ts';
import { podAnswer } from '../../../control/resources/pods/response.ts';
import { writtenPodOf } from '../../../control/resources/pods/written-pod.ts';
import { type RuleContext, specOfNewPod, specOfUpdate } from '../../../control/resources/pods/rules.ts';
import { createTemplateCatalog } from '../../../spawner/templates/catalog.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { LIMITS } from './limits.ts';

const schemas = podSchemas(LIMITS);
const context: RuleContext = {
  place: { site: 'dev', tenant: 'default' },
  templates: createTemplateCatalog(),
  allowsImages: true,
  imageAllowList: ['nginx'],
  defaultResources: LIMITS.defaultResources,
  mountProblem: null,
  mountsBy: (mounts) => mounts,
  sealEnvironment: (values) => values,
  mapSecrets: (references) =>
    Object.fromEntries(Object.entries(references).map(([key, reference]) => [key, { reference, by: 'alice' }])),
};
const ruled = (volumeMounts: object, change: object = {}) =>
  specOfNewPod(
    writtenPodOf(schemas.NewPod, { pod_id: 'mypod', pod_template: 'nginx', volume_mounts: volumeMounts, ...change }),
    context,
  );
const mountsOf = (volumeMounts: object) => {
  const result = ruled(volumeMounts);
  if (result.kind === 'refused') throw new Error(result.problems.join('\n'));
  return result.value.spec.volumeMounts;
};
const problemsOf = (volumeMounts: object, change: object = {}) => {
  const result = ruled(volumeMounts, change);
  return result.kind === 'refused' ? result.problems : [];
};
const PVC = { type: 'pvc' };

describe('volume mounts', () => {
  it('are accepted by name of the volume, as in the seed, with its default path', () => {
    expect(mountsOf({ data: PVC, more: { ...PVC, mount_path: '/srv/more', sub_path: 'a/b' } })).toEqual([
      { ...PVC, name: 'data', mountPath: '/tapis_volume_mount', subPath: '', readOnly: false, keyedBy: 'name' },
      { ...PVC, name: 'more', mountPath: '/srv/more', subPath: 'a/b', readOnly: false, keyedBy: 'name' },
    ]);
  });

  it('are accepted by path, as in the newer API, and several may mount the same volume', () => {
    expect(
      mountsOf({
        '/data': { ...PVC, source_id: 'vol' },
        '/logs': { ...PVC, source_id: 'vol', sub_path: 'logs', read_only: true },
      }),
    ).toEqual([
      { ...PVC, name: 'vol', mountPath: '/data', subPath: '', readOnly: false, keyedBy: 'path' },
      { ...PVC, name: 'vol', mountPath: '/logs', subPath: 'logs', readOnly: true, keyedBy: 'path' },
    ]);
  });

  it('are returned in the form in which they were written', () => {
    const written = {
      data: { ...PVC, mount_path: '/tapis_volume_mount', sub_path: '' },
      '/srv': { ...PVC, source_id: 'vol', sub_path: 'x', read_only: true },
    };
    const record = podRecord({ spec: podSpec({ volumeMounts: mountsOf(written) }) });
    const answer = podAnswer(record, {}, { baseHost: 'localhost', publicHttpsPort: 443 }, [], true, 'seed');
    expect(answer.volume_mounts).toEqual(written);
  });

  it.each([
    ['a name in capitals', { Data: PVC }, 'volume_mounts.Data: the name of a volume must'],
    ['an endless name', { ['x'.repeat(21)]: PVC }, 'volume_mounts.xxxxxxxxxxxxxxxxxxxxx: the name of a volume must'],
    ['a path without a name', { '/data': PVC }, 'volume_mounts./data: needs a source_id'],
    ['a path and a path', { '/data': { ...PVC, source_id: 'a', mount_path: '/b' } }, 'volume_mounts./data: mount_path'],
    ['a name and a name', { data: { ...PVC, source_id: 'a' } }, 'volume_mounts.data: source_id is for keys'],
    ['the root', { '/': { ...PVC, source_id: 'a' } }, 'volume_mounts./: the path must be absolute'],
    ['a relative path', { data: { ...PVC, mount_path: 'srv' } }, 'volume_mounts.data: the path must be absolute'],
    ['a way up', { '/srv/../etc': { ...PVC, source_id: 'a' } }, 'volume_mounts./srv/../etc: the path must be'],
    ['a colon', { data: { ...PVC, mount_path: '/a:b' } }, 'volume_mounts.data: the path must be absolute'],
    ['a path of the system', { '/etc/x': { ...PVC, source_id: 'a' } }, 'volume_mounts./etc/x: programs need'],
    ['a sub_path that leads out', { data: { ...PVC, sub_path: '../b' } }, 'volume_mounts.data: sub_path must be'],
    ['an absolute sub_path', { data: { ...PVC, sub_path: '/b' } }, 'volume_mounts.data: sub_path must be relative'],
  ])('with %s are refused by the name of the entry', (_what, mounts, beginning) => {
    const problems = problemsOf(mounts);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(beginning);
  });

  it('are refused when one lies inside another', () => {
    const problems = problemsOf({ one: { ...PVC, mount_path: '/srv/data' }, two: { ...PVC, mount_path: '/srv' } });
    expect(problems).toEqual(['volume_mounts.two: /srv and /srv/data are one inside the other']);
    expect(problemsOf({ one: { ...PVC, mount_path: '/srv' }, two: { ...PVC, mount_path: '/srv2' } })).toEqual([]);
  });

  it('cannot be combined with persistent_volume', () => {
    const problems = problemsOf({ data: PVC }, { pod_template: 'postgres', persistent_volume: true });
    expect(problems).toEqual([
      "persistent_volume: is short for a mount at the template's data path; give it or volume_mounts",
    ]);
  });

  it('stay when an update omits them, and go when it sends an empty object', () => {
    const present = podSpec({ template: 'nginx', writtenTemplate: 'nginx', volumeMounts: mountsOf({ data: PVC }) });
    const update = (body: object) => {
      const result = specOfUpdate(writtenPodOf(schemas.UpdatePod, body), 'mypod', present, context);
      return result.kind === 'refused' ? result.problems : result.value.volumeMounts;
    };
    expect(update({ description: 'x' })).toEqual(present.volumeMounts);
    expect(update({ volume_mounts: {} })).toEqual([]);
  });
});
