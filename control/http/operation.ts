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
}

export interface AuthenticatedCall extends Call {
  readonly caller: Caller;
}

export interface Reply {
  /** Default: 200. */
  readonly status?: number;
  readonly message: string;
  readonly result: unknown;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Said in the envelope, whatever the HTTP status. Default: 'success'. */
  readonly outcome?: 'success' | 'error';
  /** Generation of the pod that is answered, for the ETag. */
  readonly generation?: number;
}

export interface QueryParameter {
  readonly name: string;
  readonly description: string;
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
} & (
  | { readonly access: 'token'; readonly handle: (call: AuthenticatedCall) => Promise<Reply> }
  | { readonly access: 'open'; readonly handle: (call: Call) => Promise<Reply> }
);
