import type { Socket } from 'node:net';
import type { CutReason } from '../../../policy/standing.ts';
import type { RequestTelemetry } from '../../../telemetry/request-telemetry.ts';
import type { SessionUse } from '../../../use/session-use.ts';
import type { OwnResponse } from '../responses/own-response.ts';
import type { Framing } from '../wire/body-reader.ts';
import type { RequestHead, ResponseHead } from '../wire/head.ts';
import type { HttpClient } from './connection-parts.ts';
import type { Accepted } from './judge.ts';
import type { OutgoingRequest } from './upstream.ts';

/** What one version of HTTP has in common for all requests. */
export interface CarrierTraits {
  readonly protocol: RequestTelemetry['protocol'];
  /** See ResponseSink. */
  readonly takesLentBytes: boolean;
  /** The status with which a tunnel begins. */
  readonly tunnelStatus: number;
  /** What happens to a request that took too long, as a sentence. */
  readonly timeoutHint: string;
}

/** Writes a pod's response to the client. */
export interface ResponseWriter {
  /** A byte of the final response was written. */
  readonly hasBegun: boolean;
  interim(head: ResponseHead): void;
  head(head: ResponseHead, framing: Framing): void;
  /** False = the client is slow. */
  data(piece: Buffer): boolean;
  /** Nothing more comes in this turn of the event loop. */
  flush(): void;
  end(trailers: readonly string[]): void;
}

/** What carries a request and its response: a connection of HTTP/1.1 for the time being, or a stream of HTTP/2. */
export interface RequestCarrier<R extends ResponseWriter> {
  readonly traits: CarrierTraits;
  readonly client: HttpClient;
  /** `stream` = other requests are in progress on its connection, so it counts as one more connection of its client. */
  readonly uses: 'connection' | 'stream';
  /** The client is there, and has not been sent a response yet. */
  readonly canRespond: boolean;
  /** The client is expected to send more of the body now. */
  readonly isBodyExpected: boolean;
  /** The client has not taken all of the response yet. */
  readonly isResponseUnsent: boolean;
  readonly unsentBytes: number;
  /** Prepares to carry a request. Returns why this version of HTTP cannot, as a sentence; null = it can. */
  accept(accepted: Accepted, head: RequestHead): string | null;
  outgoingRequest(accepted: Accepted, head: RequestHead): OutgoingRequest;
  createResponse(accepted: Accepted, head: RequestHead): R;
  /** Why this version of HTTP cannot pass on this response, as a sentence; null = it can. */
  faultOf(head: ResponseHead): string | null;
  /** The pod takes (more of) the body. */
  wantsBody(): void;
  /** Sends a complete response of the gateway. */
  respond(response: OwnResponse): void;
  /** The pod's response is complete. */
  onResponseEnd(): void;
  /** The pod's response broke off: what there is of it is delivered, and must not look complete. */
  breakOff(): void;
  /** Ends at once. A response in progress must not look complete. */
  abort(why: string): void;
  /** Tells the client that its request was not processed, so that it sends it again. False = this version has no way to. */
  returnUnprocessed(): boolean;
  /** Passes bytes both ways from now on. Owns the backend's socket. Returns how to cut the tunnel. */
  openTunnel(
    response: R,
    head: ResponseHead,
    backend: Socket,
    fromBackend: Buffer,
    /** Of a pod that may sleep: data is use. */
    use: SessionUse | null,
  ): (reason: CutReason) => void;
}
