import { randomInt } from 'node:crypto';
import { connect } from 'node:net';
import type { Clock } from '../../../core/clock.ts';
import { errorCode } from '../../../core/error-code.ts';
import { errorText } from '../../../core/errors.ts';
import { AcmeError } from '../acme-error.ts';
import type { TextWriter, TsigKey } from './dns-settings.ts';
import { problemOfSignature, sign } from './tsig.ts';
import { problemOfAnswer, type TextUpdate, updateMessage } from './update-message.ts';

const ANSWER_MS = 10_000;

/**
 * Writes texts by dynamic updates over TCP (RFC 2136), signed both ways (RFC 8945): a response that reports
 * success must be signed with our key, over our request. A refusal may be unsigned, because a server that does not know the
 * key cannot sign; it can only cause a failure.
 */
export function createUpdateWriter(options: {
  readonly server: { readonly host: string; readonly port: number };
  readonly key: TsigKey;
  readonly zoneOf: (name: string, signal: AbortSignal) => Promise<string>;
  readonly clock: Clock;
}): TextWriter {
  const { server, key, zoneOf, clock } = options;
  const change = async (
    action: TextUpdate['action'],
    name: string,
    text: string,
    signal: AbortSignal,
  ): Promise<void> => {
    const zone = await zoneOf(name, signal);
    const id = randomInt(0x10000);
    const seconds = (): number => Math.floor(clock.now() / 1_000);
    const { message, mac } = sign(updateMessage({ zone, name, text, action }, id), key, seconds());
    const where = `the name server ${server.host}:${server.port}`;
    let answer: Buffer;
    try {
      answer = await ask(server, message, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
    } catch (error) {
      signal.throwIfAborted();
      throw new AcmeError(
        'refused',
        `${where} cannot be asked to change ${name} (${errorCode(error) ?? errorText(error)})`,
        { cause: error },
      );
    }
    const problem = problemOfAnswer(answer, id) ?? problemOfSignature(answer, mac, key, seconds());
    if (problem !== null) throw new AcmeError('refused', `${where} does not change ${name} in ${zone}: ${problem}`);
  };
  return {
    add: (name, text, signal) => change('add', name, text, signal),
    remove: (name, text, signal) => change('remove', name, text, signal),
  };
}

/** One message and its answer, each behind its length (RFC 7766 8). */
function ask({ host, port }: { host: string; port: number }, message: Buffer, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal });
    let received = Buffer.alloc(0);
    const prefix = Buffer.from([message.length >> 8, message.length & 0xff]);
    socket.once('connect', () => socket.write(Buffer.concat([prefix, message])));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const length = received.length < 2 ? Infinity : received.readUInt16BE(0);
      if (received.length < 2 + length) return;
      resolve(received.subarray(2, 2 + length));
      socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('it closed the connection')));
  });
}
