import type { Config } from '../../config/config.ts';
import { type Authenticator, createAuthenticator, type TenantTokens } from '../../control/auth/authenticator.ts';
import type { TokenKey } from '../../control/auth/token-key.ts';
import { PodgateError } from '../../core/errors.ts';
import { httpsUrl } from '../../core/https-url.ts';
import type { ControlBase } from './control-base.ts';

/** Tells whose a token is, to the API and to the gateway workers. */
export function composeAuthenticator({ config, keys, opened, clock }: ControlBase): Authenticator {
  return createAuthenticator({
    tenants: config.tenants.map((tenant) => tokensOf(tenant, keys.tokenKey, config.publicHttpsPort)),
    defaultTenant: config.tenants[0].id,
    site: config.site,
    arePodsSeparated: opened.arePodsSeparated || config.allowsSharedUid,
    clock,
  });
}

function tokensOf(tenant: Config['tenants'][number], tokenKey: TokenKey | null, publicHttpsPort: number): TenantTokens {
  const key = tenant.key ?? tokenKey?.publicKeyPem;
  // The configuration already requires a key of every tenant but the first.
  if (key === undefined) throw new PodgateError('config.invalid', { detail: `tenant ${tenant.id} has no key` });
  return {
    ...tenant,
    audiences: audiencesOf(tenant, publicHttpsPort),
    key: typeof key === 'object' && 'keys' in key ? { keys: key.keys.map((jwk) => ({ ...jwk })) } : key,
  };
}

/** The URL of the API, and the OAuth client that the tenant has for this installation. */
function audiencesOf({ baseHost, oauth }: Config['tenants'][number], publicHttpsPort: number): readonly string[] {
  return [httpsUrl(baseHost, publicHttpsPort), ...(oauth === null ? [] : [oauth.clientId])];
}
