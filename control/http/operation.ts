import type { IncomingHttpHeaders } from 'node:http';

import type { z } from 'zod';

import type { Caller } from '../auth/authenticator.ts';
import type { Listener } from './client-address.ts';
import type { Generation } from './if-match.ts';
import type { ApiErrorCode } from './status-codes.ts';
import type { ReceivedForm } from './received-form.ts';

/** A request as the operations see it: who asks, and what for. */
export interface Call {
  /** Decoded: `%2F` is a slash here. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The Host header, as it was sent; '' without one. */
  readonly host: string;
  /** All header fields, for what an operation reads beside the others here. */
  readonly headers: IncomingHttpHeaders;
  readonly listener: Listener;
  /** The If-Match header. */
  readonly ifMatch: string | undefined;
  /** The Last-Event-ID header: where a stream of events is to go on. */
  readonly lastEventId: string | undefined;
  /** The Range header of a GET. */
  readonly range: string | undefined;
  /** The If-Range header: a validator of what the client has a part of. */
  readonly ifRange: string | undefined;
  /** Parsed JSON, for operations with a body; not checked yet. */
  readonly body: unknown;
  /**
   * Hands the bytes of the file in a multipart body to `use` as they arrive, once, for operations that take one. They end
   * where the file ends, and throw when the client leaves before. What `use` throws is what this throws.
   */
  readonly receiveFile: <T>(use: (bytes: AsyncIterable<Uint8Array>, form: ReceivedForm) => Promise<T>) => Promise<T>;
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
  /** An administrator who asked, by `X-Pods-Admin: true`, to see what belongs to others as well. */
  readonly isAdminView: boolean;
}

/** What is said beside the result, in the envelope and in the head of the response. */
interface EnvelopeHead {
  /** Default: 200. */
  readonly status?: number;
  readonly message: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Said in the envelope, whatever the HTTP status. Default: 'success'. */
  readonly outcome?: 'success' | 'error';
  /** Generation of the object in the response, for the ETag: see entityTag. */
  readonly generation?: Generation;
  /** The Set-Cookie header. */
  readonly setCookie?: string;
}

/** A result in the envelope. It is small: it is serialized at once. */
export interface JsonReply extends EnvelopeHead {
  readonly kind: 'json';
  readonly result: unknown;
}

/**
 * A result that may be large, in the envelope: pieces of its JSON text (json-pieces.ts), made as the client takes them.
 * Until the first piece is there an error still gets a response of its own; after that the connection breaks off.
 */
export interface JsonPiecesReply extends EnvelopeHead {
  readonly kind: 'json-pieces';
  readonly pieces: AsyncIterable<string>;
}

/**
 * A reply that may be made longer than a gateway or a client waits for a response. When it is not there after
 * `OperationLimits.silenceMs`, the response begins: a 200 with white space before its JSON, and more of it at that interval.
 * An error from then on is an envelope with status 'error' in that 200.
 */
export interface LateReply {
  readonly kind: 'late';
  readonly reply: Promise<Omit<JsonPiecesReply, 'status' | 'generation' | 'setCookie'>>;
}

/**
 * A stream of server-sent events that goes on until the client leaves: texts of whole events (event-text.ts), made as
 * they happen. Until the first one is there, an error still gets a response of its own. The call then gives its place
 * back: the operation itself bounds the number of streams and what each holds.
 */
export interface EventsReply {
  readonly kind: 'events';
  readonly events: AsyncIterable<string>;
}

/** A document as it is, without the envelope. */
export interface DocumentReply {
  readonly kind: 'document';
  /** Media type. */
  readonly type: string;
  readonly bytes: Uint8Array;
}

/** Bytes as they are, made as the client takes them: of a file, or of an archive. */
export interface BytesReply {
  readonly kind: 'bytes';
  /** Default: 200. */
  readonly status?: number;
  /** Media type. */
  readonly type: string;
  /** How many there are; null: not known yet. */
  readonly length: number | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Called once, when no more bytes are taken, even if none ever were. */
  readonly release: () => Promise<void>;
}

export interface HtmlReply {
  readonly kind: 'html';
  /** Default: 200. */
  readonly status?: number;
  /** A whole document. It is sent with a policy that allows no script and nothing from elsewhere. */
  readonly html: string;
}

/** Sends the client elsewhere. */
export interface RedirectReply {
  readonly kind: 'redirect';
  /** 303: with GET, whatever the method was; 307 and 308: with the same method. */
  readonly status: 302 | 303 | 307 | 308;
  /** An absolute URL, or a path of this host. */
  readonly location: string;
  /** The Set-Cookie header. */
  readonly setCookie?: string;
}

export type Message =
  { readonly kind: 'text'; readonly text: string } | { readonly kind: 'binary'; readonly bytes: Uint8Array };

