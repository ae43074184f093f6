import { errorText } from '../../../core/errors.ts';
import { refused, replyCode, safeText } from './redis-failure.ts';
import type { RedisKeys } from './redis-keys.ts';
import { arrayOf, textOf, type Reply } from './redis-reply.ts';
import { WRITES } from './rights.ts';
import type { RedisScript } from './redis-scripts.ts';
import type { SendRaw, ServerFacts } from './start-checks.ts';
import { markArguments, parseMarked } from './marked-script.ts';
import type { StoreMark } from '../../../core/store.ts';

/**
 * What a server's append-only file contains of ours, with what frames it. At its start Redis replays that file as the user
 * `default`, and EXEC checks the rights of each command again (execCommand in multi.c, createAOFClient in aof.c). A
 * transaction that contains one command that `default` may not run is dropped, with a line in the log, and the server
 * starts without it.
 */
const REPLAYED: readonly string[] = ['SELECT 0', 'MULTI', 'EXEC', ...WRITES];
const LOADING_USER = 'default';
/** The rule that lets a server read back what it has written, and nobody log in with it. */
export const LOADING_USER_RULE = 'user default off nopass ~* &* +@all';

export const AT_RISK =
  'At its next restart this Redis would lose records: it reads its append-only file back with the rights of the user ' +
  '"default"';
export const REPAIR = `Do not restart it yet. In its ACL file, replace the line "user default ..." by "${LOADING_USER_RULE}": docs/operations.md, "Redis and its user default".`;

export type LoadingRights =
  | { readonly kind: 'complete' }
  | { readonly kind: 'incomplete'; readonly missing: readonly string[] }
  /** Our user may not ask. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** What the user with whose rights the server reads its append-only file may not do on the keys of this site. */
export async function loadingRights(send: SendRaw, keys: RedisKeys): Promise<LoadingRights> {
  const missing: string[] = [];
  try {
    const verdicts = await Promise.all(REPLAYED.map((command) => send(dryRun(command, keys))));
    for (const [at, verdict] of verdicts.entries()) {
      if (textOf(verdict) !== 'OK') missing.push((REPLAYED[at] ?? '').split(' ')[0] ?? '');
    }
  } catch (error) {
    const code = replyCode(error);
    if (code !== 'NOPERM' && code !== 'ERR') throw error;
    return { kind: 'unknown', reason: safeText(error) };
  }
  return missing.length === 0 ? { kind: 'complete' } : { kind: 'incomplete', missing };
}

function dryRun(command: string, keys: RedisKeys): readonly string[] {
  return ['ACL', 'DRYRUN', LOADING_USER, ...command.split(' ').map((word) => (word === 'KEY' ? keys.meta : word))];
}

/**
 * For a server whose ACL does not let our user ask: tries as the user `default` itself, without a password, a command that
 * changes nothing. 'unknown' when that user may not log in, as it should be.
 */
export async function loadingRightsAsDefault(send: SendRaw, keys: RedisKeys): Promise<LoadingRights> {
  try {
    await send(['HDEL', keys.meta, 'no field has this name']);
    return { kind: 'complete' };
  } catch (error) {
    return replyCode(error) === 'NOPERM'
      ? { kind: 'incomplete', missing: ['HDEL'] }
      : { kind: 'unknown', reason: errorText(error) };
  }
}

/** Throws PodgateError 'config.invalid' for a server that would not read back what it has written. */
export async function checkLoadingUser(send: SendRaw, keys: RedisKeys, shown: string): Promise<void> {
  const rights = await loadingRights(send, keys);
  switch (rights.kind) {
    case 'complete':
      return;
    case 'incomplete':
      throw refused(
        `The Redis at ${shown} is not used. ${AT_RISK}, who may not run ${rights.missing.join(', ')}. ${REPAIR}`,
      );
    case 'unknown':
      throw refused(
        `The Redis at ${shown} does not let Podgate check whether it could read back what it has written ` +
          `(${rights.reason}). Allow it: ACL SETUSER <user> +acl|dryrun. If its ACL file limits the user "default", ` +
          'records are lost at the next restart, so do not restart it before you have read docs/operations.md, "Redis and its user default".',
      );
  }
}

/** Field of `meta`: the run id of the server whose file was on from its start; see scripts/append-only.lua. */
export const APPEND_ONLY_RUN = 'aof_run';

export type AppendOnlyFile =
  /** This run of the server has had its append-only file from the start, so its configuration says so. */
  | 'from the start'
  /** It may have been switched on while the server ran: then a restart goes without it. */
  | 'not shown'
  /** The same, and the store is new: there is nothing to lose yet. */
  | 'not shown, and new';

/**
 * CONFIG GET shows what a server does now, not what it will do after a restart. Switching the append-only file on at run
 * time makes Redis rewrite it, so a run without a rewrite has had it from the start; the store keeps that for the rest of
 * the run.
 */
export async function appendOnlyFile(
  send: SendRaw,
  facts: ServerFacts,
  options: { readonly keys: RedisKeys; readonly script: RedisScript; readonly mark: StoreMark | null },
): Promise<AppendOnlyFile> {
  const { keys, script, mark } = options;
  const isShown = facts.appendOnlyRewrites === 0 ? '1' : '';
  const args = ['2', keys.meta, keys.history, facts.runId, isShown, ...markArguments(mark)];
  const reply: Reply = await send(['EVAL', script.text, ...args]);
  const [isProven = '', isNew = ''] = arrayOf(parseMarked(reply).answer).map(textOf);
  if (isProven === '1') return 'from the start';
  return isNew === '1' ? 'not shown, and new' : 'not shown';
}

export const NOT_SHOWN =
  'Its append-only file may have been switched on while it ran (CONFIG SET): then it starts without it, and without the records.';
export const SHOW_IT = 'Make sure that redis.conf says "appendonly yes", then restart it once.';
