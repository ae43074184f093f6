/**
 * Follows one direction of a session from its first byte, message by message, so that it is known whether something of
 * our own may be said in it now. Keeps none of the bytes.
 */
export interface MessageFollower {
  /** Nothing was said yet, or whole messages only. False for good once the bytes make no sense, or may not be followed by more. */
  readonly isBetweenMessages: boolean;
  /** Takes the next bytes, all of them. */
  follow(bytes: Buffer): void;
  /** Takes the next bytes up to the end of the message that is under way. Returns where that is; -1: further on. */
  followToEnd(bytes: Buffer): number;
}
