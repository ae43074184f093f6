import { createPublicKey } from 'node:crypto';

import {
  createLocalJWKSet,
  type CryptoKey,
  errors,
  type JWK,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
  type JWTVerifyOptions,
} from 'jose';

import type { Clock } from '../../core/clock.ts';
import { errorText, PodgateError } from '../../core/errors.ts';
import { type KeySource, RotatingKeys } from './rotating-keys.ts';
import { userNameProblem } from './user-name.ts';

/** The role whose holders pass every object check of their tenant. */
export const ADMINISTRATOR_ROLE = 'pods_admin';

export interface PublicKeySet {
  readonly keys: readonly Readonly<Record<string, unknown>>[];
}

export interface TenantTokens {
  readonly id: string;
  /** Requests to this host are of this tenant. */
  readonly baseHost: string;
  /** The `iss` its tokens must have. */
  readonly issuer: string;
  /** Its public key: PEM (an RSA public key or a certificate), a set of JWKs (RFC 7517), or where it publishes that. */
  readonly key: string | PublicKeySet | KeySource;
  /**
   * What a token with an audience (`aud`, RFC 7519 section 4.1.3) may call this installation. Default: nothing; such tokens
   * are refused.
   */
  readonly audiences?: readonly string[];
  /** User names that are administrators without the role. */
  readonly administrators: readonly string[];
  /** Services that may act on behalf of this tenant's users. Default: none. */
  readonly services?: readonly ServiceName[];
}

/** A service account of Tapis: its name, and the tenant whose key signs its tokens. */
export interface ServiceName {
  readonly name: string;
  readonly tenant: string;
}

/** Who asks, as their token proves. */
export interface Caller {
  readonly username: string;
  readonly tenant: string;
  readonly isAdministrator: boolean;
  /** The service that asks on behalf of this user; absent when the user asks. */
  readonly service?: string;
  /** The call with which they ask. */
  readonly origin?: CallOrigin;
}

export interface CallOrigin {
  readonly operationId: string;
  readonly requestId: string;
  /** Of the client. */
  readonly address: string;
}

/** The parts of a request that say who asks; header values as they came. */
export interface Credentials {
  /** The Host header. */
  readonly host: string | undefined;
  /** X-Tapis-Token. */
  readonly tapisToken: string | undefined;
  readonly authorization: string | undefined;
  /** X-Tapis-User and X-Tapis-Tenant: on whose behalf a service asks. */
  readonly onBehalfOfUser?: string | undefined;
  readonly onBehalfOfTenant?: string | undefined;
}

export interface Authenticator {
  /**
   * Throws PodgateError with a sentence that says why: 'api.unauthenticated' when the token proves nobody's identity
   * here, 'api.forbidden' when it does and its holder may not use this installation.
   */
  authenticate(credentials: Credentials): Promise<Caller>;
}

export interface AuthenticatorOptions {
  readonly tenants: readonly TenantTokens[];
  /** The tenant of requests whose host is no tenant's: they came to the plain control port. */
  readonly defaultTenant: string;
  /** This site: a service token for another one (claim `tapis/target_site`) is refused. */
  readonly site: string;
  /**
   * False: a pod can read the files of Podgate and of other pods, or take their connections, so only administrators are
   * let in. Anyone else who may run a program here could make themselves an administrator.
   */
  readonly arePodsSeparated: boolean;
  readonly clock: Clock;
}

/** Why users are refused where pods are not separated, and what to do about it. */
export const SHARED_UID_REFUSAL =
  'Pods of this installation run under the same user as Podgate itself, and this machine does not keep them apart: a ' +
  'pod could read the data of another, or take its connections. Only administrators may use it. Run Podgate as root, or ' +
  'where the kernel allows user namespaces, or set PODGATE_ALLOW_SHARED_UID=yes if all its users trust each other.';

type Verify = (token: string, nowMs: number) => Promise<JWTPayload>;

interface Tenant extends TenantTokens {
  readonly verify: Verify;
}

