import type { IncomingHttpHeaders } from 'node:http';

import { PodgateError } from '../../core/errors.ts';
import type { Listener } from './client-address.ts';

/**
 * Throws 'api.forbidden' unless the request comes from a page of this very origin, or from no page. Pods are on sub-domains
 * of the base host, so they are "same-site" to it and SameSite cookies alone do not keep their pages out; Origin and
 * Sec-Fetch-Site (Fetch Metadata, W3C) cannot be set by a page.
 */
export function requireSameOrigin(headers: IncomingHttpHeaders, listener: Listener): void {
  const site = headers['sec-fetch-site'];
  const { origin, host } = headers;
  const own = `${listener === 'gateway' ? 'https' : 'http'}://${host ?? ''}`;
  const isOwnPage = (site === undefined || site === 'same-origin') && (origin === undefined || origin === own);
  if (isOwnPage) return;
  throw new PodgateError('api.forbidden', {
    publicMessages: ['A console session works only for pages of the console itself, not for those of other origins.'],
  });
}
