import { isIP } from 'node:net';
import { parseCancelAnswer } from '../../core/cancel-answer.ts';
import { CANCEL_KEY_MAX_LENGTH, type CancelAnswerMessage, type CancelMessage } from '../../core/feed-protocol.ts';

/** From a worker. Null: not a cancel. */
export function parseCancel(value: unknown): CancelMessage | null {
  const id = parseId(value);
  const question = parseCancelQuestion(value);
  return id === null || question === null ? null : { kind: 'cancel', id, ...question };
}

/** From a worker or another replica. Null: not a question about a cancel. */
export function parseCancelQuestion(value: unknown): Pick<CancelMessage, 'key' | 'address'> | null {
  if (typeof value !== 'object' || value === null || !('key' in value && 'address' in value)) return null;
  const { key, address } = value;
  if (typeof key !== 'string' || key.length > CANCEL_KEY_MAX_LENGTH) return null;
  return typeof address === 'string' && isIP(address) !== 0 ? { key, address } : null;
}

/** The same for answers. */
export function parseCancelAnswered(value: unknown): CancelAnswerMessage | null {
  const id = parseId(value);
  const answer = parseCancelAnswer(value);
  return id === null || answer === null ? null : { kind: 'cancel-answered', id, ...answer };
}

function parseId(value: unknown): number | null {
  if (typeof value !== 'object' || value === null || !('id' in value)) return null;
  return typeof value.id === 'number' && Number.isSafeInteger(value.id) ? value.id : null;
}