/**
 * Tells who asks by their token: RS256 and nothing else, `exp` and issuer required, of the tenant the request went to,
 * access tokens only, and if they have an audience, it must name this installation. There is no open mode and no cookie. Throws PodgateError 'config.invalid' when a
 * tenant's key cannot be read.
 */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const tenants: readonly Tenant[] = options.tenants.map((tenant) => ({
    ...tenant,
    verify: verifierOf(tenant, options.clock),
  }));
  const byHost = new Map(tenants.map((tenant) => [tenant.baseHost.toLowerCase(), tenant]));
  const fallback = tenants.find((tenant) => tenant.id === options.defaultTenant);
  if (fallback === undefined) {
    throw new PodgateError('config.invalid', {
      publicMessages: [`The default tenant ${options.defaultTenant} is not among the tenants.`],
    });
  }

  /** `named`: the tenant whose host was asked; null = none's. */
  async function serviceCaller(
    token: string,
    named: Tenant | null,
    { onBehalfOfUser, onBehalfOfTenant }: Credentials,
    nowMs: number,
  ): Promise<Caller> {
    if (onBehalfOfUser === undefined || onBehalfOfTenant === undefined) {
      throw unauthenticated(
        'This is the token of a service, which may only act on behalf of a user: name the user in X-Tapis-User and the tenant in X-Tapis-Tenant.',
      );
    }
    const problem = userNameProblem(onBehalfOfUser);
    if (problem !== null) throw unauthenticated(`X-Tapis-User ${problem}.`);
    const tenant = tenants.find(({ id }) => id === onBehalfOfTenant);
    if (tenant === undefined || (named !== null && named !== tenant)) {
      throw unauthenticated('X-Tapis-Tenant is not the tenant of this host.');
    }
    const signer = tenants.find(({ id }) => id === claimOf(token, 'tapis/tenant_id')) ?? tenant;
    const claims = await claimsOf(token, signer, nowMs);
    checkAudience(claims, tenant);
    const service = nameOf(claims, signer);
    const site = claims['tapis/target_site'];
    if (site !== undefined && site !== options.site) {
      throw unauthenticated(`The token is for another site than this one (${options.site}).`);
    }
    const isListed = tenant.services?.some(({ name, tenant: id }) => name === service && id === signer.id) ?? false;
    if (!isListed) {
      throw new PodgateError('api.forbidden', {
        publicMessages: [
          `Service ${service} of tenant ${signer.id} may not act on behalf of users of tenant ${tenant.id}: an operator must add it to tenants[].services in the configuration.`,
        ],
      });
    }
    // The roles in the token are the service's own.
    const isAdministrator = tenant.administrators.includes(onBehalfOfUser);
    return { username: onBehalfOfUser, tenant: tenant.id, isAdministrator, service };
  }

  return {
    async authenticate(credentials) {
      const token = tokenOf(credentials);
      const named = byHost.get(hostName(credentials.host)) ?? null;
      const nowMs = options.clock.now();
      const caller =
        claimOf(token, 'tapis/account_type') === 'service'
          ? await serviceCaller(token, named, credentials, nowMs)
          : await userCaller(token, named ?? fallback, credentials, nowMs);
      if (!options.arePodsSeparated && !caller.isAdministrator) {
        throw new PodgateError('api.forbidden', { publicMessages: [SHARED_UID_REFUSAL] });
      }
      return caller;
    },
  };
}

function verifierOf(tenant: TenantTokens, clock: Clock): Verify {
  const common = { algorithms: ['RS256'], issuer: tenant.issuer, requiredClaims: ['exp', 'iss'] };
  const at = (nowMs: number) => ({ ...common, currentDate: new Date(nowMs) });
  const { key } = tenant;
  try {
    if (typeof key === 'string') {
      const publicKey = createPublicKey(key);
      if (publicKey.asymmetricKeyType !== 'rsa') throw new Error('it is no RSA key');
      return async (token, nowMs) => (await jwtVerify(token, publicKey, at(nowMs))).payload;
    }
    if ('keys' in key) {
      const keys = createLocalJWKSet({ keys: key.keys.map((one): JWK => ({ ...one })) });
      return (token, nowMs) => verifyWithSet(token, keys, at(nowMs));
    }
    const published = new RotatingKeys(key, clock);
    return async (token, nowMs) => {
      try {
        return await verifyWithSet(token, await published.current(), at(nowMs));
      } catch (error) {
        if (!isOfUnknownKey(error)) throw error;
        const keys = await published.newer();
        if (keys === null) throw error;
        return await verifyWithSet(token, keys, at(nowMs));
      }
    };
  } catch (error) {
    throw new PodgateError('config.invalid', {
      publicMessages: [`The key of tenant ${tenant.id} cannot be read: ${errorText(error)}.`],
      cause: error,
    });
  }
}

async function verifyWithSet(token: string, keys: JWTVerifyGetKey, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keys, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    return await verifyWithAny(token, error, options);
  }
}

function isOfUnknownKey(error: unknown): boolean {
  return error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed;
}

