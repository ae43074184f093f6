import type { SessionUse, UseObserver } from './session-use.ts';

const CLIENT_HANDSHAKE_BYTES = 20;
const SERVER_HANDSHAKE_BYTES = 4;
const MANIFEST = 0x000001ff;
/** A version, in the handshake. */
const VERSION_BYTES = 4;
/** Marker, tag, and the metadata {has_more: true}. */
const LOOKED_AT_BYTES = 32;
const HAS_MORE = Buffer.from('has_more\xc3', 'latin1');
/** Requests under way at a time: drivers send a handful. */
const PENDING_MAX = 10_000;

const REQUEST = {
  goodbye: 0x02,
  reset: 0x0f,
  run: 0x10,
  begin: 0x11,
  commit: 0x12,
  rollback: 0x13,
  discard: 0x2f,
  pull: 0x3f,
} as const;
const USES: ReadonlySet<number> = new Set([
  REQUEST.run,
  REQUEST.begin,
  REQUEST.commit,
  REQUEST.rollback,
  REQUEST.discard,
  REQUEST.pull,
]);
const ANSWER = { success: 0x70, ignored: 0x7e, failure: 0x7f } as const;

/**
 * Whether a Bolt session uses its pod, from its handshake on: a query is running, its result is not read to the end, or a
 * transaction is open. Everything else (HELLO, LOGON, ROUTE, RESET, keep-alives) is housekeeping of drivers. A session that
 * cannot be read counts as use for as long as it lasts.
 */
export class BoltUse implements UseObserver {
  readonly #use: SessionUse;
  readonly #fromClient = new BoltMessages((tag) => this.#onRequest(tag));
  readonly #fromServer = new BoltMessages((tag, beginning) => this.#onAnswer(tag, beginning));
  readonly #shakingClient: Handshake = new Handshake();
  readonly #shakingServer: Handshake = new Handshake();
  /** Tags of the requests without an answer, in order. */
  readonly #pending: number[] = [];
  #uses = 0;
  #isInTransaction = false;
  #hasOpenResult = false;
  #isLost = false;

  constructor(use: SessionUse) {
    this.#use = use;
    this.#shakingClient.expect(CLIENT_HANDSHAKE_BYTES);
    this.#shakingServer.expect(SERVER_HANDSHAKE_BYTES);
  }

  client(bytes: Buffer): void {
    const at = this.#shakingClient.skip(bytes);
    if (at < bytes.length && !this.#isLost) this.#fromClient.push(bytes, at);
  }

  server(bytes: Buffer): void {
    if (this.#isLost) return;
    const at = this.#shakingServer.skip(bytes);
    if (this.#shakingServer.isChosen) {
      this.#shakingServer.isChosen = false;
      // Both go on with lists of a length of their own.
      if (this.#shakingServer.value === MANIFEST) {
        this.#shakingServer.expectManifest();
        this.#shakingClient.expectChoice();
        this.server(bytes.subarray(at));
        return;
      }
    }
    if (at < bytes.length) this.#fromServer.push(bytes, at);
  }

  #onRequest(tag: number): void {
    if (tag === REQUEST.goodbye) return;
    if (this.#pending.length >= PENDING_MAX) {
      this.#lose();
      return;
    }
    this.#pending.push(tag);
    if (tag === REQUEST.begin) this.#isInTransaction = true;
    if (tag === REQUEST.run) this.#hasOpenResult = true;
    if (USES.has(tag)) {
      this.#uses++;
      this.#use.touch();
    }
    if (tag === REQUEST.reset) this.#forgetAll();
    this.#show();
  }

  #onAnswer(tag: number, beginning: Buffer): void {
    if (tag !== ANSWER.success && tag !== ANSWER.failure && tag !== ANSWER.ignored) return;
    const request = this.#pending.shift();
    if (request === undefined) {
      this.#lose();
      return;
    }
    if (USES.has(request)) this.#uses--;
    if (tag !== ANSWER.success) this.#forgetAll();
    else if (request === REQUEST.commit || request === REQUEST.rollback) this.#forgetAll();
    else if (request === REQUEST.pull || request === REQUEST.discard) {
      this.#hasOpenResult = beginning.includes(HAS_MORE);
    }
    this.#show();
  }

