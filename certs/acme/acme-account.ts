import type { AcmeServer, AcmeSession } from './acme-session.ts';
import { createAcmeSession } from './acme-session.ts';
import { AcmeError } from './acme-error.ts';
import type { Clock } from '../../core/clock.ts';

/** What is known of an account, with its keys in the clear. Never logged. */
export interface AccountState {
  readonly key: string;
  /** The key of a roll-over on its way. */
  readonly nextKey: string | null;
  readonly url: string | null;
  readonly contact: readonly string[];
}

/** What came of opening it: to be kept before the session is used. */
export interface OpenedAccount {
  readonly session: AcmeSession;
  readonly state: AccountState;
}

/**
 * A session of the account, which is made when the server does not have it (RFC 8555 7.3), told of changed contacts, and
 * carried through a roll-over of its key (7.3.5). All of it may be done again: a process killed in between finds the
 * server at the one key or the other.
 */
export async function openAccount(
  options: {
    readonly server: AcmeServer;
    readonly state: AccountState;
    /** Addresses the server may write to; `mailto:` is added. */
    readonly emails: readonly string[];
    readonly clock: Clock;
  },
  signal: AbortSignal,
): Promise<OpenedAccount> {
  const { server, clock, emails } = options;
  const contact = emails.map((address) => `mailto:${address}`);
  let state = options.state;
  if (state.nextKey !== null) state = await rollOver(options, state, state.nextKey, signal);
  const session = createAcmeSession({ server, accountKey: state.key, accountUrl: state.url, clock });
  if (state.url === null) {
    const url = await session.step(
      'creating the account',
      async (client) => {
        await client.createAccount({ termsOfServiceAgreed: true, contact: [...contact] });
        return client.getAccountUrl();
      },
      signal,
    );
    state = { ...state, url, contact };
  } else if (state.contact.join(' ') !== contact.join(' ')) {
    await session.step('updating the account', (client) => client.updateAccount({ contact: [...contact] }), signal);
    state = { ...state, contact };
  }
  return { session, state };
}

async function rollOver(
  { server, clock }: { readonly server: AcmeServer; readonly clock: Clock },
  state: AccountState,
  nextKey: string,
  signal: AbortSignal,
): Promise<AccountState> {
  const rolled = { ...state, key: nextKey, nextKey: null };
  if (state.url === null) return rolled;
  const session = createAcmeSession({ server, accountKey: state.key, accountUrl: state.url, clock });
  try {
    await session.step('changing the account key', (client) => client.updateAccountKey(nextKey), signal);
    return rolled;
  } catch (error) {
    // Done before, and its answer was lost: the old key is then none of the account's.
    if (!(error instanceof AcmeError) || error.fault === 'server') throw error;
    if (await hasAccount({ server, clock }, nextKey, state.url, signal)) return rolled;
    throw error;
  }
}

async function hasAccount(
  { server, clock }: { readonly server: AcmeServer; readonly clock: Clock },
  key: string,
  url: string,
  signal: AbortSignal,
): Promise<boolean> {
  const session = createAcmeSession({ server, accountKey: key, accountUrl: null, clock });
  try {
    const found = await session.step(
      'looking up the account',
      async (client) => {
        await client.createAccount({ onlyReturnExisting: true });
        return client.getAccountUrl();
      },
      signal,
    );
    return found === url;
  } catch (error) {
    if (error instanceof AcmeError && error.fault !== 'server') return false;
    throw error;
  }
}
