import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import { httpsUrl } from '../../../core/https-url.ts';
import type { TenantPlace } from '../../../core/tenant-place.ts';
import { hostName } from '../../auth/authenticator.ts';
import type { Call, Operation, Reply } from '../../http/operation.ts';

export interface TenantOperationParts {
  /** The first is the default tenant. */
  readonly tenants: readonly TenantPlace[];
  readonly site: string;
  readonly publicHttpsPort: number;
}

const OPEN_GET = { methods: ['get'], tag: 'Tenants', access: 'open' } as const;

const TenantAnswer = z.object({
  tenant_id: z.string(),
  base_url: z.string(),
  site_id: z.string(),
  status: z.literal('ACTIVE'),
});
const OauthClientAnswer = z
  .object({
    issuer: z.string(),
    type: z
      .enum(['standard', 'tapis'])
      .describe('tapis: the client has a key, so only Podgate itself can use it, for logins in the browser.'),
    client_id: z.string(),
    token_endpoint: z.string(),
    authorization_endpoint: z.string().nullable(),
    device_authorization_endpoint: z.string().nullable(),
    scope: z.string().nullable(),
  })
  .nullable();
const SiteAnswer = z.object({
  site_id: z.string(),
  primary: z.literal(true),
  base_url: z.string(),
  tenant_base_url_template: z.string(),
  site_admin_tenant_id: z.string(),
  services: z.array(z.string()),
});

/**
 * What clients such as tapipy read of the Tapis Tenants API before their first call: the tenant that is reached under the
 * host name of the request, and its site. Other tenants are not listed. On other host names it is the default tenant.
 */
export function tenantOperations({ tenants, site, publicHttpsPort }: TenantOperationParts): readonly Operation[] {
  const urlOf = (host: string): string => httpsUrl(host, publicHttpsPort);
  const placeOf = ({ host }: Call): TenantPlace => {
    const name = hostName(host);
    const place = tenants.find(({ baseHost }) => baseHost === name) ?? tenants[0];
    if (place === undefined) throw new PodgateError('api.not-found', { publicMessages: ['There is no tenant.'] });
    return place;
  };
  const tenantOf = (call: Call): z.output<typeof TenantAnswer> => {
    const { id, baseHost } = placeOf(call);
    return { tenant_id: id, base_url: urlOf(baseHost), site_id: site, status: 'ACTIVE' };
  };
  const siteOf = (call: Call): z.output<typeof SiteAnswer> => {
    const { id, baseHost } = placeOf(call);
    return {
      ...{ site_id: site, primary: true, base_url: urlOf(baseHost), site_admin_tenant_id: id, services: ['pods'] },
      tenant_base_url_template: urlOf('${tenant_id}'),
    };
  };
  const found = <T>(value: T, isNamed: boolean, what: string): T => {
    if (isNamed) return value;
    throw new PodgateError('api.not-found', { publicMessages: [`There is no such ${what} at this host name.`] });
  };
  return [
    {
      ...OPEN_GET,
      operationId: 'list_tenants',
      path: '/tenants',
      summary: 'The tenant that this host name belongs to.',
      result: z.array(TenantAnswer),
      handle: async (call: Call): Promise<Reply> => ({
        kind: 'json',
        message: 'Tenants retrieved successfully.',
        result: [tenantOf(call)],
      }),
    },
    {
      ...OPEN_GET,
      operationId: 'get_tenant',
      path: '/tenants/{tenant_id}',
      summary: 'That tenant, by its id.',
      result: TenantAnswer,
      handle: async (call: Call): Promise<Reply> => {
        const tenant = tenantOf(call);
        const result = found(tenant, call.params['tenant_id'] === tenant.tenant_id, 'tenant');
        return { kind: 'json', message: 'Tenant retrieved successfully.', result };
      },
    },
    {
      ...OPEN_GET,
      operationId: 'get_oauth_client',
      path: '/oauth-client',
      summary: 'How users of the tenant of this host name log in by OAuth; null: with a token.',
      result: OauthClientAnswer,
      handle: async (call: Call): Promise<Reply> => ({
        kind: 'json',
        message: 'OAuth client retrieved successfully.',
        result: oauthAnswer(placeOf(call)),
      }),
    },
    {
      ...OPEN_GET,
      operationId: 'list_sites',
      path: '/sites',
      summary: 'The site of this installation.',
      result: z.array(SiteAnswer),
      handle: async (call: Call): Promise<Reply> => ({
        kind: 'json',
        message: 'Sites retrieved successfully.',
        result: [siteOf(call)],
      }),
    },
    {
      ...OPEN_GET,
      operationId: 'get_site',
      path: '/sites/{site_id}',
      summary: 'That site, by its id.',
      result: SiteAnswer,
      handle: async (call: Call): Promise<Reply> => ({
        kind: 'json',
        message: 'Site retrieved successfully.',
        result: found(siteOf(call), call.params['site_id'] === site, 'site'),
      }),
    },
  ];
}

function oauthAnswer({ issuer = '', oauth = null }: TenantPlace): z.output<typeof OauthClientAnswer> {
  if (oauth === null) return null;
  return {
    issuer,
    type: oauth.tapis === null ? 'standard' : 'tapis',
    client_id: oauth.clientId,
    token_endpoint: oauth.tokenEndpoint,
    authorization_endpoint: oauth.authorizationEndpoint,
    device_authorization_endpoint: oauth.deviceAuthorizationEndpoint,
    scope: oauth.scope,
  };
}
