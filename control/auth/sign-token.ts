import { SignJWT } from 'jose';

import { PodgateError } from '../../core/errors.ts';
import type { TokenKey } from './token-key.ts';
import { userNameProblem } from './user-name.ts';

export interface TokenRequest {
  readonly username: string;
  readonly tenant: string;
  /** Must be the one the tenant's authenticator expects. */
  readonly issuer: string;
  /** Such as `pods_admin`. */
  readonly roles?: readonly string[];
  readonly lifetimeSeconds: number;
  readonly key: Pick<TokenKey, 'privateKey'>;
  /** Wall clock ms of the signing; default: now. */
  readonly nowMs?: number;
}

/** An access token (RS256) with the claims of Tapis. Throws PodgateError 'config.invalid' for a name no user may have. */
export async function signToken(request: TokenRequest): Promise<string> {
  const problem = userNameProblem(request.username);
  if (problem !== null) throw new PodgateError('config.invalid', { publicMessages: [`The user name ${problem}.`] });
  const nowSeconds = Math.floor((request.nowMs ?? Date.now()) / 1000);
  return await new SignJWT({
    'tapis/username': request.username,
    'tapis/tenant_id': request.tenant,
    'tapis/token_type': 'access',
    'tapis/account_type': 'user',
    'tapis/roles': [...(request.roles ?? [])],
  })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
    .setSubject(`${request.username}@${request.tenant}`)
    .setIssuer(request.issuer)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + request.lifetimeSeconds)
    .sign(request.key.privateKey);
}
