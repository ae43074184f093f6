import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { signToken } from '../../control/auth/sign-token.ts';

/**
 * The part of Tapis's authenticator that a web client uses, as its OpenAPI document and source describe it (2024 and
 * 2026): a client with a key and one callback URL; no PKCE; Basic credentials; responses and errors in an envelope. The
 * user who opens the authorization page agrees at once. Tapis itself was not there to compare.
 */
export class TapisOauthServer {
  readonly client = { id: 'podgate', key: 'k'.repeat(40), callbackUrl: '' };
  readonly tenant = 'tapis';
  readonly issuer = 'https://tapis.test/v3/tokens';
  readonly publicKeyPem: string;
  readonly url: string;
  user = 'alice';
  /** Of another shape, for what must be refused. */
  answer: ((token: string) => unknown) | null = null;
  readonly #codes = new Map<string, string>();
  readonly #privateKey: KeyObject;
  readonly #server: Server;

  private constructor(server: Server) {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.#privateKey = privateKey;
    this.publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' });
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<TapisOauthServer> {
    const server = createServer();
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    return new TapisOauthServer(server);
  }

  async tokenOf(username: string): Promise<string> {
    const { tenant, issuer } = this;
    return await signToken({ username, tenant, issuer, lifetimeSeconds: 3_600, key: { privateKey: this.#privateKey } });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const say = (status: number, message: string, result: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      const outcome = status < 400 ? 'success' : 'error';
      response.end(JSON.stringify({ message, metadata: {}, result, status: outcome, version: 'dev' }));
    };
    const { id, key, callbackUrl } = this.client;
    if (request.method === 'GET' && url.pathname === '/v3/oauth2/authorize') {
      const query = Object.fromEntries(url.searchParams);
      if (query['client_id'] !== id || query['redirect_uri'] !== callbackUrl || query['response_type'] !== 'code') {
        say(400, 'Invalid client or redirect_uri.', null);
        return;
      }
      const code = randomBytes(20).toString('hex');
      this.#codes.set(code, this.user);
      response.writeHead(302, { location: `${callbackUrl}?code=${code}&state=${query['state'] ?? ''}` }).end();
      return;
    }
    if (request.method !== 'POST' || url.pathname !== '/v3/oauth2/tokens') {
      say(404, 'Not found.', null);
      return;
    }
    const body = new URLSearchParams(await text(request));
    const given = Buffer.from(
      /^Basic (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '',
      'base64',
    ).toString();
    const user = this.#codes.get(body.get('code') ?? '');
    // Tapis repeats the credentials in the message.
    if (given !== `${id}:${key}`) say(400, `Invalid client credentials: ${given}.`, null);
    else if (body.get('grant_type') !== 'authorization_code') say(400, 'Invalid grant_type.', null);
    else if (body.get('redirect_uri') !== callbackUrl) say(400, 'Invalid redirect_uri parameter.', null);
    else if (user === undefined) say(400, 'Invalid authorization code.', null);
    else {
      this.#codes.delete(body.get('code') ?? '');
      const token = await this.tokenOf(user);
      const accessToken = { access_token: token, expires_at: '2026-11-30 00:00:00', expires_in: 3_600, jti: 'one' };
      say(201, 'Token created successfully.', this.answer?.(token) ?? { access_token: accessToken });
    }
  }
}
