import { join } from 'node:path';
import type { ApiOptions } from '../../control/api.ts';
import { ADMINISTRATOR_ROLE } from '../../control/auth/authenticator.ts';
import { signToken } from '../../control/auth/sign-token.ts';
import type { TokenKey } from '../../control/auth/token-key.ts';
import { openConsolePages } from '../../control/resources/console/console-pages.ts';
import { LoginLinks } from '../../control/resources/console/login-links.ts';
import { OauthLogins } from '../../control/resources/console/oauth-logins.ts';
import { Sessions } from '../../control/resources/console/sessions.ts';
import type { ControlBase } from './control-base.ts';

const FILES = join(import.meta.dirname, '../../console');
/** As long as a session of the console. */
const TOKEN_LIFETIME_SECONDS = 12 * 3600;

export type Console = Required<Pick<ApiOptions, 'console' | 'pages'>>;

/** Null: the configuration turns it off. Without a token key, a tenant's own key signs its tokens: there are no login links. */
export async function composeConsole(base: ControlBase, metrics: () => Promise<string>): Promise<Console | null> {
  const { config, database, keys, clock, log } = base;
  const { tokenKey, vault } = keys;
  if (config.console === 'off') return null;
  const [tenant] = config.tenants;
  const issueToken = async (key: TokenKey): Promise<string> =>
    await signToken({
      username: 'admin',
      tenant: tenant.id,
      issuer: tenant.issuer,
      roles: [ADMINISTRATOR_ROLE],
      lifetimeSeconds: TOKEN_LIFETIME_SECONDS,
      key,
    });
  const isDevelopmentCa = config.acme === null && config.certificates.length === 0;
  return {
    console: {
      sessions: new Sessions({ vault, clock }),
      oauthLogins: new OauthLogins({ vault, clock, log }),
      links: new LoginLinks(() => clock.monotonicMs()),
      issueToken: tokenKey === null ? null : () => issueToken(tokenKey),
      caPath: isDevelopmentCa ? join(config.dataDir, 'ca.pem') : null,
      operator: { queue: database.queue, metrics },
    },
    pages: await openConsolePages(FILES),
  };
}

/** For a new login link; null: there are none. */
export function createLoginCode(composed: Console | null): string | null {
  if (composed === null || composed.console.issueToken === null) return null;
  return composed.console.links.create();
}
