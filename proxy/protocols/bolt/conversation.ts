import type { RefusalCode } from '../../../core/errors.ts';
import type { Refusal } from '../../connection/refusal.ts';
import { BOLT_MAGIC } from '../../sniff/bolt-magic.ts';
import { type MessageEvent, MessageReader } from './message-reader.ts';
import { type PackValue, chunked, packEmpty, packMessage, unpackFields } from './packstream.ts';
import { type BoltVersion, HANDSHAKE_BYTES, chooseVersion, isAtLeast, packVersion } from './version.ts';

/**
 * At which point of the conversation to refuse, so that drivers show the reason: measured with neo4j-driver 6.3 on bolt://
 * and neo4j://. A failing logon is shown at once and not retried; a failing BEGIN or RUN with a transient code is shown and
 * retried by the drivers themselves, while any failure of HELLO or ROUTE becomes "could not perform discovery".
 */
const BOLT_FAILURE: Readonly<Record<RefusalCode, { readonly at: 'logon' | 'query'; readonly code: string }>> = {
  'route.unknown': { at: 'logon', code: 'Neo.ClientError.Database.DatabaseNotFound' },
  'route.misdirected': { at: 'logon', code: 'Neo.ClientError.Database.DatabaseNotFound' },
  'route.forbidden': { at: 'logon', code: 'Neo.ClientError.Security.Forbidden' },
  'route.certificate': { at: 'logon', code: 'Neo.ClientError.Security.Forbidden' },
  'tls.required': { at: 'logon', code: 'Neo.ClientError.Security.Forbidden' },
  'route.stopped': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
  'route.starting': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
  'route.asleep': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
  'route.unreachable': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
  'route.full': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
  'route.held-full': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
  'route.no-descriptors': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
  'route.owner-full': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
  'route.tenant-full': { at: 'query', code: 'Neo.TransientError.General.DatabaseUnavailable' },
};

const REQUEST = {
  hello: 0x01,
  goodbye: 0x02,
  reset: 0x0f,
  run: 0x10,
  begin: 0x11,
  telemetry: 0x54,
  route: 0x66,
  logon: 0x6a,
  logoff: 0x6b,
} as const;
const ANSWER = { success: 0x70, ignored: 0x7e, failure: 0x7f } as const;
const INVALID = 'Neo.ClientError.Request.Invalid';

/** Long enough for one retry of a driver, short enough that drivers soon ask the pod for its own routing table. */
const ROUTING_TTL_S = 5;
/** The parameters of a query may be large; they are counted and discarded. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;
const KEPT_BYTES = 8 * 1024;
/** Enough for a refused connection: drivers send a handful of requests before they give up or reset. */
const MAX_MESSAGES = 1_000;

type Phase =
  | { readonly kind: 'handshake' }
  /** Before HELLO. */
  | { readonly kind: 'greeting'; readonly version: BoltVersion }
  /** Since 5.1: before LOGON. */
  | { readonly kind: 'logon'; readonly version: BoltVersion }
  | { readonly kind: 'ready'; readonly version: BoltVersion }
  /** Everything is ignored until RESET. */
  | { readonly kind: 'failed'; readonly version: BoltVersion }
  | { readonly kind: 'over' };

export interface ConversationStep {
  /** Bytes to send; may be empty. */
  readonly bytes: Buffer;
  /** Close the connection after these bytes. */
  readonly end: boolean;
}

/**
 * A Bolt server that refuses every client. Pure: bytes in, bytes out; it uses no socket and no clock. `address` (host:port)
 * is what clients dial for the refused name; the routing table lists it in every role.
 */
export class BoltConversation {
  readonly #refusal: Refusal;
  readonly #address: string;
  readonly #reader = new MessageReader({ maxBytes: MAX_MESSAGE_BYTES, keptBytes: KEPT_BYTES });
  #phase: Phase = { kind: 'handshake' };
  #handshake = Buffer.alloc(0);
  #messages = 0;
  #out: Buffer[] = [];

  constructor(refusal: Refusal, address: string) {
    this.#refusal = refusal;
    this.#address = address;
  }

