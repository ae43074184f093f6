import { expect, it } from 'vitest';
import type { ClusterObjects } from '../../../spawner/orchestrator/kubernetes/cluster-objects.ts';
import { ClaimFiles } from '../../../spawner/orchestrator/kubernetes/files/claim-files.ts';
import { filesClaimManifest, FilesClaims } from '../../../spawner/orchestrator/kubernetes/files/claims.ts';
import type { FileServers } from '../../../spawner/orchestrator/kubernetes/files/file-servers.ts';
import { kubernetesSettings } from '../../support/kubernetes-orchestrator.ts';
import { volumeRef } from '../../support/volume-ref.ts';

it('asks the cluster for a claim whose size is not known until it has seen it once', async () => {
  const ref = volumeRef('uid');
  const settings = kubernetesSettings();
  let requests = 0;
  let isThere = false;
  const readRaw: ClusterObjects['readRaw'] = async () => {
    requests += 1;
    return isThere ? { ...filesClaimManifest(settings, ref, 1) } : null;
  };
  const claims = new FilesClaims({ readRaw } as ClusterObjects, settings);
  const files = new ClaimFiles(claims, {} as FileServers);
  expect(await files.usage(ref)).toEqual({ bytes: 0, files: 0 });
  isThere = true;
  expect(await files.usage(ref)).toBeNull();
  expect(await files.usage(ref)).toBeNull();
  expect(requests).toBe(2);
});
