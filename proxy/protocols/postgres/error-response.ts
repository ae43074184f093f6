import type { RefusalCode } from '../../../core/errors.ts';
import { GOODBYE_SENTENCES } from '../../goodbye/goodbye.ts';
import type { Refusal } from '../../connection/refusal.ts';
import type { CutReason } from '../../policy/standing.ts';

/**
 * SQLSTATE of each refusal. 57P03 (cannot_connect_now) is what makes pg_isready say "rejecting connections" and a
 * libpq with several hosts go on to the next; 08xxx and 53300 do not, and 3D000 ends the search (measured).
 */
const SQLSTATE: Readonly<Record<RefusalCode, string>> = {
  'route.unknown': '3D000',
  'route.stopped': '57P03',
  'route.starting': '57P03',
  'route.asleep': '57P03',
  'route.unreachable': '57P03',
  'route.forbidden': '28000',
  'route.certificate': '28000',
  'route.full': '53300',
  'route.held-full': '53300',
  'route.no-descriptors': '53300',
  'route.owner-full': '53300',
  'route.tenant-full': '53300',
  'route.misdirected': '28000',
  'tls.required': '28000',
};

/** pg_isready takes every other SQLSTATE for "accepting connections", which a refusal never means. */
const NOT_READY = '57P03';

/** admin_shutdown: what a Postgres that shuts down says to its sessions, and drivers and pools know to connect again on. */
const ADMIN_SHUTDOWN = '57P01';

/** The answer to a StartupMessage. */
export function errorResponse(refusal: Refusal, asksWhetherReady = false): Buffer {
  return fatal(asksWhetherReady ? NOT_READY : SQLSTATE[refusal.code], refusal);
}

/** Ends a session that runs. It may stand between any two messages of the server (54.2.6). */
export function goodbyeResponse(reason: CutReason, requestId: string): Buffer {
  return fatal(ADMIN_SHUTDOWN, { ...GOODBYE_SENTENCES[reason], requestId });
}

/** The ErrorResponse a Postgres client shows as `FATAL: ...` with DETAIL and HINT (Postgres documentation, 54.7, 54.8). */
function fatal(sqlState: string, { message, hint, requestId }: Omit<Refusal, 'code'>): Buffer {
  const fields: readonly (readonly [string, string])[] = [
    ['S', 'FATAL'],
    ['V', 'FATAL'],
    ['C', sqlState],
    ['M', message],
    ['D', `Request id: ${requestId}.`],
    ['H', hint],
  ];
  // A NUL would end the field: no text of ours holds one, but the server name in it is a client's.
  const text = fields.map(([type, value]) => `${type}${value.replaceAll('\0', '')}\0`).join('');
  const body = Buffer.from(`${text}\0`, 'utf8');
  const frame = Buffer.allocUnsafe(5 + body.length);
  frame.writeUInt8(0x45, 0); // 'E'
  frame.writeUInt32BE(4 + body.length, 1);
  body.copy(frame, 5);
  return frame;
}
