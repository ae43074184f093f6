import type { LoginAnswer } from '../../core/feed-protocol.ts';
import { PodgateError } from '../../core/errors.ts';
import type { Authenticator } from './authenticator.ts';
import { tokenExpiryMs } from './token-expiry.ts';

export type AnswerLogin = (question: { readonly host: string; readonly token: string }) => Promise<LoginAnswer>;

/** Says whose a token is, for a client of a pod that has sent it instead of logging in. Never rejects. */
export function createLoginAnswers(authenticator: Authenticator): AnswerLogin {
  return async ({ host, token }) => {
    try {
      const caller = await authenticator.authenticate({ host, tapisToken: token, authorization: undefined });
      return { kind: 'user', user: caller.username, expiresAtMs: tokenExpiryMs(token) };
    } catch (error) {
      const isTheirs =
        error instanceof PodgateError && (error.code === 'api.unauthenticated' || error.code === 'api.forbidden');
      return isTheirs ? { kind: 'refused', reason: error.publicMessages.join(' ') } : { kind: 'unavailable' };
    }
  };
}
