import type { SessionUse } from '../use/session-use.ts';
import type { MessageFollower } from './message-follower.ts';

const OPCODE = 0x0f;
const CLOSE = 8;
const MASKED = 0x80;
const LENGTH = 0x7f;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const MASK_BYTES = 4;

/**
 * One direction of a WebSocket, frame by frame (RFC 6455 5.2). A Close frame of ours may stand between any two of them,
 * also in the middle of a message (5.4), but not behind another one.
 */
export class WebSocketFrames implements MessageFollower {
  /** Bytes of the header that have come, and how many it has. */
  #header = 0;
  #headerBytes = 2;
  #lengthBytes = 0;
  #length = 0;
  /** Of the payload, once the header is complete. */
  #left = 0;
  #isInPayload = false;
  #isOver = false;
  readonly #use: Pick<SessionUse, 'touch'> | null;

  /** `use`: of a pod that may sleep. Frames with data are use, control frames such as pings are not. */
  constructor(use: Pick<SessionUse, 'touch'> | null = null) {
    this.#use = use;
  }

  get isBetweenMessages(): boolean {
    return this.#header === 0 && !this.#isInPayload && !this.#isOver;
  }

  follow(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) at = this.#advance(bytes, at);
  }

  followToEnd(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && !this.isBetweenMessages) at = this.#advance(bytes, at);
    return this.isBetweenMessages ? at : -1;
  }

  /** As far as the next part of a frame goes. */
  #advance(bytes: Buffer, at: number): number {
    if (!this.#isInPayload) {
      this.#takeHeader(bytes[at] ?? 0);
      return at + 1;
    }
    const taken = Math.min(this.#left, bytes.length - at);
    this.#left -= taken;
    if (this.#left === 0) this.#isInPayload = false;
    return at + taken;
  }

  #takeHeader(byte: number): void {
    const index = this.#header++;
    if (index === 0) {
      const opcode = byte & OPCODE;
      if (opcode === CLOSE) this.#isOver = true;
      else if (opcode < CLOSE) this.#use?.touch();
    } else if (index === 1) {
      const length = byte & LENGTH;
      this.#lengthBytes = length === LENGTH_16 ? 2 : length === LENGTH_64 ? 8 : 0;
      this.#length = this.#lengthBytes === 0 ? length : 0;
      this.#headerBytes = 2 + this.#lengthBytes + ((byte & MASKED) === 0 ? 0 : MASK_BYTES);
    } else if (index < 2 + this.#lengthBytes) this.#length = this.#length * 256 + byte;
    if (index < 1 || this.#header < this.#headerBytes) return;
    this.#left = this.#length;
    this.#isInPayload = this.#left > 0;
    this.#header = 0;
    this.#headerBytes = 2;
  }
}
