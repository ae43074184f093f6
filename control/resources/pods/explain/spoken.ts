/** What an attempt says; 'silent' is any protocol that is not known here. */
export type Spoken = 'http' | 'postgres' | 'bolt' | 'silent';

/** Assigned to Bolt by IANA. */
const BOLT_PORT = 7687;

export function spokenBy({ protocol, port }: { readonly protocol: string; readonly port: number }): Spoken {
  if (protocol === 'http' || protocol === 'postgres') return protocol;
  return port === BOLT_PORT ? 'bolt' : 'silent';
}

/** Postgres documentation, 54.7. */
export const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

/** The first bytes inside TLS. They ask for nothing that changes anything: a page, a session without a password. */
export const GREETINGS: Readonly<Record<Spoken, (authority: string) => Buffer>> = {
  http: (authority) =>
    Buffer.from(
      `GET / HTTP/1.1\r\nHost: ${authority}\r\nUser-Agent: podgate-explain\r\nAccept: application/json, */*;q=0.5\r\nConnection: close\r\n\r\n`,
    ),
  postgres: () => {
    const parameters = Buffer.from('user\0podgate_explain\0database\0postgres\0application_name\0podgate explain\0\0');
    const head = Buffer.alloc(8);
    head.writeUInt32BE(8 + parameters.length, 0);
    head.writeUInt32BE(0x0003_0000, 4);
    return Buffer.concat([head, parameters]);
  },
  // Magic and the versions 5.8 to 5.0, 4.4 and 4.3 (Bolt handshake specification).
  bolt: () => Buffer.from([0x60, 0x60, 0xb0, 0x17, 0, 8, 8, 5, 0, 1, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
  silent: () => Buffer.alloc(0),
};

/** The first of what came back. */
export type Reply =
  | { readonly kind: 'http'; readonly status: number; readonly said: Said | null }
  /** It asks for a password, or lets in without. */
  | { readonly kind: 'postgres-session' }
  | { readonly kind: 'postgres-error'; readonly said: Said }
  | { readonly kind: 'bytes' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'silent' };

/** As a refusal of the gateway has it. A pod can say the same: the gateway's own record decides who said it. */
export interface Said {
  readonly message: string;
  readonly hint: string | null;
  readonly requestId: string | null;
}

const TEXT_MAX_LENGTH = 500;

/** Null: more has to come, unless it is over. Never throws: the pod may send anything. */
export function parseReply(spoken: Spoken, bytes: Buffer, isOver: boolean): Reply | null {
  if (bytes.length === 0) return null;
  switch (spoken) {
    case 'http':
      return parseHttp(bytes, isOver);
    case 'postgres':
      return parsePostgres(bytes, isOver);
    case 'bolt':
      return bytes.length >= 4 || isOver ? { kind: 'bytes' } : null;
    case 'silent':
      return { kind: 'bytes' };
  }
}

function parseHttp(bytes: Buffer, isOver: boolean): Reply | null {
  const text = bytes.toString('utf8');
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1];
  const headEnd = text.indexOf('\r\n\r\n');
  if (status === undefined || headEnd < 0) return isOver ? { kind: 'bytes' } : null;
  const length = Number(/\r\ncontent-length: *(\d{1,9})\r\n/i.exec(text.slice(0, headEnd + 2))?.[1] ?? 0);
  const body = text.slice(headEnd + 4);
  // Only a refusal of the gateway is read: it is short.
  const isShort = length > 0 && length < 8_000;
  if (!isOver && isShort && Buffer.byteLength(body) < length) return null;
  return { kind: 'http', status: Number(status), said: isShort ? saidInJson(body) : null };
}

function saidInJson(body: string): Said | null {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== 'object' || value === null) return null;
    const { message, hint, request_id: requestId } = value as Readonly<Record<string, unknown>>;
    if (typeof message !== 'string') return null;
    return { message: cut(message), hint: textOrNull(hint), requestId: textOrNull(requestId) };
  } catch {
    return null;
  }
}

function parsePostgres(bytes: Buffer, isOver: boolean): Reply | null {
  const type = String.fromCharCode(bytes[0] ?? 0);
  if (type === 'R' || type === 'v') return { kind: 'postgres-session' };
  if (type !== 'E') return { kind: 'bytes' };
  if (bytes.length < 5 || (!isOver && bytes.length < 1 + bytes.readUInt32BE(1)))
    return isOver ? { kind: 'bytes' } : null;
  const fields = new Map(
    bytes
      .toString('utf8', 5)
      .split('\0')
      .map((field) => [field.slice(0, 1), field.slice(1)]),
  );
  const requestId = /^Request id: ([\w-]+)\.$/.exec(fields.get('D') ?? '')?.[1] ?? null;
  return {
    kind: 'postgres-error',
    said: { message: cut(fields.get('M') ?? ''), hint: textOrNull(fields.get('H')), requestId },
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? cut(value) : null;
}

function cut(text: string): string {
  return text.slice(0, TEXT_MAX_LENGTH);
}
