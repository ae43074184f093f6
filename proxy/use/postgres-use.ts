import {
  classifyStatement,
  type Leavings,
  STATEMENT_LOOKED_AT_BYTES,
  type Statement,
  USE,
} from './postgres-statement.ts';
import type { SessionUse, UseObserver } from './session-use.ts';
import { TypedMessages, wantedOf } from './typed-messages.ts';

/** Names of portals and statements that are longer are not known, so that they count as use. */
const NAMES_BYTES = 200;
/** Of one session, that were prepared and are no plain use. */
const PREPARED_MAX = 100;
const OF_CLIENT = wantedOf({
  Q: STATEMENT_LOOKED_AT_BYTES,
  P: STATEMENT_LOOKED_AT_BYTES,
  B: NAMES_BYTES,
  E: 0,
  F: 0,
  S: 0,
});
const OF_SERVER = wantedOf({ Z: 1, R: 4, G: 0, H: 0, W: 0 });
const IDLE = 0x49; // 'I'
const LENGTH_BYTES = 4;

/**
 * Whether a Postgres session uses its pod, by what is on the wire from the StartupMessage on: a query that is not a ping is
 * running, a transaction is open, or the session has something that it would lose (LISTEN, temporary tables, advisory locks).
 * A session that cannot be read counts as use for as long as it lasts.
 */
export class PostgresUse implements UseObserver {
  readonly #use: SessionUse;
  readonly #user: string | null;
  readonly #fromClient = new TypedMessages(OF_CLIENT, (type, body) => this.#onClient(type, body));
  readonly #fromServer = new TypedMessages(OF_SERVER, (type, body) => this.#onServer(type, body));
  /** Of the StartupMessage, which has no type: bytes of its length that have come, and bytes that are left. */
  #startupHeader = 0;
  #startupLeft = 0;
  /** ReadyForQuery that are due: after the login, and for each Query, FunctionCall and Sync. */
  #due = 1;
  #isBusy = false;
  /** The transaction that is open has done something. */
  #wasUsed = false;
  /** By name; plain use is not in it. */
  readonly #prepared = new Map<string, Statement>();
  #bound: Statement = USE;
  #listens = 0;
  #locks = 0;
  #transactions = 0;

  constructor(use: SessionUse, user: string | null) {
    this.#use = use;
    this.#user = user;
  }

  client(bytes: Buffer): void {
    const at = this.#skipStartup(bytes);
    if (at < bytes.length) this.#fromClient.push(bytes, at);
    this.#checkLost(this.#fromClient);
  }

  server(bytes: Buffer): void {
    this.#fromServer.push(bytes);
    this.#checkLost(this.#fromServer);
  }

  #checkLost({ isLost }: TypedMessages): void {
    if (isLost) this.#use.set('traffic', true);
  }

  #skipStartup(bytes: Buffer): number {
    let at = 0;
    while (this.#startupHeader < LENGTH_BYTES && at < bytes.length) {
      this.#startupLeft = this.#startupLeft * 256 + (bytes[at] ?? 0);
      this.#startupHeader++;
      at++;
      if (this.#startupHeader === LENGTH_BYTES) this.#startupLeft = Math.max(0, this.#startupLeft - LENGTH_BYTES);
    }
    if (this.#startupHeader < LENGTH_BYTES) return at;
    const skipped = Math.min(this.#startupLeft, bytes.length - at);
    this.#startupLeft -= skipped;
    return at + skipped;
  }

  #onClient(type: number, body: Buffer): void {
    switch (type) {
      case 0x51: // Query
        this.#due++;
        this.#run(classifyStatement(textOf(body, 0)));
        return;
      case 0x50: // Parse
        this.#prepare(body);
        return;
      case 0x42: // Bind
        this.#bind(body);
        return;
      case 0x45: // Execute
        if (this.#bound.kind === 'use') this.#busy();
        return;
      case 0x46: // FunctionCall
        this.#due++;
        this.#busy();
        return;
      case 0x53: // Sync
        this.#due++;
        return;
      default:
    }
  }

  #onServer(type: number, body: Buffer): void {
    switch (type) {
      case 0x5a: // ReadyForQuery
        this.#ready(body[0] ?? IDLE);
        return;
      case 0x52: // Authentication: 0 = the user is in
        if (body.length === LENGTH_BYTES && body.readUInt32BE(0) === 0 && this.#user !== null) {
          this.#use.accepted(this.#user);
        }
        return;
      case 0x47: // CopyInResponse
      case 0x48: // CopyOutResponse
        this.#use.set('copies', true);
        return;
      case 0x57: // CopyBothResponse: a walsender streams
        this.#use.set('replications', true);
        return;
      default:
    }
  }

  #ready(status: number): void {
    this.#due--;
    this.#use.set('copies', false);
    this.#use.set('replications', false);
    if (this.#due <= 0) {
      this.#due = 0;
      this.#isBusy = false;
      this.#use.set('queries', false);
    }
    const isOpen = status !== IDLE;
    this.#use.set('transactions', isOpen, this.#wasUsed);
    if (!isOpen) this.#wasUsed = false;
  }

  #prepare(body: Buffer): void {
    const end = body.indexOf(0);
    const statement = end < 0 ? USE : classifyStatement(textOf(body, end + 1));
    const name = end < 0 ? '' : body.toString('latin1', 0, end);
    this.#prepared.delete(name);
    if (statement !== USE) this.#prepared.set(name, statement);
    const [first] = this.#prepared.keys();
    if (this.#prepared.size > PREPARED_MAX && first !== undefined) this.#prepared.delete(first);
    if (statement.kind === 'use') this.#busy();
  }

  #bind(body: Buffer): void {
    const portalEnd = body.indexOf(0);
    const nameEnd = portalEnd < 0 ? -1 : body.indexOf(0, portalEnd + 1);
    const name = nameEnd < 0 ? null : body.toString('latin1', portalEnd + 1, nameEnd);
    this.#bound = (name === null ? undefined : this.#prepared.get(name)) ?? USE;
    this.#run(this.#bound);
  }

  #run({ kind, leaves }: Statement): void {
    if (kind !== 'use') return;
    this.#busy();
    if (leaves !== null) this.#leave(leaves);
  }

  #busy(): void {
    this.#wasUsed = true;
    this.#use.touch();
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#use.set('queries', true);
  }

  #leave({ listens, unlistens, locks, unlocks, hasTemporaryTable, dropsTemporaryTables, prepared }: Leavings): void {
    this.#listens = unlistens === 'all' ? 0 : Math.max(0, this.#listens + listens - unlistens);
    this.#locks = unlocks === 'all' ? 0 : Math.max(0, this.#locks + locks - unlocks);
    this.#transactions = Math.max(0, this.#transactions + prepared);
    this.#use.set('listeners', this.#listens > 0);
    this.#use.set('advisoryLocks', this.#locks > 0);
    this.#use.set('preparedTransactions', this.#transactions > 0);
    if (dropsTemporaryTables) this.#use.set('temporaryTables', false);
    if (hasTemporaryTable) this.#use.set('temporaryTables', true);
  }
}

/** The string that begins there, or as much of it as was kept. */
function textOf(body: Buffer, from: number): string {
  const end = body.indexOf(0, from);
  return body.toString('latin1', from, end < 0 ? body.length : end);
}
