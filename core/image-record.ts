/** An entry of the allow list of images, beside those in the configuration. */
export interface ImageRecord {
  readonly uid: string;
  /** Of the administrator who added it. */
  readonly tenant: string;
  /** With a tag or a digest: this version alone. Without: every version. */
  readonly image: string;
  /** Ids of tenants; `*` = all; `-id` = not this one. Empty: the tenant of the user who added it. */
  readonly tenants: readonly string[];
  readonly description: string;
  readonly createdBy: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** `**` is what Tapis has for all tenants of a site, and `*` for its main ones. */
const EVERY_TENANT = ['*', '**'];

/** May pods of that tenant run the image? An exclusion wins over everything else in its entry. */
export function isImageOfTenant({ tenant, tenants }: Pick<ImageRecord, 'tenant' | 'tenants'>, asked: string): boolean {
  if (tenants.includes(`-${asked}`)) return false;
  if (tenants.every((entry) => entry.startsWith('-'))) return asked === tenant;
  return tenants.includes(asked) || EVERY_TENANT.some((every) => tenants.includes(every));
}

/** Does an entry concern no tenant but this one? */
export function isWithinTenant(tenants: readonly string[], tenant: string): boolean {
  return tenants.every((entry) => entry === tenant || entry === `-${tenant}`);
}

export function imageKey(tenant: string, image: string): string {
  return `${tenant}/${image}`;
}

/** Without tag and digest. */
export function imageRepository(image: string): string {
  const [beforeDigest = ''] = image.split('@');
  const colon = beforeDigest.indexOf(':', beforeDigest.lastIndexOf('/') + 1);
  return colon === -1 ? beforeDigest : beforeDigest.slice(0, colon);
}
