import type { IncomingMessage, Server, ServerResponse } from 'node:http';

import { RESERVED_POD_IDS } from '../../../core/ids.ts';
import { type Difference, TapisDocument } from './documents.ts';
import { isIntended } from './intended-differences.ts';

const BODY_MAX_BYTES = 1024 * 1024;

let documents: readonly TapisDocument[] | null = null;

/** Compares what goes over the wire of an API with the two documents of the Tapis Pods API, call by call. */
export class WireCheck {
  readonly #found = new Set<string>();
  /** Responses so far. */
  count = 0;

  constructor(server: Server) {
    server.prependListener('request', (request, response) => this.#watch(request, response));
  }

  /** Differences that are not on the list of those intended. */
  get unintended(): readonly string[] {
    return [...this.#found];
  }

  /** Reads along, without taking anything from those for whom it is meant. */
  #watch(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '' } = request;
    const sent = new Pieces();
    const received = new Pieces();
    const emit = request.emit.bind(request);
    request.emit = (name: string | symbol, ...args: unknown[]) => {
      if (name === 'data') received.add(args[0]);
      return emit(name, ...args);
    };
    const write = response.write.bind(response) as (...args: unknown[]) => boolean;
    const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
    response.write = (...args: unknown[]) => {
      sent.add(args[0]);
      return write(...args);
    };
    response.end = (...args: unknown[]) => {
      if (typeof args[0] !== 'function') sent.add(args[0]);
      return end(...args);
    };
    response.once('finish', () => {
      this.count += 1;
      const [path = ''] = url.replace(/^\/v3(?=\/)/, '').split('?');
      const isJson = String(response.getHeader('content-type') ?? '').startsWith('application/json');
      if (method === 'HEAD' || !isJson || path.startsWith('//')) return;
      this.#check({ method, path, status: response.statusCode, body: received.json(), answer: sent.json() });
    });
  }

  #check(call: { method: string; path: string; status: number; body: unknown; answer: unknown }): void {
    const { method, path, status, body, answer } = call;
    if (answer === undefined) return;
    documents ??= [new TapisDocument('1.6.0'), new TapisDocument('26Q1.1')];
    for (const document of documents) {
      const operation = document.operationAt(method, path);
      // A reserved word is no pod, whichever version has what it stands for.
      if (operation === null || (operation.path === '/pods/{pod_id}' && isReserved(path))) continue;
      if (status >= 400) {
        if (!isErrorEnvelope(answer)) {
          this.#found.add(`${operation.operationId}: not an envelope: ${JSON.stringify(answer).slice(0, 200)}`);
        }
        continue;
      }
      const asked = operation.requestBody?.content['application/json']?.schema;
      if (asked !== undefined && body !== undefined)
        this.#note(operation.operationId, document.differences(asked, body));
      const promised = operation.responses['200']?.content?.['application/json']?.schema;
      if (promised !== undefined) this.#note(operation.operationId, document.differences(promised, answer));
    }
  }

  #note(operationId: string, differences: readonly Difference[]): void {
    for (const difference of differences) {
      if (!isIntended(difference, documents ?? [])) this.#found.add(`${operationId}: ${JSON.stringify(difference)}`);
    }
  }
}

function isReserved(path: string): boolean {
  return RESERVED_POD_IDS.has(path.split('/').at(-1) ?? '');
}

/** Refusals have the envelope, with a sentence or several; the documents say nothing of them. */
function isErrorEnvelope(answer: unknown): boolean {
  if (typeof answer !== 'object' || answer === null) return false;
  const { message, metadata, status, version } = answer as Record<string, unknown>;
  const isText =
    typeof message === 'string' || (Array.isArray(message) && message.every((part) => typeof part === 'string'));
  return (
    isText &&
    typeof metadata === 'object' &&
    status === 'error' &&
    typeof version === 'string' &&
    Object.keys(answer).sort().join() === 'message,metadata,result,status,version'
  );
}

/** What has been seen of a body, up to a bound. */
class Pieces {
  readonly #pieces: Buffer[] = [];
  #bytes = 0;

  add(piece: unknown): void {
    if (typeof piece !== 'string' && !(piece instanceof Uint8Array)) return;
    const bytes = Buffer.from(piece as string);
    this.#bytes += bytes.length;
    if (this.#bytes <= BODY_MAX_BYTES) this.#pieces.push(bytes);
  }

  /** Undefined: there was none, or it is no JSON. */
  json(): unknown {
    if (this.#bytes === 0 || this.#bytes > BODY_MAX_BYTES) return undefined;
    try {
      return JSON.parse(Buffer.concat(this.#pieces).toString('utf8'));
    } catch {
      return undefined;
    }
  }
}