export interface MessageSocket {
  /** What the client sends, until it leaves. It waits when its messages are not taken. To be called once. */
  messages(): AsyncIterable<Message>;
  /** Text or bytes. Resolves when it has been handed to the network: who waits for that holds little in memory. */
  send(message: Uint8Array | string): Promise<void>;
  /** Aborts when the client has left, or a limit of the operation has ended the connection. */
  readonly signal: AbortSignal;
}

/** How a WebSocket is closed. */
export interface Closing {
  /** 1000, or 4000 to 4999 (RFC 6455 7.4). */
  readonly code: number;
  /** For people. At most 123 bytes are sent. */
  readonly reason: string;
}

/**
 * The connection becomes a WebSocket, which `serve` has for itself until it resolves. The call then gives its place back:
 * the operation itself bounds the number of such connections and what each holds.
 */
export interface UpgradeReply {
  readonly kind: 'upgrade';
  /** The subprotocol. */
  readonly protocol: string;
  readonly serve: (socket: MessageSocket) => Promise<Closing>;
  /** Called once instead of `serve` when the connection does not become a WebSocket. */
  readonly release: () => void;
}

/** What an operation returns. A kind that is added here gets a case in respond.ts. */
export type Reply =
  | JsonReply
  | JsonPiecesReply
  | LateReply
  | EventsReply
  | BytesReply
  | DocumentReply
  | HtmlReply
  | RedirectReply
  | UpgradeReply;

export interface QueryParameter {
  readonly name: string;
  readonly description: string;
  /** What it may be, for the OpenAPI document; operations check for themselves. Default: any text. */
  readonly schema?: z.ZodType;
}

/** Headers that change what an operation does, and that not every operation reads. */
export type OperationHeader = 'If-Match' | 'If-Range' | 'Last-Event-ID' | 'Range' | 'X-Pods-Admin';

export interface OperationLimits {
  /** Of the request's body. */
  readonly bodyBytes: number;
  /** For the whole body to arrive. */
  readonly bodyTimeoutMs: number;
  /**
   * The longest pause between two pieces of the request's body or of a response that is made piece by piece, and between
   * two messages of a WebSocket, whichever side sends them.
   */
  readonly idleMs: number;
  /** Of a WebSocket, from its beginning to its end. */
  readonly lifetimeMs: number;
  /** Of a message that the client sends over a WebSocket. */
  readonly messageBytes: number;
  /** The longest silence before, and within, a reply of the kind 'late': below `idleMs`. */
  readonly silenceMs: number;
  /** What the call is counted with before the size of its response is known. */
  readonly responseBytes: number;
}

export const DEFAULT_OPERATION_LIMITS: OperationLimits = {
  // Room for the largest valid body, and less than would be worth sending for harm.
  bodyBytes: 512 * 1024,
  bodyTimeoutMs: 10_000,
  idleMs: 60_000,
  lifetimeMs: 15 * 60_000,
  messageBytes: 64 * 1024,
  // Below what gateways and most clients wait for a response.
  silenceMs: 30_000,
  // A pod as it usually is.
  responseBytes: 64 * 1024,
};

/** One operation of the API: the router, the checks and the OpenAPI document are made from this. */
export type Operation = {
  readonly operationId: string;
  readonly methods: readonly ('get' | 'post' | 'put' | 'delete')[];
  /** As in OpenAPI: `/pods/{pod_id}`. */
  readonly path: string;
  /** Its GET changes something, as in the Tapis API: HEAD is refused, because clients and proxies take it for harmless. */
  readonly getActs?: true;
  readonly tag: string;
  readonly summary: string;
  readonly query?: readonly QueryParameter[];
  readonly headers?: readonly OperationHeader[];
  /** Its metadata has an example: `.meta({ examples: [...] })`. */
  readonly body?: z.ZodType;
  /** Instead of JSON, the body is a form with a file in the field `file`. */
  readonly takesFile?: true;
  /** Text fields of that form that are required, and what they are. */
  readonly formFields?: Readonly<Record<string, string>>;
  /** Schema of `result`; of the data of each event where the reply is a stream of events. */
  readonly result: z.ZodType;
  /** What a successful reply is. Default: 'json', an envelope with the result. */
  readonly replies?: 'json' | 'events' | 'bytes' | 'html' | 'redirect' | 'upgrade';
  /** The subprotocol that a client must offer where the reply is an upgrade. */
  readonly subprotocol?: string;
  /** Schema of the data of each event, where a parameter makes the reply of a 'json' operation a stream of events. */
  readonly mayReplyEvents?: z.ZodType;
  /** What it may be refused with beyond what follows from its method, path and the rest here. */
  readonly alsoRefuses?: readonly ApiErrorCode[];
  /** Statuses of replies beside 200, and why; 'any': the caller chooses. */
  readonly otherStatuses?: Readonly<Record<number, string>> | 'any';
  /** Where they differ from DEFAULT_OPERATION_LIMITS. */
  readonly limits?: Partial<OperationLimits>;
} & (
  | { readonly access: 'token'; readonly handle: (call: AuthenticatedCall) => Promise<Reply> }
  | { readonly access: 'open'; readonly handle: (call: Call) => Promise<Reply> }
);