  /** Results and a transaction end together, and with the first failure. */
  #forgetAll(): void {
    // A request that is on its way may begin anew.
    this.#isInTransaction = this.#pending.includes(REQUEST.begin);
    this.#hasOpenResult = this.#pending.includes(REQUEST.run);
  }

  #show(): void {
    const isRunning = this.#uses > 0 || this.#hasOpenResult;
    this.#use.set('queries', isRunning && !this.#isInTransaction);
    this.#use.set('transactions', this.#isInTransaction);
  }

  #lose(): void {
    this.#isLost = true;
    this.#use.set('traffic', true);
  }
}

/** Skips the bytes before the first message, in pieces of any size. */
class Handshake {
  /** What is skipped next: so many bytes, or a number of seven bits a byte, which may say how many follow. */
  #steps: ({ readonly kind: 'bytes'; left: number } | { readonly kind: 'number'; readonly isCount: boolean })[] = [];
  #number = 0;
  #shift = 0;
  /** Of the last four bytes. */
  value = 0;
  /** The first step is done. */
  isChosen = false;
  #isFirst = true;

  expect(bytes: number): void {
    this.#steps.push({ kind: 'bytes', left: bytes });
  }

  /** Ranges of versions, after their number, and capabilities. */
  expectManifest(): void {
    this.#steps.push({ kind: 'number', isCount: true }, { kind: 'number', isCount: false });
  }

  /** A version, and capabilities. */
  expectChoice(): void {
    this.#steps.push({ kind: 'bytes', left: VERSION_BYTES }, { kind: 'number', isCount: false });
  }

  /** Returns where what is not skipped begins. */
  skip(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length) {
      const [step] = this.#steps;
      if (step === undefined) return at;
      const byte = bytes[at] ?? 0;
      at++;
      if (step.kind === 'bytes') {
        this.value = ((this.value << 8) | byte) >>> 0;
        if (--step.left === 0) this.#steps.shift();
      } else this.#readNumber(byte, step.isCount);
      if (this.#isFirst && this.#steps.length === 0) {
        this.#isFirst = false;
        this.isChosen = true;
        return at;
      }
    }
    return at;
  }

  #readNumber(byte: number, isCount: boolean): void {
    this.#number += (byte & 0x7f) * 2 ** this.#shift;
    this.#shift += 7;
    if (byte >= 0x80 && this.#shift < 64) return;
    this.#steps.shift();
    if (isCount && this.#number > 0) this.#steps.unshift({ kind: 'bytes', left: this.#number * VERSION_BYTES });
    this.#number = 0;
    this.#shift = 0;
  }
}

/** Chunks of one direction: 16-bit length, then bytes; length 0 ends a message; an empty message is a keep-alive. */
class BoltMessages {
  readonly #onMessage: (tag: number, beginning: Buffer) => void;
  readonly #beginning = Buffer.alloc(LOOKED_AT_BYTES);
  #length = 0;
  #chunkLeft = 0;
  #high: number | null = null;

  constructor(onMessage: (tag: number, beginning: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  push(bytes: Buffer, from: number): void {
    let at = from;
    while (at < bytes.length) {
      if (this.#chunkLeft > 0) {
        const end = Math.min(bytes.length, at + this.#chunkLeft);
        if (this.#length < LOOKED_AT_BYTES) bytes.copy(this.#beginning, this.#length, at, end);
        this.#length += end - at;
        this.#chunkLeft -= end - at;
        at = end;
        continue;
      }
      const byte = bytes[at] ?? 0;
      at++;
      if (this.#high === null) this.#high = byte;
      else {
        this.#chunkLeft = (this.#high << 8) | byte;
        this.#high = null;
        if (this.#chunkLeft === 0) this.#finish();
      }
    }
  }

  #finish(): void {
    const length = Math.min(this.#length, LOOKED_AT_BYTES);
    this.#length = 0;
    // Marker (structure with n fields), then the tag.
    if (length >= 2 && (this.#beginning[0] ?? 0) >> 4 === 0xb) {
      this.#onMessage(this.#beginning[1] ?? 0, this.#beginning.subarray(0, length));
    }
  }
}
