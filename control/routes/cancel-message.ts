import { isIP } from 'node:net';
import { CANCEL_KEY_MAX_LENGTH, type CancelMessage } from '../../core/feed-protocol.ts';

/** Of a worker, or of another replica: null when it is none. */
export function parseCancel(value: unknown): CancelMessage | null {
  if (typeof value !== 'object' || value === null || !('key' in value && 'address' in value)) return null;
  const { key, address } = value;
  if (typeof key !== 'string' || key.length > CANCEL_KEY_MAX_LENGTH) return null;
  return typeof address === 'string' && isIP(address) !== 0 ? { kind: 'cancel', key, address } : null;
}
