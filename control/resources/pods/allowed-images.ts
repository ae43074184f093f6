import { imageKey, imageRepository, isImageOfTenant } from '../../../core/image-record.ts';
import type { PodParts } from './pod-parts.ts';

/**
 * The allow list of a tenant, as far as it concerns these images: what the configuration has, and of them what
 * administrators have added for that tenant, by its whole name or without its version.
 */
export async function allowedImages(
  {
    store,
    imageAllowList,
    allowsImages,
    siteAdminTenant,
  }: Pick<PodParts, 'store' | 'imageAllowList' | 'allowsImages' | 'siteAdminTenant'>,
  tenant: string,
  images: readonly (string | undefined)[],
): Promise<readonly string[]> {
  if (!allowsImages) return imageAllowList;
  const names = images.flatMap((image) => (image === undefined || image === '' ? [] : [image, imageRepository(image)]));
  const allowed: string[] = [];
  for (const name of new Set(names)) {
    for (const owner of new Set([tenant, siteAdminTenant ?? tenant])) {
      const stored = await store.get('image', imageKey(owner, name));
      if (stored !== null && isImageOfTenant(stored.value, tenant)) allowed.push(name);
    }
  }
  return [...imageAllowList, ...allowed];
}
