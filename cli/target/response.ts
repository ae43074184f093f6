import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { errorText } from '../../core/errors.ts';
import { noResponse } from './call-api.ts';
import type { Target } from './target.ts';

/** The response to a request, which may still be sent. Throws CliError when there is none. */
export async function responseOf(target: Target, outgoing: ClientRequest): Promise<IncomingMessage> {
  try {
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    // The rest of a body that is refused may break off.
    outgoing.on('error', () => undefined);
    return incoming;
  } catch (error) {
    throw noResponse(target, error instanceof Error ? error : new Error(errorText(error)), false);
  }
}

export async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of incoming.setEncoding('utf8') as AsyncIterable<string>) text += piece;
  return text;
}
