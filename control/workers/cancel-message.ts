import { isIP } from 'node:net';
import { parseCancelAnswer } from '../../core/cancel-answer.ts';
import { CANCEL_KEY_MAX_LENGTH, type CancelAnswerMessage, type CancelMessage } from '../../core/feed-protocol.ts';

/** Of a worker, or of another replica: null when it is none. */
export function parseCancel(value: unknown): CancelMessage | null {
  const id = parseId(value);
  if (id === null || typeof value !== 'object' || value === null || !('key' in value && 'address' in value))
    return null;
  const { key, address } = value;
  if (typeof key !== 'string' || key.length > CANCEL_KEY_MAX_LENGTH) return null;
  return typeof address === 'string' && isIP(address) !== 0 ? { kind: 'cancel', id, key, address } : null;
}

/** The same for what comes back. */
export function parseCancelAnswered(value: unknown): CancelAnswerMessage | null {
  const id = parseId(value);
  const answer = parseCancelAnswer(value);
  return id === null || answer === null ? null : { kind: 'cancel-answered', id, ...answer };
}

function parseId(value: unknown): number | null {
  if (typeof value !== 'object' || value === null || !('id' in value)) return null;
  return typeof value.id === 'number' && Number.isSafeInteger(value.id) ? value.id : null;
}
