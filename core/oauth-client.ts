/** How the users of a tenant log in by OAuth 2.0 (RFC 6749): as the client that the tenant has for this installation. */
export interface OauthClient {
  readonly clientId: string;
  readonly tokenEndpoint: string;
  /** For a browser on the same machine, with PKCE (RFC 7636) and a redirect to loopback (RFC 8252). Null: not offered. */
  readonly authorizationEndpoint: string | null;
  /** For any browser (RFC 8628). Null: not offered. */
  readonly deviceAuthorizationEndpoint: string | null;
  /** Null: what the tenant gives by default. */
  readonly scope: string | null;
  /** Of a Tapis tenant, whose clients have a key and whose responses have an envelope. Null: a public client, as in the RFCs. */
  readonly tapis: { readonly clientKeyFile: string } | null;
}
