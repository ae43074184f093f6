/** One server-sent event (WHATWG HTML, section "Server-sent events"). */
export interface ServerSentEvent {
  /** The place in the stream behind it, which a client that reconnects presents as Last-Event-ID. */
  readonly id: string;
  readonly event: string;
  /** Sent as JSON: one line. */
  readonly data: object;
}

export function eventText({ id, event, data }: ServerSentEvent): string {
  return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** No event, but a sign of life that moves the place from which a client goes on. */
export function heartbeatText(id: string): string {
  return `: heartbeat\nid: ${id}\n\n`;
}

/** The beginning of a stream: how long a client waits before it reconnects, and from where it goes on. */
export function openingText(id: string, retryMs: number): string {
  return `retry: ${retryMs}\nid: ${id}\n\n`;
}
