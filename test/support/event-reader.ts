export interface ReadEvent {
  readonly id: string;
  readonly event: string;
  readonly data: Record<string, unknown>;
}

/** Reads server-sent events as a browser does (WHATWG HTML, "Interpreting an event stream"). */
export class EventReader {
  readonly headers: Headers;
  /** Events that no `next` has taken yet. */
  readonly waiting: ReadEvent[] = [];
  /** Resolves when the stream has ended, however it did. */
  readonly ended: Promise<void>;
  lastEventId = '';
  heartbeats = 0;
  readonly #abort: AbortController;
  #wake: () => void = () => undefined;

  private constructor(response: Response, abort: AbortController) {
    this.headers = response.headers;
    this.#abort = abort;
    this.ended = this.#read(response).catch(() => undefined);
  }

  /** Resolves once the stream has begun. */
  static async open(url: string, headers: Readonly<Record<string, string>>): Promise<EventReader> {
    const abort = new AbortController();
    const response = await fetch(url, { headers, signal: abort.signal });
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    const reader = new EventReader(response, abort);
    while (reader.lastEventId === '') await reader.#news();
    return reader;
  }

  async next(): Promise<ReadEvent> {
    for (;;) {
      const event = this.waiting.shift();
      if (event !== undefined) return event;
      await this.#news();
    }
  }

  close(): void {
    this.#abort.abort();
  }

  #news(): Promise<void> {
    return Promise.race([
      new Promise<void>((resolve) => (this.#wake = resolve)),
      this.ended.then(() => Promise.reject(new Error('the stream has ended'))),
    ]);
  }

  async #read(response: Response): Promise<void> {
    if (response.body === null) return;
    let text = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        this.#take(text.slice(0, end).split('\n'));
        text = text.slice(end + 2);
      }
      this.#wake();
    }
  }

  #take(lines: readonly string[]): void {
    const fieldOf = (name: string): string | undefined =>
      lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    this.lastEventId = fieldOf('id') ?? this.lastEventId;
    if (lines.some((line) => line.startsWith(':'))) this.heartbeats += 1;
    const data = fieldOf('data');
    if (data === undefined) return;
    this.waiting.push({
      id: this.lastEventId,
      event: fieldOf('event') ?? 'message',
      data: JSON.parse(data) as Record<string, unknown>,
    });
  }
}
