import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { Busboy, type BusboyFileStream } from '@fastify/busboy';

import { PodgateError } from '../../core/errors.ts';
import { type BodyLimits, drain } from './body.ts';
import { shownPath } from './field-checks.ts';
import type { ReceivedForm } from './received-form.ts';

/** Name of the field that holds the file, as in Tapis. */
const FIELD = 'file';
/** A client that the form waits for sends so much on average over each `idleMs`; as for readers of responses. */
const LEAST_BYTES_PER_SECOND = 4_096;
/** Of the head of a part. */
const HEADERS_MAX_BYTES = 8 * 1024;
const PARTS_MAX = 8;
const INVALID_FORM = 'The body is not valid multipart/form-data.';
const FIELD_MAX_BYTES = 64 * 1024;

/**
 * Hands the bytes of the one file in a multipart/form-data body (RFC 7578) to `use`, as they arrive: what `use` does not
 * take keeps the client waiting, and no more than a few pieces are in memory. Throws PodgateError
 * 'api.unsupported-media-type', 'api.too-large', 'api.timeout' or 'api.invalid', or what `use` throws.
 */
export async function receiveFile<T>(
  request: IncomingMessage,
  { bodyBytes, bodyTimeoutMs, idleMs }: BodyLimits,
  use: (bytes: AsyncIterable<Uint8Array>, form: ReceivedForm) => Promise<T>,
): Promise<T> {
  const form = formOf(request);
  const found = Promise.withResolvers<{ readonly bytes: Readable; readonly filename: string }>();
  const fields = new Map<string, string>();
  const finished = Promise.withResolvers<ReadonlyMap<string, string>>();
  const ended = Promise.withResolvers<never>();
  // Nobody may wait for them when they fail.
  found.promise.catch(() => undefined);
  ended.promise.catch(() => undefined);
  finished.promise.catch(() => undefined);
  let file: Readable | null = null;
  let bytes = 0;
  /** Since the client was last waited for anew. */
  let paceBytes = 0;
  const fail = (error: PodgateError): void => {
    found.reject(error);
    ended.reject(error);
    finished.reject(error);
    file?.destroy(error);
  };
  const timer = setTimeout(() => fail(new PodgateError('api.timeout')), bodyTimeoutMs);
  const pace = setTimeout(() => {
    if (request.readableEnded) return;
    if (!form.writableNeedDrain && paceBytes < (LEAST_BYTES_PER_SECOND * idleMs) / 1_000) {
      fail(new PodgateError('api.timeout'));
      return;
    }
    waitAnew();
  }, idleMs);
  const waitAnew = (): void => {
    paceBytes = 0;
    pace.refresh();
  };
  const onData = (chunk: Buffer): void => {
    bytes += chunk.length;
    paceBytes += chunk.length;
    if (bytes > bodyBytes) {
      fail(new PodgateError('api.too-large'));
      return;
    }
    try {
      if (!form.write(chunk)) request.pause();
    } catch (error) {
      request.off('data', onData);
      fail(error instanceof PodgateError ? error : malformed(INVALID_FORM, error));
    }
  };
  const onDrain = (): void => {
    waitAnew();
    request.resume();
  };
  const onEnd = (): void => void form.end();
  const onClose = (): void => {
    if (!request.complete) fail(malformed('The client left before the end of the file.'));
  };
  form.on('field', (field: string, value: string) => {
    // The parser puts it in place of what is not UTF-8: another value than the client has sent.
    if (value.includes('\uFFFD')) fail(invalid(`${shownPath([field])}: must be valid UTF-8`));
    else fields.set(field, value);
  });
  form.on('file', (field: string, stream: BusboyFileStream, filename: string | undefined) => {
    // What is wrong with the part is said by the form, too; without a listener it would end the process.
    stream.on('error', () => undefined);
    if (field !== FIELD || file !== null) {
      stream.resume();
      return;
    }
    file = stream;
    found.resolve({ bytes: stream, filename: filename ?? '' });
  });
  // Thrown through `write`, since nothing else stops the parser in the middle of a piece: it may hold a thousand parts.
  form.on('partsLimit', () => {
    throw invalid(`${FIELD}: the form must not have more than ${PARTS_MAX} parts`);
  });
  form.on('error', (error: unknown) => fail(malformed(INVALID_FORM, error)));
  form.on('finish', () => {
    found.reject(invalid(`${FIELD}: the form needs a file in the field "${FIELD}"`));
    finished.resolve(fields);
  });
  form.on('drain', onDrain);
  request.on('data', onData).on('end', onEnd).on('close', onClose);
  const using = found.promise.then(({ filename, ...file }) =>
    use(file.bytes, { filename, fields, allFields: () => finished.promise }),
  );
  let isTaken = false;
  try {
    const result = await Promise.race([using, ended.promise]);
    isTaken = true;
    return result;
  } finally {
    clearTimeout(timer);
    clearTimeout(pace);
    request.off('data', onData).off('end', onEnd).off('close', onClose);
    form.off('drain', onDrain);
    (file as Readable | null)?.destroy();
    // A client that disconnects early must not cause more work than one that waits.
    await using.catch(() => undefined);
    // What is left of the body; it may have been paused for the file.
    request.resume();
    if (!isTaken && !request.destroyed) await drain(request).catch(() => undefined);
  }
}

function formOf(request: IncomingMessage): InstanceType<typeof Busboy> {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = request.headers;
  if (!/^multipart\/form-data\s*;/i.test(type) || encoding.toLowerCase() !== 'identity') {
    throw new PodgateError('api.unsupported-media-type', {
      publicMessages: [
        `The body must be multipart/form-data, not compressed, with the file in the field "${FIELD}": curl -F ${FIELD}=@NAME`,
      ],
    });
  }
  try {
    return new Busboy({
      headers: { ...request.headers, 'content-type': type },
      limits: {
        files: 1,
        fields: PARTS_MAX,
        parts: PARTS_MAX,
        headerSize: HEADERS_MAX_BYTES,
        fieldSize: FIELD_MAX_BYTES,
      },
    });
  } catch (error) {
    throw malformed('The body is multipart/form-data without a valid boundary.', error);
  }
}

function malformed(sentence: string, cause?: unknown): PodgateError {
  return new PodgateError('request.malformed', { publicMessages: [sentence], cause });
}

function invalid(sentence: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [sentence] });
}
