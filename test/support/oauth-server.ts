import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { signToken } from '../../control/auth/sign-token.ts';

/** What is used of the package, which has no types of its own. */
interface ProviderModule {
  readonly default: new (issuer: string, configuration: object) => { callback(): RequestListener };
}

/** An OAuth 2.0 server (npm oidc-provider) with one public client, `podgate`, whose access tokens are as a tenant's are. */
export class OauthServer {
  readonly issuer: string;
  /** Its public keys (RFC 7517). */
  readonly jwks: { readonly keys: readonly object[] };
  readonly #server: Server;
  readonly #privateKey: KeyObject;

  private constructor(issuer: string, jwks: OauthServer['jwks'], server: Server, privateKey: KeyObject) {
    this.issuer = issuer;
    this.jwks = jwks;
    this.#server = server;
    this.#privateKey = privateKey;
  }

  /** `webRedirectUris`: of a second public client, `podgate-web`. */
  static async start(webRedirectUris: readonly string[] = []): Promise<OauthServer> {
    // A variable: the compiler would look for its types.
    const name = 'oidc-provider';
    const { default: Provider } = (await import(name)) as ProviderModule;
    const server = createServer();
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const named = { kid: 'one', use: 'sig', alg: 'RS256' };
    const provider = new Provider(issuer, {
      jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), ...named }] },
      cookies: { keys: [randomBytes(16).toString('hex')] },
      clients: [
        {
          client_id: 'podgate',
          application_type: 'native',
          token_endpoint_auth_method: 'none',
          grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
          response_types: ['code'],
          // The port of loopback redirects varies (RFC 8252, 7.3).
          redirect_uris: ['http://127.0.0.1/callback', 'http://127.0.0.1/console/oauth/callback'],
        },
        ...(webRedirectUris.length === 0
          ? []
          : [
              {
                ...{ client_id: 'podgate-web', token_endpoint_auth_method: 'none', response_types: ['code'] },
                redirect_uris: webRedirectUris,
              },
            ]),
      ],
      pkce: { required: () => true },
      scopes: ['pods'],
      findAccount: (_: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id }) }),
      features: {
        devInteractions: { enabled: true },
        deviceFlow: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => 'urn:podgate',
          useGrantedResource: () => true,
          getResourceServerInfo: () => ({
            ...{ scope: 'pods', accessTokenFormat: 'jwt', accessTokenTTL: 3600 },
            jwt: { sign: { alg: 'RS256' } },
          }),
        },
      },
      formats: {
        customizers: {
          jwt: (
            _: unknown,
            token: { accountId: string; clientId: string },
            { payload }: { payload: Record<string, unknown> },
          ) => {
            // The package requires an audience. Those of Tapis have none, as the tokens of `tokenOf`.
            payload['aud'] = token.clientId;
            payload['tapis/username'] = token.accountId;
            payload['tapis/tenant_id'] = 'dev';
            payload['tapis/account_type'] = 'user';
            payload['tapis/token_type'] = 'access';
          },
        },
      },
    });
    server.on('request', provider.callback());
    return new OauthServer(
      issuer,
      { keys: [{ ...publicKey.export({ format: 'jwk' }), ...named }] },
      server,
      privateKey,
    );
  }

  /** As a user gets it who logs in for the API. */
  async tokenOf(username: string): Promise<string> {
    const key = { privateKey: this.#privateKey };
    return await signToken({ username, tenant: 'dev', issuer: this.issuer, lifetimeSeconds: 3_600, key });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
