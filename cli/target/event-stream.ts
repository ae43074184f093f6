import { openRequest, parseReply, refusalOf } from './call-api.ts';
import { responseOf, textOf } from './response.ts';
import type { Target } from './target.ts';

/** A heartbeat comes every 15 s. */
const SILENCE_MS = 60_000;

export interface ApiEvent {
  readonly id: string | null;
  readonly event: string;
  readonly data: string;
}

/**
 * Server-sent events (HTML standard, section 9.2) until the response ends. Throws CliError when there is no response or a
 * refusal, another error when the connection is lost on the way.
 */
export async function* eventStream(
  target: Target,
  { path, lastEventId }: { readonly path: string; readonly lastEventId: string | null },
): AsyncGenerator<ApiEvent> {
  const silence = new AbortController();
  const outgoing = await openRequest(target, {
    method: 'GET',
    path,
    headers: { accept: 'text/event-stream', ...(lastEventId === null ? {} : { 'last-event-id': lastEventId }) },
    signal: silence.signal,
  });
  const timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    outgoing.end();
    const incoming = await responseOf(target, outgoing);
    const { statusCode: status = 0 } = incoming;
    if (status !== 200) throw refusalOf(target, parseReply(target, status, await textOf(incoming)));
    let text = '';
    for await (const piece of incoming.setEncoding('utf8') as AsyncIterable<string>) {
      timer.refresh();
      const blocks = (text + piece).split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) yield eventOf(block);
    }
  } finally {
    clearTimeout(timer);
    outgoing.destroy();
  }
}

function eventOf(block: string): ApiEvent {
  let id: string | null = null;
  let event = 'message';
  let data = '';
  for (const line of block.split('\n')) {
    const [, name, value = ''] = /^(id|event|data): ?(.*)$/.exec(line) ?? [];
    if (name === 'id') id = value;
    else if (name === 'event') event = value;
    else if (name === 'data') data += value;
  }
  return { id, event, data };
}
