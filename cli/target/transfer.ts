import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorText } from '../../core/errors.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { openRequest, parseReply, refusalOf } from './call-api.ts';
import { responseOf, textOf } from './response.ts';
import type { Target } from './target.ts';

export interface CopiedFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** Sends a file of this machine as a form to a path of the API. Throws CliError. */
export async function uploadTo(
  target: Target,
  path: string,
  { file, fields }: { readonly file: string; readonly fields: Readonly<Record<string, string>> },
): Promise<{ readonly result: unknown; readonly size: number }> {
  const { size } = fileAt(file);
  const boundary = `podgate-${randomUUID()}`;
  const name = basename(file).replaceAll(/["\r\n\\]/g, '_');
  const disposition = `--${boundary}\r\ncontent-disposition: form-data; name=`;
  const head = Buffer.from(
    Object.entries(fields)
      .map(([field, value]) => `${disposition}"${field}"\r\n\r\n${value}\r\n`)
      .join('') + `${disposition}"file"; filename="${name}"\r\ncontent-type: application/octet-stream\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const outgoing = await openRequest(target, {
    method: 'POST',
    path,
    headers: {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': String(head.length + size + tail.length),
    },
  });
  const response = responseOf(target, outgoing);
  const form = async function* (): AsyncGenerator<Buffer> {
    yield head;
    // No more than was announced, should it grow.
    if (size > 0) yield* createReadStream(file, { end: size - 1 }) as AsyncIterable<Buffer>;
    yield tail;
  };
  // A refusal may come before all of it is sent.
  const sent = pipeline(Readable.from(form()), outgoing).catch((error: unknown) => {
    outgoing.destroy(error instanceof Error ? error : new Error(errorText(error)));
  });
  const incoming = await response;
  const reply = parseReply(target, incoming.statusCode ?? 0, await textOf(incoming));
  outgoing.destroy();
  await sent;
  if (reply.status !== 200) throw refusalOf(target, reply);
  return { result: reply.result, size };
}

/**
 * The bytes at a path of the API. Throws CliError. `file`: of this machine, a directory of it, where it gets its `name`, or
 * `-` for the standard output.
 */
export async function downloadTo(
  target: Target,
  path: string,
  { file, name }: { readonly file: string; readonly name: string },
): Promise<CopiedFile> {
  const outgoing = await openRequest(target, { method: 'GET', path, headers: {} });
  const response = responseOf(target, outgoing);
  outgoing.end();
  const incoming = await response;
  const { statusCode: status = 0 } = incoming;
  if (status !== 200) throw refusalOf(target, parseReply(target, status, await textOf(incoming)));
  let size = 0;
  const counted = async function* (): AsyncGenerator<Buffer> {
    for await (const piece of incoming as AsyncIterable<Buffer>) {
      size += piece.length;
      yield piece;
    }
  };
  if (file === '-') {
    await copied(pipeline(Readable.from(counted()), process.stdout, { end: false }));
    return { path: file, size };
  }
  const to = isDirectory(file) ? join(file, name) : file;
  // Beside it: it appears once it is complete.
  const partial = join(dirname(to), `.podgate-${randomUUID()}`);
  try {
    await copied(pipeline(Readable.from(counted()), createWriteStream(partial, { flags: 'wx' })));
    await copied(rename(partial, to));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  return { path: to, size };
}

async function copied(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw new CliError(EXIT_FAILED, `the file was not copied: ${errorText(error)}`);
  }
}

function isDirectory(path: string): boolean {
  return path.endsWith('/') || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function fileAt(path: string): { readonly size: number } {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new CliError(EXIT_FAILED, `there is no file ${path}`);
  if (!found.isFile()) throw new CliError(EXIT_FAILED, `${path} is not a file; podgate cp copies one file at a time`);
  return found;
}