  receive(bytes: Buffer): ConversationStep {
    const rest = this.#phase.kind === 'handshake' ? this.#shakeHands(bytes) : bytes;
    for (const event of this.#reader.push(rest)) {
      if (this.#isOver()) break;
      this.#handle(event);
    }
    const step = { bytes: Buffer.concat(this.#out), end: this.#isOver() };
    this.#out = [];
    return step;
  }

  #isOver(): boolean {
    return this.#phase.kind === 'over';
  }

  /** Returns what follows the handshake. */
  #shakeHands(bytes: Buffer): Buffer {
    const missing = HANDSHAKE_BYTES - this.#handshake.length;
    this.#handshake = Buffer.concat([this.#handshake, bytes.subarray(0, missing)]);
    if (!BOLT_MAGIC.every((byte, index) => (this.#handshake[index] ?? byte) === byte)) {
      this.#phase = { kind: 'over' };
      return Buffer.alloc(0);
    }
    if (this.#handshake.length < HANDSHAKE_BYTES) return Buffer.alloc(0);
    const version = chooseVersion(this.#handshake);
    this.#out.push(packVersion(version));
    this.#phase = version === null ? { kind: 'over' } : { kind: 'greeting', version };
    return bytes.subarray(missing);
  }

  #handle(event: MessageEvent): void {
    this.#messages += 1;
    if (event.kind === 'too-large' || this.#messages > MAX_MESSAGES) {
      this.#failure(INVALID, 'The message is too large, or there are too many.');
      this.#phase = { kind: 'over' };
      return;
    }
    const { beginning } = event;
    // Marker (structure with n fields), then the tag.
    const tag = (beginning[0] ?? 0) >> 4 === 0xb ? beginning[1] : undefined;
    if (tag === REQUEST.goodbye) {
      this.#phase = { kind: 'over' };
      return;
    }
    switch (this.#phase.kind) {
      case 'greeting':
        this.#greet(this.#phase.version, tag);
        break;
      case 'logon':
        this.#logOn(this.#phase.version, tag);
        break;
      case 'ready':
        this.#serve(this.#phase.version, tag, beginning);
        break;
      case 'failed':
        this.#wait(this.#phase.version, tag);
        break;
      case 'handshake':
      case 'over':
        break;
    }
  }

  #greet(version: BoltVersion, tag: number | undefined): void {
    if (tag !== REQUEST.hello) {
      this.#invalid();
      return;
    }
    const logsOnLater = isAtLeast(version, 5, 1);
    if (!logsOnLater && this.#refusesAtLogon()) return;
    this.#success({
      // Drivers check for "Neo4j/"; the version is the first that supports this version of Bolt.
      server: version.major === 5 ? 'Neo4j/5.4.0' : 'Neo4j/4.4.0',
      connection_id: `bolt-${this.#refusal.requestId}`,
    });
    this.#phase = { kind: logsOnLater ? 'logon' : 'ready', version };
  }

  #logOn(version: BoltVersion, tag: number | undefined): void {
    if (tag === REQUEST.telemetry) this.#success({});
    else if (tag !== REQUEST.logon) this.#invalid();
    else if (!this.#refusesAtLogon()) {
      this.#success({});
      this.#phase = { kind: 'ready', version };
    }
  }

  /** Like a real server after a failed logon, closes the connection. */
  #refusesAtLogon(): boolean {
    const { at, code } = BOLT_FAILURE[this.#refusal.code];
    if (at !== 'logon') return false;
    this.#failure(code, this.#sentence());
    this.#phase = { kind: 'over' };
    return true;
  }

  #serve(version: BoltVersion, tag: number | undefined, beginning: Buffer): void {
    switch (tag) {
      case REQUEST.route:
        this.#success({ rt: this.#routingTable(databaseOf(beginning)) });
        return;
      case REQUEST.run:
      case REQUEST.begin:
        this.#failure(BOLT_FAILURE[this.#refusal.code].code, this.#sentence());
        this.#phase = { kind: 'failed', version };
        return;
      case REQUEST.reset:
      case REQUEST.telemetry:
        this.#success({});
        return;
      case REQUEST.logoff:
        this.#success({});
        this.#phase = { kind: 'logon', version };
        return;
      default:
        this.#invalid();
    }
  }

  /**
   * After the refusal, messages are ignored until RESET, which closes the connection, too. The driver's next attempt then
   * opens a new connection and gets the pod's current state; a kept one would still be refused after the pod has started.
   */
  #wait(version: BoltVersion, tag: number | undefined): void {
    if (tag !== REQUEST.reset) {
      this.#out.push(chunked(packEmpty(ANSWER.ignored)));
      this.#phase = { kind: 'failed', version };
      return;
    }
    this.#success({});
    this.#phase = { kind: 'over' };
  }

  #routingTable(database: string | null): PackValue {
    const servers = ['WRITE', 'READ', 'ROUTE'].map((role) => ({ role, addresses: [this.#address] }));
    return { ttl: ROUTING_TTL_S, db: database ?? 'neo4j', servers };
  }

  #sentence(): string {
    return `${this.#refusal.message} ${this.#refusal.hint}`;
  }

  #success(metadata: PackValue): void {
    this.#out.push(chunked(packMessage(ANSWER.success, metadata)));
  }

  #failure(code: string, message: string): void {
    this.#out.push(chunked(packMessage(ANSWER.failure, { code, message })));
  }

  #invalid(): void {
    this.#failure(INVALID, 'This message cannot be sent at this point.');
    this.#phase = { kind: 'over' };
  }
}

/** ROUTE has (routing, bookmarks, database) in 4.3 and (routing, bookmarks, {db}) since 4.4. */
function databaseOf(message: Buffer): string | null {
  const third = unpackFields(message)[2];
  const database = third instanceof Map ? (third as ReadonlyMap<string, unknown>).get('db') : third;
  return typeof database === 'string' ? database : null;
}
