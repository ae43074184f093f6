import { randomBytes } from 'node:crypto';
import type { SessionUse } from '../use/session-use.ts';
import type { CutReason } from '../policy/standing.ts';
import { GOODBYE_SENTENCES, type Goodbyes } from './goodbye.ts';
import { WebSocketFrames } from './websocket-frames.ts';

/** RFC 6455 7.4.1: an endpoint is going away. */
const GOING_AWAY = 1001;
const FINAL_CLOSE = 0x88;
const MASKED = 0x80;

/** A Close frame (RFC 6455 5.5.1): its reason fits into the 123 bytes that a control frame has for it. */
export function closeFrame(reason: CutReason, mask: Buffer | null): Buffer {
  const text = Buffer.from(GOODBYE_SENTENCES[reason].message);
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(GOING_AWAY);
  text.copy(payload, 2);
  if (mask === null) return Buffer.concat([Buffer.from([FINAL_CLOSE, payload.length]), payload]);
  const masked = payload.map((byte, index) => byte ^ (mask[index % mask.length] ?? 0));
  return Buffer.concat([Buffer.from([FINAL_CLOSE, MASKED | payload.length]), mask, masked]);
}

/** Both sides hear that the other goes away; what a client says is masked (5.3). */
/** `use`: of a pod that may sleep. */
export function webSocketGoodbyes(use: SessionUse | null = null): Required<Goodbyes> {
  return {
    client: { follower: new WebSocketFrames(use), words: (reason) => closeFrame(reason, null) },
    backend: { follower: new WebSocketFrames(use), words: (reason) => closeFrame(reason, randomBytes(4)) },
  };
}
