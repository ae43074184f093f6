import type { OauthClient } from './oauth-client.ts';

/** Where a tenant is reached, and how its users log in. */
export interface TenantPlace {
  readonly id: string;
  readonly baseHost: string;
  /** The `iss` of its tokens. */
  readonly issuer?: string;
  /** Default: its users log in with a token. */
  readonly oauth?: OauthClient | null;
}
