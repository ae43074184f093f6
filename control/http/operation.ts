import type { z } from 'zod';

import type { Caller } from '../auth/authenticator.ts';

/** A request as the operations see it: who asks, and what for. */
export interface Call {
  /** Decoded: `%2F` is a slash here. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The If-Match header. */
  readonly ifMatch: string | undefined;
  /** Parsed JSON, for operations with a body; not checked yet. */
  readonly body: unknown;
  /**
   * Announces that the call is about to hold so many bytes in memory until its response is sent. Throws
   * 'api.too-many-requests' or 'api.overloaded' when that exceeds a limit.
   */
  readonly reserve: (bytes: number) => void;
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal;
}

export interface AuthenticatedCall extends Call {
  readonly caller: Caller;
}

interface ReplyHead {
  /** Default: 200. */
  readonly status?: number;
  readonly message: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Said in the envelope, whatever the HTTP status. Default: 'success'. */
  readonly outcome?: 'success' | 'error';
  /** Generation of the pod that is answered, for the ETag. */
  readonly generation?: number;
}

/** `result` is small: it is serialized at once. */
export interface JsonReply extends ReplyHead {
  readonly result: unknown;
}

/**
 * `result` may be large: pieces of its JSON text (json-pieces.ts), made as the client takes them. Until the first piece is
 * there an error is still answered as one; after that the connection breaks off.
 */
export interface StreamReply extends ReplyHead {
  readonly pieces: AsyncIterable<string>;
}

export type Reply = JsonReply | StreamReply;

export interface QueryParameter {
  readonly name: string;
  readonly description: string;
}

export interface OperationLimits {
  /** Of the request's body. */
  readonly bodyBytes: number;
  /** For the whole body to arrive. */
  readonly bodyTimeoutMs: number;
  /** What the call is counted with before the size of its response is known. */
  readonly responseBytes: number;
}

/** One operation of the API: the router, the checks and the OpenAPI document are made from this. */
export type Operation = {
  readonly operationId: string;
  readonly methods: readonly ('get' | 'post' | 'put' | 'delete')[];
  /** As in OpenAPI: `/pods/{pod_id}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly query?: readonly QueryParameter[];
  readonly body?: z.ZodObject;
  /** Schema of `result`. */
  readonly result: z.ZodType;
  /** Where they differ from DEFAULT_OPERATION_LIMITS. */
  readonly limits?: Partial<OperationLimits>;
} & (
  | { readonly access: 'token'; readonly handle: (call: AuthenticatedCall) => Promise<Reply> }
  | { readonly access: 'open'; readonly handle: (call: Call) => Promise<Reply> }
);
