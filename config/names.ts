import { isIP } from 'node:net';

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Leaves room for a pod id of 20 characters in `pods-<site>-<tenant>-<pod_id>`. */
const SITE_MAX_LENGTH = 15;
const TENANT_MAX_LENGTH = 20;
/** Leaves room for `<label of 63>.pods.` within the 253 characters of a host name (RFC 1035 2.3.4). */
const BASE_HOST_MAX_LENGTH = 253 - 63 - '.pods.'.length;

export function isSiteName(text: string): boolean {
  return text.length <= SITE_MAX_LENGTH && LABEL.test(text);
}

export function isTenantId(text: string): boolean {
  return text.length <= TENANT_MAX_LENGTH && LABEL.test(text);
}

/** Of a Kubernetes object that is named by one label (RFC 1123). */
export function isNamespace(text: string): boolean {
  return LABEL.test(text);
}

/** A lower-case DNS name, not an address. */
export function isBaseHost(text: string): boolean {
  return text.length <= BASE_HOST_MAX_LENGTH && isIP(text) === 0 && text.split('.').every((label) => LABEL.test(label));
}

/** Would a pod's host of one base host be the other's, or below it? */
export function isInside(host: string, baseHost: string): boolean {
  return host === baseHost || host.endsWith(`.pods.${baseHost}`);
}

export const ADDRESS_RANGE_RULE = 'must be an IP address or a network such as 10.0.0.0/8';
export const SITE_RULE = `must be at most ${SITE_MAX_LENGTH} lowercase letters, digits and inner hyphens`;
export const TENANT_RULE = `must be at most ${TENANT_MAX_LENGTH} lowercase letters, digits and inner hyphens`;
export const NAMESPACE_RULE = 'must be at most 63 lowercase letters, digits and inner hyphens';
export const BASE_HOST_RULE = `must be a lowercase host name of at most ${BASE_HOST_MAX_LENGTH} characters, without a port`;