/** A token that names no key, while the tenant changes from one to the next: any of them may be meant. */
async function verifyWithAny(
  token: string,
  keys: AsyncIterable<CryptoKey>,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  for await (const key of keys) {
    try {
      return (await jwtVerify(token, key, options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  throw new errors.JWSSignatureVerificationFailed();
}

function unauthenticated(sentence: string, cause?: unknown): PodgateError {
  return new PodgateError('api.unauthenticated', {
    publicMessages: [sentence],
    ...(cause === undefined ? {} : { cause }),
  });
}

function tokenOf({ tapisToken, authorization }: Credentials): string {
  const bearer = authorization === undefined ? undefined : /^bearer +(\S+) *$/i.exec(authorization)?.[1];
  if (authorization !== undefined && bearer === undefined) {
    throw unauthenticated('The Authorization header must be: Bearer <token>.');
  }
  const token = tapisToken?.trim() ?? bearer;
  if (token === undefined || token === '') {
    throw unauthenticated('A token is needed, in the header X-Tapis-Token or as Authorization: Bearer <token>.');
  }
  if (bearer !== undefined && bearer !== token) {
    throw unauthenticated('X-Tapis-Token and Authorization hold different tokens: send one.');
  }
  return token;
}

/** The host without its port, lower-case and without a final dot; '' when there is none. */
export function hostName(host: string | undefined): string {
  if (host === undefined) return '';
  return host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
}

async function claimsOf(token: string, tenant: Tenant, nowMs: number): Promise<JWTPayload> {
  try {
    return await tenant.verify(token, nowMs);
  } catch (error) {
    if (error instanceof PodgateError) throw error;
    throw unauthenticated(sentenceOf(error, token, tenant), error);
  }
}

/** Why a token was refused. Nothing of the token itself is repeated but the names of its claims. */
function sentenceOf(error: unknown, token: string, tenant: Tenant): string {
  if (error instanceof errors.JWTExpired) return 'The token has expired.';
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return `The token has no claim "${error.claim}".`;
    if (error.claim === 'iss') {
      return claimedTenant(token) === tenant.id
        ? 'The token comes from another issuer.'
        : `The token is of another tenant than this request (${tenant.id}).`;
    }
    if (error.claim === 'nbf') return 'The token is not valid yet.';
    return `The claim "${error.claim}" of the token is not valid.`;
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return 'The token must be signed with RS256.';
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey) {
    const claimed = claimedTenant(token);
    return claimed !== null && claimed !== tenant.id
      ? `The token is of another tenant than this request (${tenant.id}).`
      : `The signature of the token is not one of tenant ${tenant.id}.`;
  }
  return 'The token is not a valid JWT.';
}

/** What an unverified token says its tenant is: good for an explaining sentence only. */
function claimedTenant(token: string): string | null {
  return claimOf(token, 'tapis/tenant_id');
}

/** A claim of an unverified token: it may decide which checks follow, and never whether one is passed. */
function claimOf(token: string, name: string): string | null {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    if (typeof payload !== 'object' || payload === null) return null;
    const claim = (payload as Record<string, unknown>)[name];
    return typeof claim === 'string' ? claim : null;
  } catch {
    return null;
  }
}

async function userCaller(token: string, tenant: Tenant, credentials: Credentials, nowMs: number): Promise<Caller> {
  const claims = await claimsOf(token, tenant, nowMs);
  checkAudience(claims, tenant);
  const username = nameOf(claims, tenant);
  const accountType = claims['tapis/account_type'];
  if (accountType !== undefined && accountType !== 'user') {
    throw unauthenticated('The claim "tapis/account_type" of the token must be user or service.');
  }
  // A client that sends these expects to act as another user: never do anything else instead.
  const { onBehalfOfUser = username, onBehalfOfTenant = tenant.id } = credentials;
  if (onBehalfOfUser !== username || onBehalfOfTenant !== tenant.id) {
    throw unauthenticated('X-Tapis-User and X-Tapis-Tenant are for services: a user cannot act on behalf of another.');
  }
  const roles: unknown = claims['tapis/roles'];
  const hasRole = Array.isArray(roles) && roles.includes(ADMINISTRATOR_ROLE);
  return { username, tenant: tenant.id, isAdministrator: hasRole || tenant.administrators.includes(username) };
}

/** `tenant`: whose API is asked. A token that its issuer made for another service must not work here. */
function checkAudience({ aud }: JWTPayload, { audiences = [] }: Tenant): void {
  if (aud === undefined) return;
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (named.some((each) => typeof each === 'string' && audiences.includes(each))) return;
  const accepted =
    audiences.length === 0 ? 'without an audience' : `without an audience, or for ${audiences.join(' or ')}`;
  throw unauthenticated(`The token is for another audience (aud): only tokens ${accepted} are accepted.`);
}

/** The name of the account whose access token this is. */
function nameOf(claims: JWTPayload, tenant: Tenant): string {
  if (claims['tapis/tenant_id'] !== tenant.id) {
    throw unauthenticated(`The token is of another tenant than this request (${tenant.id}).`);
  }
  if (claims['tapis/token_type'] !== 'access') throw unauthenticated('Only access tokens are accepted.');
  const username = claims['tapis/username'];
  if (typeof username !== 'string') throw unauthenticated('The token has no claim "tapis/username".');
  const problem = userNameProblem(username);
  if (problem !== null) throw unauthenticated(`The claim "tapis/username" ${problem}.`);
  return username;
}
