import { match, needMore, type Parsed, reject } from '../../bytes/parsed.ts';
import { HEAD_FAULTS, HeadReader } from '../http/wire/head-reader.ts';
import { parseRequestHead } from '../http/wire/head.ts';

/** A tunnel needs a name, and some clients send credentials for a proxy that we do not ask for. */
const HEAD_MAX_BYTES = 8_192;

export interface ConnectRequest {
  readonly method: string;
  readonly target: string;
  /** With the empty line: what follows is for the target. */
  readonly headBytes: number;
}

/** The head of what a pod sends to the door. A CONNECT with a body is refused: no two readers agree on where it ends. */
export function parseConnectRequest(bytes: Buffer): Parsed<ConnectRequest> {
  const read = new HeadReader(HEAD_MAX_BYTES).read(bytes, 0);
  if (read.kind === 'need-more') return needMore(bytes.length + 1);
  if (read.kind === 'reject') return reject(HEAD_FAULTS[read.reason]);
  const head = parseRequestHead(read.text);
  if (head.kind === 'reject') return head;
  const { method, url, rawHeaders } = head.value;
  if (method === 'CONNECT' && hasBody(rawHeaders)) return reject('A CONNECT request has no body.');
  return match({ method, target: url, headBytes: read.rest });
}

function hasBody(rawHeaders: readonly string[]): boolean {
  return rawHeaders.some((name, index) => {
    if (index % 2 !== 0) return false;
    const field = name.toLowerCase();
    return field === 'transfer-encoding' || (field === 'content-length' && rawHeaders[index + 1] !== '0');
  });
}
